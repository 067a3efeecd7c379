"""What the proxy counts, for ``GET /metrics``. No label names a tenant or a model."""

from __future__ import annotations

from django.conf import settings
from prometheus_client import Counter, Gauge

from proxy.spool import age_of, size_of

ANSWERED = Counter("istore_proxy_answered", "Answers sent to clients.", ["status"])
RECORDED = Counter("istore_proxy_recorded", "Answers that left as recorded.")
NOT_RECORDED = Counter("istore_proxy_not_recorded", "Answers not kept.", ["reason"])
STREAMED = Counter("istore_proxy_streamed", "Answers passed on as streams.")
REFUSED = Counter("istore_proxy_refused", "Calls the proxy refused.", ["status"])
IN_FLIGHT = Gauge("istore_proxy_in_flight", "Calls being carried.")
IN_FLIGHT_BYTES = Gauge("istore_proxy_in_flight_bytes", "Bytes held for them.")
SPOOL_BYTES = Gauge("istore_spool_bytes", "Bytes of entries not captured yet.")
SPOOL_AGE = Gauge("istore_spool_age_seconds", "Age of the oldest segment.")

SPOOL_BYTES.set_function(lambda: size_of(settings.ISTORE_SPOOL_DIR))
SPOOL_AGE.set_function(lambda: age_of(settings.ISTORE_SPOOL_DIR))


def tell(status: int, told: str) -> None:
    """Count an answer by what its ``Inference-Store`` header says."""
    ANSWERED.labels(status).inc()
    word, _, reason = told.partition("; reason=")
    if word == "recorded":
        RECORDED.inc()
    elif word == "not-recorded":
        NOT_RECORDED.labels(reason).inc()
    elif word == "streaming":
        STREAMED.inc()
