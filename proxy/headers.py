"""Which headers pass, in either direction: those listed here, and no other."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote

from multidict import CIMultiDict

BOTH_WAYS = {
    "content-encoding",
    "content-language",
    "content-type",
    "inference-header-content-length",
    "traceparent",
    "tracestate",
    "x-request-id",
}
TO_UPSTREAM = BOTH_WAYS | {"accept", "accept-encoding", "accept-language", "user-agent"}
TO_CLIENT = BOTH_WAYS | {"cache-control", "retry-after", "server-timing", "vary"}
# The client's own credential for its model server. What it shows us never goes on.
UPSTREAM_AUTHORIZATION = "upstream-authorization"

HEADER_LENGTH = "inference-header-content-length"
REQUEST_ID = "x-request-id"
INFERENCE_ID = "inference-id"

# Printable, and neither the comma between ids nor the sign of an encoding.
PLAIN = "".join(map(chr, range(0x21, 0x7F))).translate({ord(","): None, ord("%"): None})


def read(raw: Iterable[tuple[bytes, bytes]]) -> CIMultiDict[str]:
    return CIMultiDict((k.decode("latin-1"), v.decode("latin-1")) for k, v in raw)


def to_upstream(given: CIMultiDict[str]) -> CIMultiDict[str]:
    passed = CIMultiDict((k, v) for k, v in given.items() if k.lower() in TO_UPSTREAM)
    if UPSTREAM_AUTHORIZATION in given:
        passed["Authorization"] = given[UPSTREAM_AUTHORIZATION]
    return passed


def to_client(raw: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """As the protocol of the server wants them: lower case, nothing else changed."""
    named = [(name.lower(), value) for name, value in raw]
    return [each for each in named if each[0].decode("latin-1") in TO_CLIENT]


def header_of_ids(ids: Iterable[str]) -> bytes:
    """Ids in one header, comma separated; what may not stand there is percent-encoded."""
    return ",".join(quote(each, safe=PLAIN) for each in ids).encode()
