"""Metrics of the proxy beside this store, for the operator page."""

from __future__ import annotations

import http.client
from collections import Counter
from contextlib import closing
from datetime import timedelta
from typing import Any

from django.conf import settings
from prometheus_client.parser import text_string_to_metric_families

from istore.probes import UNSPECIFIED

ANSWER_SECONDS = 1
MOST_BYTES = 4 * 1024**2
PREFIX = "istore_"


def read() -> dict[str, Any]:
    """Return the proxy's counters, read from its ``/metrics``. Raises ``OSError``."""
    host = UNSPECIFIED.get(settings.ISTORE_HOST, settings.ISTORE_HOST)
    connection = http.client.HTTPConnection(
        host, settings.ISTORE_PROXY_PORT, timeout=ANSWER_SECONDS
    )
    with closing(connection):
        try:
            token = settings.ISTORE_METRICS_TOKEN
            headers = {"Authorization": f"Bearer {token}"}
            connection.request("GET", "/metrics", headers=headers)
            answer = connection.getresponse()
            text = answer.read(MOST_BYTES).decode("utf-8", "replace")
        except http.client.HTTPException as error:
            raise OSError("It answered no HTTP.") from error
    if answer.status != http.HTTPStatus.OK:
        raise OSError(f"It answered {answer.status}.")
    return read_figures(text)


def read_figures(text: str) -> dict[str, Any]:
    """Return the counters in a text of Prometheus's exposition format."""
    single: dict[str, float] = {}
    by_label: dict[str, Counter[str]] = {}
    for family in text_string_to_metric_families(text):
        if not family.name.startswith(PREFIX):
            continue
        name = family.name.removeprefix(PREFIX)
        for sample in family.samples:
            if sample.name.endswith("_created"):
                continue
            if len(sample.labels) == 1 and family.type == "counter":
                (label,) = sample.labels.values()
                by_label.setdefault(name, Counter())[label] += int(sample.value)
            elif not sample.labels:
                single[name] = sample.value
    return {
        "recorded": int(single.get("proxy_recorded", 0)),
        "in_flight": int(single.get("proxy_in_flight", 0)),
        "spool_bytes": int(single.get("spool_bytes", 0)),
        "spool_age": timedelta(seconds=single.get("spool_age_seconds", 0.0)),
        "spool_share": single.get("spool_bytes", 0.0) / settings.ISTORE_SPOOL_MAX_BYTES,
        "streamed": int(single.get("proxy_streamed", 0)),
        "streams_kept": int(single.get("proxy_streams_kept", 0)),
        "streams_lost": by_label.get("proxy_streams_lost", Counter()).most_common(),
        "answered": sorted(by_label.get("proxy_answered", Counter()).items()),
        "not_recorded": by_label.get("proxy_not_recorded", Counter()).most_common(),
        "refused": sorted(by_label.get("proxy_refused", Counter()).items()),
    }
