"""The filter on the time of an inference."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from django.db.models import Q

from inferences.models import RegisteredModel
from inferences.models.row_ids import EARLIEST, LATEST, first_id_at, last_id_at
from inferences.search.access_paths import AccessPath
from inferences.store.metadata_slots import NOTHING
from istore.db import clock

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class TimeWindow:
    """Inferences created between two moments, both included; without an end, until now."""

    start: datetime = BEGINNING
    end: datetime | None = None

    def __post_init__(self) -> None:
        if self.start > (self.end or clock.now()):
            raise ValueError("The time window ends before it starts.")

    def condition(self, model: RegisteredModel) -> Q:
        """Return a range of ids, served by the primary key and every index that ends in the id."""
        ids = self.row_ids()
        return Q(id__gte=ids[0], id__lte=ids[1]) if ids else NOTHING

    def access_paths(self, model: RegisteredModel) -> list[AccessPath]:
        """Return no path: the range of ids narrows those of other filters (``conditions``)."""
        return []

    def row_ids(self) -> tuple[int, int] | None:
        """Return the first and the last id of the window, or None if no id has such a time."""
        end = self.end or clock.now()
        if end < EARLIEST or self.start > LATEST:
            return None
        return first_id_at(self.start), last_id_at(end)

    def __str__(self) -> str:
        end = self.end.isoformat() if self.end else "now"
        return f"created from {self.start.isoformat()} to {end}"
