"""The headers that are forwarded, in either direction: those listed here, and no other."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
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
# What the APIs of OpenAI and Anthropic read beside the body.
OF_TEXT_APIS = {
    b"anthropic-beta",
    b"anthropic-version",
    b"idempotency-key",
    b"openai-beta",
    b"openai-organization",
    b"openai-project",
}
TO_UPSTREAM = frozenset(
    BOTH_WAYS
    | OF_TEXT_APIS
    | {b"accept", b"accept-encoding", b"accept-language", b"user-agent"}
)
# What their clients read: the id to report, when to try again, what is left of a quota.
RATE_LIMITS = {
    form % {b"what": what, b"name": name}
    for form in (
        b"anthropic-ratelimit-%(what)b-%(name)b",
        b"x-ratelimit-%(name)b-%(what)b",
    )
    for what in (b"requests", b"tokens", b"input-tokens", b"output-tokens")
    for name in (b"limit", b"remaining", b"reset")
}
TO_CLIENT = frozenset(
    BOTH_WAYS
    | RATE_LIMITS
    | {b"cache-control", b"retry-after", b"server-timing", b"vary"}
    | {b"anthropic-organization-id", b"openai-organization", b"openai-processing-ms"}
    | {b"openai-version", b"request-id", b"retry-after-ms", b"x-should-retry"}
)
# Where clients send the store's token. It is for us, and is never forwarded.
AUTHORIZATION, API_KEY = b"authorization", b"x-api-key"
# The client's credentials for its model server, and the headers that they become.
UPSTREAM_CREDENTIALS = {
    b"upstream-authorization": b"Authorization",
    b"upstream-x-api-key": b"X-Api-Key",
}
# Between the store's token and a key for the model server where both are one value.
JOINED_BY = b":"

CONTENT_ENCODING = b"content-encoding"
HEADER_LENGTH = b"inference-header-content-length"
REQUEST_ID = b"x-request-id"

# Printable characters, without the comma between ids and the percent sign of an escape.
PLAIN = "".join(map(chr, range(0x21, 0x7F))).translate({ord(","): None, ord("%"): None})
PLAIN_ID = re.compile("[0-9A-Za-z._-]+")

# Headers that may not be repeated. If they were, two readers could believe different ones:
# who is calling, which server is meant, how long the body is and how it is encoded.
ONCE = {
    AUTHORIZATION,
    API_KEY,
    CONTENT_ENCODING,
    b"content-length",
    b"content-type",
    b"host",
    b"inference-id",
    HEADER_LENGTH,
    b"transfer-encoding",
    *UPSTREAM_CREDENTIALS,
}
FORWARDED = b"x-forwarded-for"
CONTENT_LENGTH, TRANSFER_ENCODING = b"content-length", b"transfer-encoding"


@dataclass(frozen=True, slots=True)
class Credential:
    """The store's token, and the header line with the model server's key, if both came as one.

    Programs that have one field for a key and none for headers send ``<token>:<key>``.
    """

    token: bytes
    upstream: bytes = b""


class Headers:
    """The headers of a client's request: names in lower case, as ASGI has them."""

    __slots__ = ("_credential", "_first", "_peer", "raw")

    def __init__(self, raw: Raw, peer: str = "") -> None:
        self.raw = list(raw)
        self._peer = peer
        self._first = dict(reversed(self.raw))
        self._credential: tuple[Credential | None] | None = None  # once it was read

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

    def credential(self) -> Credential | None:
        """Return the credential of a Bearer ``Authorization``, else that of ``X-Api-Key``.

        None if there is neither, or if ``Authorization`` has another scheme.
        """
        if self._credential is None:
            self._credential = (self._read_credential(),)
        return self._credential[0]

    def _read_credential(self) -> Credential | None:
        given = self._first.get(AUTHORIZATION)
        begins = b"Authorization: Bearer "
        if given is not None:
            scheme, _, given = given.partition(b" ")
            if scheme.lower() != b"bearer":
                return None
        else:
            given, begins = self._first.get(API_KEY, b""), b"X-Api-Key: "
        token, _, key = given.strip().partition(JOINED_BY)
        if not token:
            return None
        return Credential(token, b"%b%b\r\n" % (begins, key) if key else b"")

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
        lines += self._upstream_credentials()
        for name, value in instead.items():
            if value is not None:
                lines.append(b"%b: %b\r\n" % (name, value))
        return lines

    def _upstream_credentials(self) -> list[bytes]:
        """Return the header lines with the caller's credentials for the model server."""
        first = self._first
        lines = [
            b"%b: %b\r\n" % (name, given)
            for header, name in UPSTREAM_CREDENTIALS.items()
            if (given := first.get(header))
        ]
        if not lines and (own := self.credential()) and own.upstream:
            lines.append(own.upstream)
        return lines


def ask_uncompressed(lines: Iterable[bytes]) -> list[bytes]:
    """Return the header lines with a request for an answer without compression."""
    kept = [line for line in lines if not line.startswith(b"accept-encoding:")]
    return [*kept, b"accept-encoding: identity\r\n"]


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
