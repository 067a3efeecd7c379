"""A fork server: a process that imported the store once, and forks others from itself.

Every process of the store imports the same 2,000 modules: a processor second and 100 MB each.
Forked processes have them already, and share the pages of memory that nobody writes to.

``start`` forks the server. It opens nothing and runs no second thread, so that a fork of it is a
clean process; who has connections and threads cannot be forked. ``ForkedProcess`` asks it for a
process, over a socket that only who inherits it can use. A request brings descriptors, the first
of which is a socket for the answers: the process id, and the exit status at the end. It has the
part of ``subprocess.Popen`` that ``child_process.Child`` uses. Argv, environment and descriptors
of the process are those of the request, as after exec; it is a process group of its own, or in
that of the asking process.

When the server ends, the processes that follow it end too, the others are killed by who asked for
them, and ``Child`` starts them again by exec. Other systems than Linux have libraries that do not
bear a fork: no server is started there.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import json
import multiprocessing
import os
import runpy
import selectors
import signal
import socket
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NoReturn

from istore.lifeline import follow_parent

VARIABLE = "ISTORE_FORK_SERVER"  # the number of the socket, for who inherits it
REQUEST_BYTES, DESCRIPTORS = 2**20, 64
FIRST_FREE = 3  # after standard input, output and error
KILLED = -signal.SIGKILL  # the status of a process whose server was killed


class ForkedProcess:
    """A process of the fork server, used like ``subprocess.Popen``.

    Raises OSError when the server does not answer.
    """

    def __init__(
        self,
        server: int,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: str,
        streams: tuple[int, int, int],
        inherited: Sequence[int] = (),
        own_group: bool = True,
        follows: bool = True,
        nice: int = 0,
    ) -> None:
        self.returncode: int | None = None
        self.stdin: IO[bytes] | None = None
        request = {
            "argv": argv,
            "env": dict(env),
            "cwd": cwd,
            "inherited": list(inherited),
            "group": 0 if own_group else os.getpgrp(),
            "follows": follows,
            "nice": nice,
        }
        message = json.dumps(request).encode()
        self._answers, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
        asking = socket.socket(fileno=server)
        try:
            with theirs:
                descriptors = [theirs.fileno(), *streams, *inherited]
                socket.send_fds(asking, [message], descriptors)
            answer = self._answers.recv(64)
            if not answer:
                raise ConnectionResetError("The fork server ended.")
        except OSError:
            self._answers.close()
            raise
        finally:
            asking.detach()
        self.pid = int(answer)

    def poll(self) -> int | None:
        """Return the exit status, or None while the process runs."""
        return self._status(socket.MSG_DONTWAIT)

    def wait(self) -> int:
        """Wait for the end of the process, and return its exit status."""
        while (status := self._status()) is None:
            pass
        return status

    def _status(self, flags: int = 0) -> int | None:
        if self.returncode is None:
            try:
                answer = self._answers.recv(64, flags)
            except BlockingIOError:
                return None
            except OSError:
                answer = b""
            self.returncode = int(answer or KILLED)
            self._answers.close()
            if not answer:
                # One that does not follow the server would run on beside the next one.
                with suppress(ProcessLookupError):
                    os.kill(self.pid, signal.SIGKILL)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal to the process unless it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill the process unless it has ended."""
        self.send_signal(signal.SIGKILL)


def start(
    preload: Callable[[], object], *, own_session: bool = False
) -> tuple[int, int]:
    """Fork a server that begins with ``preload``; return its process id and the socket's number.

    Call it before this process has threads and connections. Processes can join the group of
    who asks for them if that is in the session of the server.
    """
    ours, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
    sys.stdout.flush()
    gc.freeze()  # a collection would write to each object, and so end the sharing
    parent = os.getpid()
    if process := os.fork():
        theirs.close()
        return process, ours.detach()
    try:
        follow_parent()
        if os.getppid() != parent:
            os._exit(1)
        if own_session:
            os.setsid()
        serve(theirs, preload)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


def stop(process: int) -> None:
    """End the server, whose processes have ended, and wait for it.

    SIGTERM could come while it still has the handler of its parent, which only takes a note.
    """
    with suppress(ProcessLookupError, ChildProcessError):
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)


