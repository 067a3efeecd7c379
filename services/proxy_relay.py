"""Relay a call of a session to the proxy, and its answer back.

So a session can be called at the URL of the API. Calling the proxy directly is faster; each
session names its URL. The answer is relayed as it arrives, and when the client
disconnects, the connection to the proxy is closed too.
"""

from __future__ import annotations

import http.client
import logging
from collections.abc import Iterator, Mapping
from urllib.parse import quote, urlsplit

from django.conf import settings
from django.http import StreamingHttpResponse
from django.http.response import HttpResponseBase

from istore.errors import Unavailable
from services.models import InferenceSession
from services.runners.servers import IN_A_PATH

PIECE = 64 * 1024
# Beyond the proxy's own total timeout: after both no answer will come.
PATIENCE_SECONDS = 30
PASSED_ON = (
    "accept",
    "accept-language",
    "content-encoding",
    "content-type",
    "inference-header-content-length",
    "inference-id",
    "traceparent",
    "tracestate",
    "upstream-authorization",
    "user-agent",
    "x-request-id",
)
PASSED_BACK = {
    "cache-control",
    "content-encoding",
    "content-language",
    "content-length",
    "content-type",
    "inference-header-content-length",
    "inference-id",
    "inference-store",
    "retry-after",
    "server-timing",
    "vary",
    "www-authenticate",
    "x-request-id",
}

log = logging.getLogger(__name__)


def path_of(session: InferenceSession, endpoint: str) -> str:
    """Return the path of a call, which is the same on the API and on the proxy."""
    infer = f"/api/v1/inferencesessions/{session.id.hex}/infer"
    return f"{infer}/{quote(endpoint, safe=IN_A_PATH)}"


def ask(
    session: InferenceSession,
    endpoint: str,
    secret: str,
    body: bytes,
    headers: Mapping[str, str],
) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    """Send the call; return the connection and the response, whose body is not read yet.

    Raises ``StoreError`` if the proxy does not answer.
    """
    parts = urlsplit(settings.ISTORE_PROXY_INTERNAL_URL)
    is_safe = parts.scheme == "https"
    kind = http.client.HTTPSConnection if is_safe else http.client.HTTPConnection
    seconds = (settings.ISTORE_UPSTREAM_TOTAL_SECONDS or 600) + PATIENCE_SECONDS
    connection = kind(parts.hostname or "", parts.port, timeout=seconds)
    passed = {name: headers[name] for name in PASSED_ON if headers.get(name)}
    passed["authorization"] = f"Bearer {secret}"
    try:
        path = parts.path.rstrip("/") + path_of(session, endpoint)
        connection.request("POST", path, body, passed)
        return connection, connection.getresponse()
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        log.warning("The proxy does not answer: %s", type(error).__name__)
        message = "The proxy does not answer. Try again soon."
        raise Unavailable("dependency-unavailable", message, retry_after=2) from None


def passed_back(
    connection: http.client.HTTPConnection, response: http.client.HTTPResponse
) -> HttpResponseBase:
    """Return a response that streams the proxy's answer as it arrives."""
    answer = StreamingHttpResponse(
        _pieces(connection, response), status=response.status
    )
    del answer["Content-Type"]
    for name, value in response.getheaders():
        if name.lower() in PASSED_BACK:
            answer[name] = value
    return answer


def _pieces(
    connection: http.client.HTTPConnection, response: http.client.HTTPResponse
) -> Iterator[bytes]:
    try:
        while piece := response.read1(PIECE):
            yield piece
    finally:  # also if the client disconnects: closing tells the proxy
        connection.close()
