"""Many values in one request, as NDJSON: one JSON object per line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import httpx2
from pydantic import BaseModel

from inference_store.models import BatchResult
from inference_store.requests import encode_json, json_object

BYTES_LIMIT = 4 * 1024 * 1024  # half of what the store accepts in one request


def batches(request_bodies: Iterable[BaseModel], size: int) -> Iterator[list[bytes]]:
    """Yield the lines of each request: at most ``size`` lines and ``BYTES_LIMIT`` bytes.

    A single line that is larger makes a request of its own.
    """
    rows: list[bytes] = []
    length = 0
    for body in request_bodies:
        row = encode_json(body) + b"\n"
        if rows and (len(rows) >= size or length + len(row) > BYTES_LIMIT):
            yield rows
            rows, length = [], 0
        rows.append(row)
        length += len(row)
    if rows:
        yield rows


def read_results(response: httpx2.Response) -> list[BatchResult]:
    """Return one result per inference, in the order sent."""
    results = json_object(response)["results"]
    return [BatchResult.model_validate(result) for result in results]
