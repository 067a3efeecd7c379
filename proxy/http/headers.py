"""The headers that are forwarded, in either direction: those listed here, and no other."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import quote

from istore.web.client_address import client_address

Raw = Iterable[tuple[bytes, bytes]]

BOTH_WAYS = {
    b"content-encoding",
    b"content-language",
    b"content-type",
    b"inference-header-content-length",
    b"traceparent",
    b"tracestate",
    b"x-request-id",
}
TO_UPSTREAM = frozenset(
    BOTH_WAYS | {b"accept", b"accept-encoding", b"accept-language", b"user-agent"}
)
TO_CLIENT = frozenset(
    BOTH_WAYS | {b"cache-control", b"retry-after", b"server-timing", b"vary"}
)
# The client's credential for its model server. Its ``Authorization`` is for us, and is
# never forwarded.
UPSTREAM_AUTHORIZATION = b"upstream-authorization"

CONTENT_ENCODING = b"content-encoding"
HEADER_LENGTH = b"inference-header-content-length"
REQUEST_ID = b"x-request-id"

# Printable characters, without the comma between ids and the percent sign of an escape.
PLAIN = "".join(map(chr, range(0x21, 0x7F))).translate({ord(","): None, ord("%"): None})
PLAIN_ID = re.compile("[0-9A-Za-z._-]+")

# Headers that may not be repeated. If they were, two readers could believe different ones:
# who is calling, which server is meant, how long the body is and how it is encoded.
ONCE = {
    b"authorization",
    CONTENT_ENCODING,
    b"content-length",
    b"content-type",
    b"host",
    b"inference-id",
    HEADER_LENGTH,
    b"transfer-encoding",
    UPSTREAM_AUTHORIZATION,
}
FORWARDED = b"x-forwarded-for"
CONTENT_LENGTH, TRANSFER_ENCODING = b"content-length", b"transfer-encoding"


class Headers:
    """The headers of a client's request: names in lower case, as ASGI has them."""

    __slots__ = ("_first", "_peer", "raw")

    def __init__(self, raw: Raw, peer: str = "") -> None:
        self.raw = list(raw)
        self._peer = peer
        self._first = dict(reversed(self.raw))

    def client_address(self) -> str:
        """Return the client's address, as seen behind the trusted proxies."""
        given = [
            value.decode("latin-1") for name, value in self.raw if name == FORWARDED
        ]
        return client_address(self._peer, given)

    def ambiguity(self) -> str:
        """Return what makes the request ambiguous; "" if nothing does."""
        first = self._first
        if CONTENT_LENGTH in first and TRANSFER_ENCODING in first:
            return "Content-Length and Transfer-Encoding were both given."
        if len(first) == len(self.raw):
            return ""
        seen: set[bytes] = set()
        for name, _ in self.raw:
            if name in seen and name in ONCE:
                return f"{name.decode().title()} was given more than once."
            seen.add(name)
        return ""

    def get(self, name: bytes) -> bytes | None:
        """Return the first value of that name."""
        return self._first.get(name)

    def encoding(self) -> str:
        """Return the content encoding of the body; "" if it has none."""
        found = self._first.get(CONTENT_ENCODING)
        return read_encoding(found) if found else ""

    def to_upstream(self, instead: Mapping[bytes, bytes | None]) -> list[bytes]:
        """Return the header lines to forward. ``instead`` replaces headers; None leaves one out."""
        lines = [
            b"%b: %b\r\n" % (name, value)
            for name, value in self.raw
            if name in TO_UPSTREAM and name not in instead
        ]
        if given := self._first.get(UPSTREAM_AUTHORIZATION):
            lines.append(b"Authorization: %b\r\n" % given)
        for name, value in instead.items():
            if value is not None:
                lines.append(b"%b: %b\r\n" % (name, value))
        return lines


def read_encoding(value: bytes) -> str:
    """Return the encoding that a Content-Encoding names; "" for ``identity``."""
    found = value.decode("latin-1").strip().lower()
    return "" if found == "identity" else found


def to_client(raw: Raw) -> list[tuple[bytes, bytes]]:
    """Return those of an upstream's headers that are forwarded, unchanged."""
    return [each for each in raw if each[0] in TO_CLIENT]


def header_of_ids(ids: Sequence[str]) -> bytes:
    """Return ids as one header value, comma separated; other characters are percent-encoded."""
    if len(ids) == 1 and PLAIN_ID.fullmatch(ids[0]):
        return ids[0].encode()
    return ",".join(quote(each, safe=PLAIN) for each in ids).encode()
