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


class Refused(Exception):
    """A call that ends here, with a status and a sentence for the caller."""

    def __init__(
        self, status: int, message: str, *headers: tuple[bytes, bytes]
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers


def unauthenticated() -> Refused:
    challenge = (b"www-authenticate", b"Bearer")
    return Refused(401, "The token is missing, unknown, expired or revoked.", challenge)


def not_found() -> Refused:
    """Absent, removed, or another tenant's: one and the same."""
    return Refused(404, "There is no such model.")


async def send_json(send: Send, status: int, value: Any, headers: Headers = ()) -> None:
    content_type = (b"content-type", b"application/json")
    await send_whole(send, status, [content_type, *headers], orjson.dumps(value))


async def send_refusal(send: Send, refused: Refused) -> None:
    await send_json(send, refused.status, {"error": str(refused)}, refused.headers)


async def send_whole(send: Send, status: int, headers: Headers, body: bytes) -> None:
    sized = [*headers, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": sized})
    await send({"type": "http.response.body", "body": body})
