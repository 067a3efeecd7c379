import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from django.conf import settings

from istore.child_process import Child, Journal, stop
from istore.fork_server import ForkedProcess
from istore.tests.running_store import processes, wait_until

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="no fork server on other systems"
)
SERVER = """
import socket, sys
from istore import fork_server
requests = socket.socket(fileno=int(sys.argv[1]))
fork_server.serve(requests, lambda: exec(sys.argv[2], {}))
"""
PRELOADED = "import decimal"
FORKS_NONE_AT_FIRST = """
import errno, os
def fail():
    os.fork = fork
    raise OSError(errno.EAGAIN, "no process is left")
fork, os.fork = os.fork, fail
"""
TELLER = """
import json, os, sys
print(json.dumps({
    "argv": sys.argv[1:], "name": __name__, "environment": dict(os.environ),
    "directory": os.getcwd(), "group": os.getpgrp() == os.getpid(),
    "inherited": os.read(int(sys.argv[1]), 9).decode(),
    "open": sorted(int(each) for each in os.listdir("/proc/self/fd")),
    "nice": os.nice(0), "is preloaded": "decimal" in sys.modules,
}))
sys.exit(7)
"""


ASKER = """
import os, sys
from istore.fork_server import ForkedProcess
argv = [sys.argv[1], "said by another process of its group", str(os.getpgrp())]
options = {"env": {}, "cwd": "/", "streams": (0, 1, 2), "own_group": False}
sys.exit(ForkedProcess(int(sys.argv[2]), argv, **options).wait())
"""


@dataclass
class Server:
    """A fork server, and the socket on which it is asked."""

    process: subprocess.Popen
    socket: int

    def fork(self, argv, output, **options):
        """A process with these arguments and this output."""
        streams = (output, output, output)
        options = {"env": {"ONLY": "this"}, "cwd": "/", **options}
        return ForkedProcess(self.socket, argv, streams=streams, **options)


@contextmanager
def running_server(preload=PRELOADED):
    ours, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
    number = theirs.fileno()
    argv = [sys.executable, "-c", SERVER, str(number), preload]
    process = subprocess.Popen(argv, cwd=settings.BASE_DIR, pass_fds=[number])
    theirs.close()
    with ours, process:
        yield Server(process, ours.fileno())
        process.kill()


@pytest.fixture
def server():
    with running_server() as server:
        yield server


@pytest.fixture
def null():
    """A stream that is read by nobody and says nothing."""
    with open(os.devnull, "r+") as file:
        yield file.fileno()


@pytest.fixture
def program(tmp_path):
    """Writes a program; returns the arguments of a process that runs it."""

    def write(text):
        path = tmp_path / "program.py"
        path.write_text(text)
        return [str(path)]

    return write


def test_a_forked_process_has_what_an_executed_one_would(server, program):
    reading, writing = os.pipe()
    inherited, told = os.pipe()
    os.write(told, b"inherited")
    argv = [*program(TELLER), str(inherited), "é"]
    process = server.fork(argv, writing, inherited=[inherited], nice=3)
    os.close(writing)
    found = json.loads(os.read(reading, 9999))
    assert process.wait() == 7
    assert process.poll() == 7
    assert len(found.pop("open")) == 5  # of these, one is that of the listing
    assert found == {
        "argv": [str(inherited), "é"],
        "name": "__main__",
        "environment": {"ONLY": "this"},
        "directory": "/",
        "group": True,
        "inherited": "inherited",
        "nice": os.nice(0) + 3,
        "is preloaded": True,
    }
    for each in (reading, inherited, told):
        os.close(each)


def test_its_command_line_is_shown_and_it_ends_with_the_server(server, program, null):
    sleeping = program("import time; time.sleep(60)")
    process = server.fork([*sleeping, "-" * 300], null)
    free = server.fork(sleeping, null, follows=False)

    def line(pid):
        return processes().get(pid, (0, ""))[1].rstrip(" ")

    wait_until(lambda: line(process.pid).endswith("-" * 300))
    # Its words are joined by blanks, and directories may have some, too.
    assert sleeping[0] in line(process.pid)
    server.process.kill()
    assert process.wait() == -signal.SIGKILL
    wait_until(lambda: process.pid not in processes())
    assert free.pid in processes()
    assert free.wait() == -signal.SIGKILL  # so that the next one is alone
    wait_until(lambda: free.pid not in processes())


@pytest.mark.parametrize("ends", [("exit", 0), ("raise", 1), ("exit text", 1)])
def test_the_status_is_that_of_python(server, program, null, ends):
    how, status = ends
    programs = {
        "exit": "import sys; sys.exit()",
        "raise": "raise OSError",
        "exit text": "import sys; sys.exit('why')",
    }
    assert server.fork(program(programs[how]), null).wait() == status


def test_a_process_can_ask_for_another_in_its_group(server, program, null, tmp_path):
    other = tmp_path / "other.py"
    other.write_text("import os, sys; sys.exit(os.getpgrp() == int(sys.argv[2]))")
    argv = [*program(ASKER), str(other), str(server.socket)]
    assert server.fork(argv, null, inherited=[server.socket]).wait() == 1


def test_a_server_that_nobody_can_ask_ends():
    with running_server() as server:
        closing = socket.socket(fileno=os.dup(server.socket))
        closing.shutdown(socket.SHUT_RDWR)
        closing.close()
        assert server.process.wait(20) == 0


STOPPED_AT_ONCE = """
import signal
from istore import fork_server
signal.signal(signal.SIGTERM, lambda *_: None)
process, _ = fork_server.start(lambda: None)
fork_server.stop(process)
"""


def test_a_server_is_stopped_before_it_has_begun():
    argv = [sys.executable, "-c", STOPPED_AT_ONCE]
    assert subprocess.run(argv, cwd=settings.BASE_DIR, timeout=60).returncode == 0


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path / "log", echo=False)
    yield journal
    journal.close()


def test_a_child_is_executed_once_the_server_has_ended(program, journal):
    argv = [sys.executable, *program("import sys; print('decimal' in sys.modules)")]

    def lines(server):
        child = Child("teller", argv, journal, fork_server=server.socket, once=True)
        child.start()
        child.process.wait()
        child.kill()
        return list(child.last_lines)

    with running_server() as server:
        assert lines(server) == ["True"]
        server.process.kill()
        server.process.wait()
        assert lines(server)[-1] == "False"


def test_a_server_that_cannot_fork_goes_on(program, journal):
    argv = [sys.executable, *program("import os; print(os.getppid())")]
    with running_server(FORKS_NONE_AT_FIRST) as server:
        parents = []
        for name in ("executed", "forked"):
            child = Child(name, argv, journal, fork_server=server.socket, once=True)
            child.start()
            assert child.process.wait() == 0
            child.kill()
            parents.append(int(child.last_lines[-1]))
        assert parents == [os.getpid(), server.process.pid]


def test_a_held_child_is_told_by_the_end_of_its_input(server, program, journal):
    argv = [sys.executable, *program("import sys; print(len(sys.stdin.read()))")]
    child = Child("held", argv, journal, fork_server=server.socket, is_held=True)
    child.start()
    assert child.runs
    child.process.stdin.close()
    assert child.process.wait() == 0
    stop([child], hurried=lambda: False)
    assert list(child.last_lines) == ["0"]
