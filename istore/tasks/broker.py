"""Connections to Valkey or Redis with a deadline and size limits on each reply.

A socket timeout limits the wait for the next bytes. It does not limit a reply that comes byte
by byte, a bulk string with a length of two billion, or an endless list. So a reply has a
deadline and a maximum size here. A reply of another form than was asked for is a failure of
the connection: it is counted, the connection is closed, and the caller may retry.
"""

from __future__ import annotations

import builtins
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis
from redis._parsers import _RESP2Parser
from redis._parsers.socket import SERVER_CLOSED_CONNECTION_ERROR, SocketBuffer
from redis.backoff import NoBackoff
from redis.exceptions import InvalidResponse, TimeoutError
from redis.retry import Retry

REPLY_SECONDS = 5.0  # from the first wait for a reply to its end
BULK_BYTES = 64 * 2**20  # far above any event
REPLY_BYTES = 256 * 2**20
REPLY_ITEMS, REPLY_DEPTH = 1_000_000, 16
LINE_BYTES = 64 * 2**10
# What the client library, or code after it, raises for a reply of another form.
WRONG_FORM = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
)

wrong_replies: Counter[str] = Counter()  # by command


class WrongReply(redis.ConnectionError):
    """The reply has another form than the command returns."""


class _BoundedBuffer(SocketBuffer):
    """A buffer that stops reading at a deadline and after so many bytes."""

    until: float = float("inf")
    left: int = REPLY_BYTES

    def _read_from_socket(
        self,
        length: int | None = None,
        timeout: Any = None,
        raise_on_timeout: bool | None = True,
    ) -> bool:
        if not raise_on_timeout:  # only a check whether data is there
            return super()._read_from_socket(length, timeout, raise_on_timeout)
        buffer, place = self._buffer, self._buffer.tell()
        buffer.seek(0, 2)
        read = 0
        try:
            while True:
                wait = self.until - time.monotonic()
                if self.socket_timeout is not None:
                    wait = min(wait, self.socket_timeout)
                if wait <= 0:
                    raise TimeoutError("A reply took too long.")
                self._sock.settimeout(None if wait == float("inf") else wait)
                data = self._sock.recv(self.socket_read_size)
                if not data:
                    raise redis.ConnectionError(SERVER_CLOSED_CONNECTION_ERROR)
                buffer.write(data)
                read += len(data)
                self.left -= len(data)
                if self.left < 0:
                    raise InvalidResponse("A reply is too large.")
                if length is None or read >= length:
                    return True
        except (TimeoutError, redis.RedisError):
            raise
        except builtins.TimeoutError:
            raise TimeoutError("A reply took too long.") from None
        except OSError as error:
            raise redis.ConnectionError(f"The connection broke: {error}") from None
        finally:
            buffer.seek(place)
            if self._sock is not None:
                self._sock.settimeout(self.socket_timeout)

    def readline(self, timeout: Any = None) -> bytes:
        """Return a line without its end. Raises ``InvalidResponse`` beyond ``LINE_BYTES``."""
        data = self._buffer.readline()
        while not data.endswith(b"\r\n"):
            if len(data) > LINE_BYTES:
                raise InvalidResponse("A line of a reply is too long.")
            self._read_from_socket()
            data += self._buffer.readline()
        return data[:-2]


class BoundedParser(_RESP2Parser):
    """The library's parser of RESP2, with limits on what it reads from a socket."""

    # Those of a connection, which there is whenever a reply is read.
    _sock: Any
    _buffer: Any
    encoder: Any

    def on_connect(self, connection: Any) -> None:
        super().on_connect(connection)  # type: ignore[no-untyped-call]  # of redis
        self._buffer = _BoundedBuffer(
            self._sock, self.socket_read_size, connection.socket_timeout
        )

    def read_response(self, disable_decoding: bool = False, timeout: Any = None) -> Any:
        buffer = self._buffer
        seconds = max(REPLY_SECONDS, buffer.socket_timeout or 0.0)
        buffer.until, buffer.left = time.monotonic() + seconds, REPLY_BYTES
        self._items = 0
        try:
            return super().read_response(disable_decoding=disable_decoding)
        except WRONG_FORM as error:
            raise InvalidResponse(f"No reply: {type(error).__name__}") from None

    def _read_response(
        self, disable_decoding: bool = False, timeout: Any = None, depth: int = 0
    ) -> Any:
        line = self._buffer.readline()
        kind, content = line[:1], line[1:]
        if kind == b"-":
            message = content.decode("utf-8", errors="replace")
            error = self.parse_error(message)  # type: ignore[no-untyped-call]  # of redis
            if isinstance(error, redis.ConnectionError):
                raise error
            return error
        if kind == b":":
            return _number(content)
        if kind == b"+":
            answer: Any = content
        elif kind in (b"$", b"*") and content == b"-1":
            return None
        elif kind == b"$":
            length = _number(content)
            if not 0 <= length <= BULK_BYTES:
                raise InvalidResponse(f"A string of {length} bytes.")
            answer = self._buffer.read(length)
        elif kind == b"*":
            count = _number(content)
            self._items += count
            if not count >= 0 or self._items > REPLY_ITEMS or depth >= REPLY_DEPTH:
                raise InvalidResponse(f"A list of {count}, {depth} deep.")
            answer = [
                self._read_response(disable_decoding, depth=depth + 1)
                for _ in range(count)
            ]
        else:
            raise InvalidResponse(f"No reply begins with {line[:20]!r}.")
        return answer if disable_decoding else self.encoder.decode(answer)


def _number(digits: bytes) -> int:
    if not 0 < len(digits) < 21:
        raise InvalidResponse(f"{digits[:20]!r} is no number.")
    return int(digits)


def connect(
    url: str, *, seconds: float = REPLY_SECONDS, tries: int = 1, **options: Any
) -> redis.Redis:
    """Return a client whose calls end within about ``seconds`` for each try."""
    return redis.Redis.from_url(
        url,
        socket_timeout=seconds,
        socket_connect_timeout=min(seconds, REPLY_SECONDS),
        protocol=2,
        parser_class=BoundedParser,
        retry=Retry(NoBackoff(), tries - 1),
        **options,
    )


@contextmanager
def reading(what: str, *clients: redis.Redis) -> Iterator[None]:
    """Raise ``WrongReply`` for a malformed reply in the block, and close the connections.

    Only the command and the reading of its reply belong in the block: an error of our own there
    would be taken for one of the server's.
    """
    try:
        yield
    except (WrongReply, InvalidResponse) as error:
        raise _wrong(what, clients, error) from error
    except WRONG_FORM as error:
        raise _wrong(what, clients, error) from error


def _wrong(what: str, clients: tuple[redis.Redis, ...], error: Exception) -> WrongReply:
    wrong_replies[what] += 1
    for client in clients:  # later replies could no longer be matched to commands
        client.connection_pool.disconnect()
    return WrongReply(f"{what}: {type(error).__name__}: {error!s:.200}")
