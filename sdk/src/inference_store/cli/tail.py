"""Follow new inferences by polling for the newest.

Inferences are stored shortly after they happened, and not in order. So each poll starts
some time before the newest one seen, and inferences shown already are skipped.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

from inference_store import Client
from inference_store.binding import plan_of
from inference_store.inference import list_inferences
from inference_store.models import Inference
from inference_store.pagination import Pages, walk

LATE = timedelta(seconds=30)
REMEMBERED = 50_000
PAGE_LIMIT = 1000


def follow(
    client: Client,
    model_id: str,
    count: int,
    parameters: dict[str, Any],
    interval: float,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Inference]:
    """Yield the newest inferences, oldest first, then each new one. It does not end."""
    page = client.inference.list_inferences(
        model_id, **parameters, direction="desc", limit=PAGE_LIMIT
    )
    newest = page[::-1]
    known = Remembered(inference.inference_id for inference in newest)
    # Times are the store's: the clock of this machine may differ.
    latest = newest[-1].created_at if newest else None
    # Inferences older than a full first page were never shown, and are not new.
    floor = newest[0].created_at if page.next else None
    yield from newest[len(newest) - count :]
    while True:
        sleep(interval)
        for inference in _since(client, model_id, _begin(latest, floor), parameters):
            if known.is_new(inference.inference_id):
                latest = max(latest or inference.created_at, inference.created_at)
                yield inference


class Remembered:
    """The ids that were shown recently."""

    def __init__(self, ids: Iterable[str]) -> None:
        self._order = deque(ids)
        self._ids = set(self._order)

    def is_new(self, inference_id: str) -> bool:
        """Return whether the id was not there yet, and remember it."""
        if inference_id in self._ids:
            return False
        if len(self._order) >= REMEMBERED:
            self._ids.discard(self._order.popleft())
        self._order.append(inference_id)
        self._ids.add(inference_id)
        return True


def _begin(latest: datetime | None, floor: datetime | None) -> datetime | None:
    if latest is None:
        return None
    begin = latest - LATE
    return max(begin, floor) if floor else begin


def _since(
    client: Client, model_id: str, moment: datetime | None, parameters: dict[str, Any]
) -> Iterator[Inference]:
    if moment:
        since = moment.isoformat().replace("+00:00", "Z")
        parameters = parameters | {"since": since}
    parameters = parameters | {"direction": "asc", "limit": PAGE_LIMIT}
    list_page = plan_of(list_inferences)
    pages = Pages(lambda cursor: list_page(model_id, **parameters, cursor=cursor))
    return walk(client, pages)
