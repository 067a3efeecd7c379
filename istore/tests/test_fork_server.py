import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest
from django.conf import settings

from istore.child_process import Child, Journal, stop
from istore.fork_server import ForkedProcess
from istore.tests.running_store import processes, wait_until

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="no fork server on other systems"
)
SERVER = """
import sys
from pathlib import Path
from istore import fork_server
fork_server.start(Path(sys.argv[1]), lambda: __import__("decimal"))
print("ready", flush=True)
sys.stdin.read()
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
sys.exit(ForkedProcess(sys.argv[2], argv, **options).wait())
"""


@contextmanager
def running_server(path):
    """The parent of a fork server, whose socket lies at the path."""
    argv = [sys.executable, "-c", SERVER, str(path)]
    process = subprocess.Popen(
        argv, cwd=settings.BASE_DIR, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"ready\n"
    with process:
        yield process
        process.kill()


@pytest.fixture
def server(tmp_path):
    with running_server(tmp_path / "forks") as process:
        yield process


@pytest.fixture
def program(tmp_path):
    """Writes a program; returns the arguments of a process that runs it."""

    def write(text):
        path = tmp_path / "program.py"
        path.write_text(text)
        return [str(path)]

    return write


def forked(tmp_path, argv, output, **options):
    return ForkedProcess(
        str(tmp_path / "forks"),
        argv,
        **{
            "env": {"ONLY": "this"},
            "cwd": str(tmp_path),
            "streams": (output, output, output),
            **options,
        },
    )


def test_a_forked_process_has_what_an_executed_one_would(server, program, tmp_path):
    reading, writing = os.pipe()
    inherited, told = os.pipe()
    os.write(told, b"inherited")
    argv = [*program(TELLER), str(inherited), "é"]
    process = forked(tmp_path, argv, writing, inherited=[inherited], nice=3)
    os.close(writing)
    found = json.loads(os.read(reading, 9999))
    assert process.wait() == 7
    assert process.poll() == 7
    assert len(found.pop("open")) == 5  # of these, one is that of the listing
    assert found == {
        "argv": [str(inherited), "é"],
        "name": "__main__",
        "environment": {"ONLY": "this"},
        "directory": str(tmp_path),
        "group": True,
        "inherited": "inherited",
        "nice": 3,
        "is preloaded": True,
    }
    for each in (reading, inherited, told):
        os.close(each)


def test_its_command_line_is_shown_and_it_ends_with_the_server(
    server, program, tmp_path
):
    null = os.open(os.devnull, os.O_RDWR)
    sleeping = program("import time; time.sleep(60)")
    process = forked(tmp_path, [*sleeping, "-" * 300], null)
    free = forked(tmp_path, sleeping, null, follows=False)
    os.close(null)

    def line(pid):
        return processes().get(pid, (0, ""))[1].rstrip(" ")

    wait_until(lambda: line(process.pid).endswith("-" * 300))
    assert line(process.pid).split()[1] == sleeping[0]
    server.kill()
    assert process.wait() == -signal.SIGKILL
    wait_until(lambda: process.pid not in processes())
    assert free.wait() == -signal.SIGKILL  # nobody can tell any more
    assert free.pid in processes()
    os.kill(free.pid, signal.SIGKILL)


@pytest.mark.parametrize("ends", [("exit", 0), ("raise", 1), ("exit text", 1)])
def test_the_status_is_that_of_python(server, program, tmp_path, ends):
    how, status = ends
    programs = {
        "exit": "import sys; sys.exit()",
        "raise": "raise OSError",
        "exit text": "import sys; sys.exit('why')",
    }
    null = os.open(os.devnull, os.O_RDWR)
    assert forked(tmp_path, program(programs[how]), null).wait() == status
    os.close(null)


def test_a_child_is_executed_once_the_server_has_ended(program, tmp_path):
    journal = Journal(tmp_path / "log", echo=False)
    argv = [sys.executable, *program("import sys; print('decimal' in sys.modules)")]
    socket = str(tmp_path / "forks")
    child = Child("teller", argv, journal, fork_server=socket, once=True)

    def said():
        child.start()
        child.process.wait()
        child.kill()
        return list(child.last_lines)

    with running_server(tmp_path / "forks"):
        assert said() == ["True"]
    assert said()[-1] == "False"
    journal.close()


def test_a_held_child_is_told_by_the_end_of_its_input(server, program, tmp_path):
    argv = [sys.executable, *program("import sys; print(len(sys.stdin.read()))")]
    journal = Journal(tmp_path / "log", echo=False)
    socket = str(tmp_path / "forks")
    child = Child("held", argv, journal, fork_server=socket, is_held=True)
    child.start()
    assert child.runs
    child.process.stdin.close()
    assert child.process.wait() == 0
    stop([child], hurried=lambda: False)
    assert list(child.last_lines) == ["0"]
    journal.close()


def test_a_process_can_ask_for_another_in_its_group(server, program, tmp_path):
    other = tmp_path / "other.py"
    other.write_text("import os, sys; sys.exit(os.getpgrp() == int(sys.argv[2]))")
    null = os.open(os.devnull, os.O_RDWR)
    argv = [*program(ASKER), str(other), str(tmp_path / "forks")]
    assert forked(tmp_path, argv, null).wait() == 1
    os.close(null)
