"""Many inferences in one request, as NDJSON: one JSON object per line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import httpx2

from inference_store.models import BatchResult, NewInferenceStorageRequest
from inference_store.requests import document, written

MOST_BYTES = 4 * 1024 * 1024  # half of what the store accepts in one request


def batches(
    request_bodies: Iterable[NewInferenceStorageRequest], size: int
) -> Iterator[list[bytes]]:
    """Yield the lines of each request: at most ``size`` lines and ``MOST_BYTES`` bytes.

    A single line that is larger makes a request of its own.
    """
    rows: list[bytes] = []
    length = 0
    for body in request_bodies:
        row = written(body) + b"\n"
        if rows and (len(rows) >= size or length + len(row) > MOST_BYTES):
            yield rows
            rows, length = [], 0
        rows.append(row)
        length += len(row)
    if rows:
        yield rows


def read_results(response: httpx2.Response) -> list[BatchResult]:
    """Return one result per inference, in the order sent."""
    results = document(response)["results"]
    return [BatchResult.model_validate(each) for each in results]