def serve(requests: socket.socket, preload: Callable[[], object]) -> NoReturn:
    """Be the server: answer the requests that come from the socket."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    _close_all_but(requests.fileno())
    set_title("istore fork server")
    # The modules are run as programs later, though they were imported here.
    warnings.filterwarnings("ignore", category=RuntimeWarning, module="runpy")
    # The start has already written down that the store runs as root.
    warnings.filterwarnings("ignore", "You're running the worker with superuser")
    multiprocessing.set_start_method("fork", force=True)  # for the workers of granian
    preload()
    gc.collect()
    gc.freeze()
    _Server(requests).run()


def _close_all_but(kept: int) -> None:
    os.closerange(FIRST_FREE, kept)
    os.closerange(kept + 1, os.sysconf("SC_OPEN_MAX"))


class _Server:
    """The loop of the fork server: one thread, which forks, and tells who has ended."""

    def __init__(self, requests: socket.socket) -> None:
        self._requests = requests
        self._answers: dict[int, socket.socket] = {}
        self._wakes, self._wakened = socket.socketpair()
        for each in (requests, self._wakes, self._wakened):
            each.setblocking(False)
        signal.set_wakeup_fd(self._wakened.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def run(self) -> NoReturn:
        selector = selectors.DefaultSelector()
        selector.register(self._requests, selectors.EVENT_READ)
        selector.register(self._wakes, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is self._wakes:
                    self._wakes.recv(4096)
                    self._reap()
                else:
                    self._fork()

    def _reap(self) -> None:
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                process, status = ended
                with self._answers.pop(process) as answers, suppress(OSError):
                    answers.send(b"%d" % os.waitstatus_to_exitcode(status))

    def _fork(self) -> None:
        message, descriptors, _, _ = socket.recv_fds(
            self._requests, REQUEST_BYTES, DESCRIPTORS
        )
        if not message:  # nobody is left who could ask
            os._exit(0)
        request, server = json.loads(message), os.getpid()
        answers = socket.socket(fileno=descriptors.pop(0))
        try:
            process = os.fork()
        except OSError:  # who asked sees no answer, and executes the program
            answers.close()
        else:
            if process == 0:
                _become(request, descriptors, server)
            # Both sides do it: nobody shall signal the group before it is there.
            with suppress(OSError):
                os.setpgid(process, request["group"] or process)
            self._answers[process] = answers
            with suppress(OSError):  # who asked has gone
                answers.send(b"%d" % process)
        finally:
            for each in descriptors:
                os.close(each)


def _become(request: dict[str, Any], descriptors: list[int], server: int) -> NoReturn:
    """Become the process of a request, run its program, and exit."""
    status = 1
    try:
        with suppress(PermissionError):  # the group it should join has ended
            os.setpgid(0, request["group"])
        if request["follows"]:
            follow_parent()
            if os.getppid() != server:
                os._exit(1)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _place(descriptors, [0, 1, 2, *request["inherited"]])
        os.nice(request["nice"])
        os.environ.clear()
        os.environ.update(request["env"])
        os.chdir(request["cwd"])
        status = _run(request["argv"])
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def _place(descriptors: list[int], wanted: list[int]) -> None:
    """Give the descriptors their numbers, and close all others."""
    above = max(*wanted, *descriptors) + 1
    for number, each in enumerate(descriptors):
        os.dup2(each, above + number)
    os.closerange(0, above)
    for number, each in enumerate(wanted):
        os.dup2(above + number, each)
    os.closerange(max(wanted) + 1, os.sysconf("SC_OPEN_MAX"))
    for number in range(FIRST_FREE, max(wanted)):
        if number not in wanted:
            with suppress(OSError):
                os.close(number)
    # The buffers of the old ones may hold what another process wrote.
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
    sys.stderr = os.fdopen(
        2, "w", buffering=1, errors="backslashreplace", closefd=False
    )


def _run(argv: list[str]) -> int:
    """Run ``-m MODULE …`` or ``FILE …`` as Python would; return the exit status."""
    set_title(" ".join([sys.executable, *argv]))
    is_module = argv[0] == "-m"
    sys.argv = argv[1:] if is_module else argv
    run: Callable[..., Any] = runpy.run_module if is_module else runpy.run_path
    options = {"alter_sys": True} if is_module else {}
    try:
        run(sys.argv[0], run_name="__main__", **options)
        status = 0
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(bool(error.code))
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
    # As at the end of every Python: the interpreter would do it after ``main`` returned, but
    # below are still the frames of the processes that this one was forked from.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return status


def set_title(text: str) -> None:
    """Write the command line that ``ps`` shows, over argv and, behind it, the old environ.

    The kernel shows what goes on behind argv if the last byte of argv is not zero. A long title
    is for a process that has written its ``os.environ`` anew, and so reads another copy.
    """
    stat = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    begin, end, _, room_end = (int(each) for each in stat[45:49])
    data = text.encode()[: room_end - begin - 1]
    ctypes.memset(begin, 0, max(end - begin, len(data) + 1))
    ctypes.memmove(begin, data, len(data))
