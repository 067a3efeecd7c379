"""A storage of blobs that tells the metrics how often it is asked, how long, and what fails."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from istore.telemetry.metrics import (
    LISTENER,
    PROXY,
    WEB,
    WORKER,
    Distribution,
    Total,
)

ASKING = (WEB, PROXY, LISTENER, WORKER)
# The methods of ``BlobStorage`` that ask the disk or the object store, and what they do.
OPERATIONS = {
    "save": "put",
    "open": "get",
    "read_range": "get",
    "read_spans": "get",
    "read_tail": "get",
    "open_range": "get",
    "size": "stat",
    "exists": "stat",
    "listed_sizes": "list",
    "listdir": "list",
    "delete": "delete",
    "delete_all": "delete",
    "release": "release",
}
OK, ABSENT, FAILED = "ok", "absent", "failed"

requests = Total(
    "istore_blob_requests_total",
    "Requests for blobs by outcome: ok, absent or failed.",
    *("operation", "outcome"),
    roles=ASKING,
)
durations = Distribution(
    "istore_blob_request_duration_seconds",
    "Requests for blobs; of a file that is opened, until it is open.",
    "operation",
    roles=ASKING,
)


class ObservedStorage:
    """The storage within, whose requests are counted."""

    def __init__(self, within: Any) -> None:
        self._within = within

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._within, name)
        operation = OPERATIONS.get(name)
        return found if operation is None else _observed(found, operation)


def _observed(ask: Callable[..., Any], operation: str) -> Callable[..., Any]:
    def answer(*args: Any, **kwargs: Any) -> Any:
        outcome, began_at = FAILED, time.perf_counter()
        try:
            found = ask(*args, **kwargs)
            outcome = OK
            return found
        except FileNotFoundError:
            outcome = ABSENT
            raise
        finally:
            durations.observe(time.perf_counter() - began_at, operation)
            requests.add(operation, outcome)

    return answer
