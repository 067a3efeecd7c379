"""Many inferences in one request: one JSON text per line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import httpx2

from inference_store.models import BatchResult, NewInferenceStorageRequest
from inference_store.requests import document, written

MOST_BYTES = 4 * 1024 * 1024  # half of what the store takes


def batches(
    request_bodies: Iterable[NewInferenceStorageRequest], size: int
) -> Iterator[list[bytes]]:
    """The lines to send, cut where a batch has enough of them or of bytes."""
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
    """One result per row, in order."""
    results = document(response)["results"]
    return [BatchResult.model_validate(each) for each in results]
