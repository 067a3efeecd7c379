"""The limits of a call, read from the settings once.

A call looks at a dozen of them, and each look at Django's settings object costs more than
it should on a path of half a millisecond.
"""

from __future__ import annotations

from django.conf import settings

PROXY_MAX_REQUEST_BYTES: int = settings.ISTORE_PROXY_MAX_REQUEST_BYTES
PROXY_MAX_RESPONSE_BYTES: int = settings.ISTORE_PROXY_MAX_RESPONSE_BYTES
PROXY_MAX_INFLIGHT_BYTES: int = settings.ISTORE_PROXY_MAX_INFLIGHT_BYTES
CAPTURE_MAX_BYTES: int = settings.ISTORE_CAPTURE_MAX_BYTES
CLIENT_BODY_SECONDS: int = settings.ISTORE_CLIENT_BODY_SECONDS
UPSTREAM_CONCURRENCY: int = settings.ISTORE_UPSTREAM_CONCURRENCY
# Zero is no limit.
UPSTREAM_CONNECT_SECONDS: int | None = settings.ISTORE_UPSTREAM_CONNECT_SECONDS or None
UPSTREAM_TOTAL_SECONDS: int | None = settings.ISTORE_UPSTREAM_TOTAL_SECONDS or None
SPOOL_MAX_BYTES: int = settings.ISTORE_SPOOL_MAX_BYTES
SPOOL_DEADLINE_MS: int = settings.ISTORE_SPOOL_DEADLINE_MS
PROXY_STALE_SECONDS: int = settings.ISTORE_PROXY_STALE_SECONDS
PROXY_RATE_PER_MINUTE: int = settings.ISTORE_PROXY_RATE_PER_MINUTE
WRONG_TOKENS_PER_MINUTE: int = settings.ISTORE_WRONG_TOKENS_PER_MINUTE
SPOOL_DEADLINE_MAX_MS: int = settings.ISTORE_SPOOL_DEADLINE_MAX_MS
SPOOL_SYNC_SECONDS: int = settings.ISTORE_SPOOL_SYNC_SECONDS
ID_DEADLINE_MS: int = settings.ISTORE_ID_DEADLINE_MS
ID_MAX_CHARS: int = settings.ISTORE_ID_MAX_CHARS
JSON_MAX_DEPTH: int = settings.ISTORE_JSON_MAX_DEPTH
