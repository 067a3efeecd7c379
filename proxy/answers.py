"""What the proxy says itself, in the protocol's form."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

import orjson

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]

AGAIN_IN_A_SECOND = (b"retry-after", b"1")
# The code of a problem, where nothing says more about it than its status.
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
    """A call that ends here, with a status and a sentence for the caller."""

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
    challenge = (b"www-authenticate", b"Bearer")
    return Refused(401, "The token is missing, unknown, expired or revoked.", challenge)


def forbidden(message: str) -> Refused:
    """For a token of the right project, or of the right session: it may know why."""
    return Refused(403, message)


def not_found() -> Refused:
    """Absent, removed, or another tenant's: one and the same."""
    return Refused(404, "There is no such model.")


def nothing_here() -> Refused:
    """No such session, or endpoint of it, for this caller."""
    return Refused(404, "There is nothing here.")


async def send_json(send: Send, status: int, value: Any, headers: Headers = ()) -> None:
    content_type = (b"content-type", b"application/json")
    await send_whole(send, status, [content_type, *headers], orjson.dumps(value))


async def send_refusal(send: Send, refused: Refused) -> None:
    await send_json(send, refused.status, {"error": str(refused)}, refused.headers)


async def send_whole(send: Send, status: int, headers: Headers, body: bytes) -> None:
    sized = [*headers, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": sized})
    await send({"type": "http.response.body", "body": body})
