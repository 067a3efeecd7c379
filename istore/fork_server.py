"""A fork server: a process that imported the store once, and forks others from itself.

Every process of the store imports the same 2,000 modules: a processor second and 100 MB each.
Forked processes have them already, and share the pages of memory that nobody writes to.

``start`` forks the server. It opens nothing and runs no second thread, so that a fork of it is a
clean process; who has connections and threads cannot be forked. ``ForkedProcess`` asks it for a
process over a Unix socket, one connection each: the request with descriptors, then the process
id, and the exit status at the end. It has the part of ``subprocess.Popen`` that
``child_process.Child`` uses. Its argv, environment and descriptors are those of the request, as
after exec; it is a process group of its own, or in that of the asking process.

When the server ends, the processes that follow it end too, and ``Child`` starts them again by
exec. Other systems than Linux have libraries that do not bear a fork: no server is started there.
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

VARIABLE = "ISTORE_FORK_SERVER"  # the path of the socket, for the store's own processes
REQUEST_BYTES, DESCRIPTORS = 2**20, 64
FIRST_FREE = 3  # after standard input, output and error
KILLED = -signal.SIGKILL  # the status of a process whose server was killed


class ForkedProcess:
    """A process of the fork server, used like ``subprocess.Popen``.

    Raises OSError when the server does not answer.
    """

    def __init__(
        self,
        server: str,
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
        self._connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        request = {
            "argv": argv,
            "env": dict(env),
            "cwd": cwd,
            "inherited": list(inherited),
            "group": 0 if own_group else os.getpgrp(),
            "follows": follows,
            "nice": nice,
        }
        try:
            self._connection.connect(server)
            message = json.dumps(request).encode()
            socket.send_fds(self._connection, [message], [*streams, *inherited])
            answer = self._connection.recv(64)
            if not answer:
                raise ConnectionResetError("The fork server ended.")
        except OSError:
            self._connection.close()
            raise
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
                answer = self._connection.recv(64, flags)
            except BlockingIOError:
                return None
            except OSError:
                answer = b""
            self.returncode = int(answer or KILLED)
            self._connection.close()
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
    path: Path, preload: Callable[[], object], *, own_session: bool = False
) -> int:
    """Fork the server of this socket, which begins with ``preload``; return its process id.

    Call it before this process has threads and connections. Processes can join the group of
    who asks for them if that is in the session of the server.
    """
    path.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listening.bind(str(path))
    path.chmod(0o600)
    listening.listen(64)
    sys.stdout.flush()
    gc.freeze()  # a collection would write to each object, and so end the sharing
    parent = os.getpid()
    if process := os.fork():
        listening.close()
        return process
    try:
        follow_parent()
        if os.getppid() != parent:
            os._exit(1)
        if own_session:
            os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        _close_all_but(listening.fileno())
        set_title("istore fork server")
        _preload(preload)
        _Server(listening).run()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


def stop(process: int) -> None:
    """End the server, whose processes have ended, and wait for it."""
    with suppress(ProcessLookupError, ChildProcessError):
        os.kill(process, signal.SIGTERM)
        os.waitpid(process, 0)


def _preload(preload: Callable[[], object]) -> None:
    # The modules are run as programs later, though they were imported here.
    warnings.filterwarnings("ignore", category=RuntimeWarning, module="runpy")
    # The start has already written down that the store runs as root.
    warnings.filterwarnings("ignore", "You're running the worker with superuser")
    multiprocessing.set_start_method("fork")  # for the workers of granian
    preload()
    gc.collect()
    gc.freeze()


def _close_all_but(kept: int) -> None:
    os.closerange(FIRST_FREE, kept)
    os.closerange(kept + 1, os.sysconf("SC_OPEN_MAX"))


class _Server:
    """The loop of the fork server: one thread, which forks, and tells who has ended."""

    def __init__(self, listening: socket.socket) -> None:
        self._listening = listening
        self._connections: dict[int, socket.socket] = {}
        self._wakes, self._wakened = socket.socketpair()
        for each in (listening, self._wakes, self._wakened):
            each.setblocking(False)
        signal.set_wakeup_fd(self._wakened.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def run(self) -> NoReturn:
        selector = selectors.DefaultSelector()
        selector.register(self._listening, selectors.EVENT_READ)
        selector.register(self._wakes, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is self._wakes:
                    self._wakes.recv(4096)
                    self._reap()
                else:
                    self._fork(self._listening.accept()[0])

    def _reap(self) -> None:
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                process, status = ended
                with self._connections.pop(process) as connection, suppress(OSError):
                    connection.send(b"%d" % os.waitstatus_to_exitcode(status))

    def _fork(self, connection: socket.socket) -> None:
        with suppress(OSError):  # who asked has gone
            connection.setblocking(True)
            message, descriptors, _, _ = socket.recv_fds(
                connection, REQUEST_BYTES, DESCRIPTORS
            )
            if not message:
                connection.close()
                return
            request, server = json.loads(message), os.getpid()
            process = os.fork()
            if process == 0:
                _become(request, descriptors, server)
            # Both sides do it: nobody shall signal the group before it is there.
            with suppress(OSError):
                os.setpgid(process, request["group"] or process)
            for each in descriptors:
                os.close(each)
            self._connections[process] = connection
            connection.send(b"%d" % process)


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
