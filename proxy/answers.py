"""Responses of the proxy itself, in the form of the open inference protocol."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

import orjson

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]

AGAIN_IN_A_SECOND = (b"retry-after", b"1")
# The default code of a problem of each status.
CODES = {
    400: "validation-error",
    401: "not-authenticated",
    403: "permission-denied",
    404: "not-found",
    405: "method-not-allowed",
    408: "request-timeout",
    413: "body-too-large",
    415: "unsupported-encoding",
    429: "rate-limited",
    502: "upstream-unavailable",
    503: "dependency-unavailable",
    504: "upstream-timeout",
}


class Refused(Exception):
    """A call that ends here, with a status and a message for the caller."""

    def __init__(
        self,
        status: int,
        message: str,
        *headers: tuple[bytes, bytes],
        code: str = "",
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers
        self.code = code or CODES.get(status, "error")


def unauthenticated() -> Refused:
    """Return a 401 that does not tell a missing token from an unknown or expired one."""
    challenge = (b"www-authenticate", b"Bearer")
    return Refused(401, "The token is missing, unknown, expired or revoked.", challenge)


def forbidden(message: str) -> Refused:
    """Return a 403, for a token of the right project or session: such a caller may know why."""
    return Refused(403, message)


def not_found() -> Refused:
    """Return the one 404 for models that are absent, removed, or of another tenant.

    The three must not differ, or a caller could find out which models others have.
    """
    return Refused(404, "There is no such model.")


def nothing_here() -> Refused:
    """Return a 404: this caller has no such session, or the session no such endpoint."""
    return Refused(404, "There is nothing here.")


async def send_json(send: Send, status: int, value: Any, headers: Headers = ()) -> None:
    """Send a whole response with a JSON body."""
    content_type = (b"content-type", b"application/json")
    await send_whole(send, status, [content_type, *headers], orjson.dumps(value))


async def send_whole(send: Send, status: int, headers: Headers, body: bytes) -> None:
    """Send a whole response with its content length."""
    sized = [*headers, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": sized})
    await send({"type": "http.response.body", "body": body})
