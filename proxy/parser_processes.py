"""Parse large bodies in child processes, one body at a time each.

A JSON parser holds the interpreter lock while it runs. So a thread would hold up every other
call of this process, and could not be stopped. A process can: it has a memory limit, and one
that takes too long is killed and replaced. The body reaches it as an anonymous file, which is
written without the interpreter lock; the result is small.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import logging
import os
import pickle
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from struct import Struct
from typing import Any, TypeVar

from protocols.json_bounds import weight_bound

PROCESSES = 2
SECONDS = 15.0  # for one body; the largest that may be parsed takes about one second
MEMORY_BYTES = (
    3 * 2**30
)  # of address space: for a body, the values parsed from it, and libraries
LENGTH = Struct("<Q")
HEADER_BYTES = 2**20
BODY_BYTES = 2**30
# Parsed here: see ``is_light``. Less than SMALL_BYTES is, whatever it holds.
SMALL_BYTES, LIGHT_BYTES, LIGHT_WEIGHT = 16 * 2**10, 256 * 2**10, 10_000
# Not ``-m``: the classes of its exceptions would then be those of ``__main__``, and the
# parent could not unpickle them as ours.
CHILD = "import sys; from proxy import parser_processes as p; p.serve(int(sys.argv[1]))"

Result = TypeVar("Result")

log = logging.getLogger(__name__)


class NotParsed(ValueError):
    """Parsing the body is too much work; the message is meant for people."""


class ParserProcess:
    """One child process, started when it is first needed. For one thread at a time."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None

    def start(self) -> None:
        """Start the child unless it is running."""
        if self._child is not None and self._child.poll() is None:
            return
        self.stop()
        ours, theirs = socket.socketpair()
        with theirs:
            self._child = subprocess.Popen(
                [sys.executable, "-c", CHILD, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                cwd=os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
            )
        self._socket = ours

    def stop(self) -> None:
        """Kill the child."""
        if self._socket is not None:
            self._socket.close()
        if self._child is not None:
            self._child.kill()
            self._child.wait()
        self._child = self._socket = None

    def call(self, place: str, body: bytes, arguments: tuple[Any, ...]) -> Any:
        """Return the result of a function of the body.

        ``place`` names the function as ``module:name``. Raises what the function raises, or
        ``NotParsed``.
        """
        self.start()
        assert self._socket is not None
        if len(body) >= BODY_BYTES:
            raise NotParsed("It is too large to read.")
        header = pickle.dumps((place, len(body), arguments))
        if len(header) > HEADER_BYTES:
            raise NotParsed("It has too much beside it.")
        try:
            self._socket.settimeout(SECONDS)
            _send(self._socket, header, body)
            succeeded, value = pickle.loads(_receive(self._socket))
        except (OSError, EOFError) as error:
            self.stop()
            log.warning("A body could not be taken apart: %r", error)
            raise NotParsed("It took too long, or too much memory, to read.") from None
        if succeeded:
            return value
        raise value


class ParserProcesses:
    """A pool of parser processes, shared by the calls of one event loop."""

    def __init__(self, count: int = PROCESSES) -> None:
        self._idle = [ParserProcess() for _ in range(count)]
        self._free = asyncio.Semaphore(count)

    async def run(
        self, function: Callable[..., Result], body: bytes, *arguments: Any
    ) -> Result:
        """Return ``function(body, *arguments)``, computed in a process.

        ``function`` must be one of a module. Raises what it raises, or ``NotParsed``.
        """
        place = f"{function.__module__}:{function.__qualname__}"
        await self._free.acquire()
        process = self._idle.pop()
        work: asyncio.Future[Result] = asyncio.ensure_future(
            asyncio.to_thread(process.call, place, body, arguments)
        )
        # The thread goes on when the call is cancelled, and uses the process until it ends.
        work.add_done_callback(lambda done: self._take_back(process, done))
        return await asyncio.shield(work)

    def _take_back(self, process: ParserProcess, done: asyncio.Future[Any]) -> None:
        if not done.cancelled():
            done.exception()  # mark it as retrieved: the caller may be gone
        self._idle.append(process)
        self._free.release()


_shared: ParserProcesses | None = None


def shared() -> ParserProcesses:
    """Return the pool of this process, made on first use."""
    global _shared
    if _shared is None:
        _shared = ParserProcesses()
    return _shared


def is_light(text: bytes | memoryview) -> bool:
    """Return whether parsing the text is quick enough to do here: some milliseconds at most."""
    if len(text) > LIGHT_BYTES:
        return False
    return len(text) < SMALL_BYTES or weight_bound(bytes(text)) <= LIGHT_WEIGHT


async def parse(
    function: Callable[..., Result], body: bytes, *arguments: Any
) -> Result:
    """Return ``function(body, *arguments)``, computed here only if the body is light.

    A larger body is parsed in a process. Raises what the function raises, or ``NotParsed``.
    """
    if is_light(body):
        return function(body, *arguments)
    return await shared().run(function, body, *arguments)


def _send(to: socket.socket, header: bytes, body: bytes) -> None:
    descriptor = os.memfd_create("body", os.MFD_CLOEXEC)
    try:
        view = memoryview(body)
        while view:
            view = view[os.write(descriptor, view) :]
        socket.send_fds(to, [LENGTH.pack(len(header))], [descriptor])
        to.sendall(header)
    finally:
        os.close(descriptor)


def _receive(of: socket.socket) -> bytes:
    (size,) = LENGTH.unpack(_exactly(of, LENGTH.size))
    return _exactly(of, size)


def _exactly(of: socket.socket, size: int) -> bytes:
    pieces = []
    while size:
        piece = of.recv(min(size, 2**20))
        if not piece:
            raise EOFError("It has ended.")
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


# -- in the child


def serve(descriptor: int) -> None:
    """Answer one request after the other, until the parent is gone. It runs in the child."""
    # Nothing lives longer than one body, and JSON values have no cycles: reference counting
    # frees everything, and garbage collections would only take time.
    gc.disable()
    # Ctrl-C in a terminal reaches both processes: the parent decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    with socket.socket(fileno=descriptor) as parent:
        while request := _next_request(parent):
            answer = pickle.dumps(_answer(*request))
            del request
            parent.sendall(LENGTH.pack(len(answer)) + answer)


def _next_request(parent: socket.socket) -> tuple[str, bytes, tuple[Any, ...]] | None:
    length, descriptors, _, _ = socket.recv_fds(parent, LENGTH.size, 1)
    if not length:
        return None
    (header_size,) = LENGTH.unpack(length)
    place, size, arguments = pickle.loads(_exactly(parent, header_size))
    (descriptor,) = descriptors
    try:
        body = os.pread(descriptor, size, 0)
        if len(body) != size:  # one pread returns 2 GiB at most
            raise EOFError("The body is not all there.")
    finally:
        os.close(descriptor)
    return place, body, arguments


def _answer(place: str, body: bytes, arguments: tuple[Any, ...]) -> tuple[bool, Any]:
    module, _, name = place.partition(":")
    try:
        return True, getattr(importlib.import_module(module), name)(body, *arguments)
    except ValueError as error:
        return False, error
    except (MemoryError, RecursionError):
        return False, NotParsed("It takes too much memory to read.")
    except Exception:  # a bug of ours must cost no call, only the parsing of its copy
        log.exception("A body could not be taken apart")
        return False, NotParsed("It could not be read.")
