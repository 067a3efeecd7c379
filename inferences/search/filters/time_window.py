"""The filter on the time of an inference: ``since:`` and ``until:``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

from django.db.models import Q

from inferences.models import RegisteredModel
from inferences.models.row_ids import EARLIEST, LATEST, first_id_at, last_id_at
from inferences.search.filters.kind import Kind, Parameter, Reading, Term
from inferences.search.filters.leaf import Leaf
from inferences.search.filters.moments import moment_in, write_moment
from inferences.store.metadata_slots import NOTHING
from istore.db import clock

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class TimeWindow(Leaf):
    """Inferences created between two moments, both included; without an end, until now."""

    is_joined: ClassVar[bool] = True

    start: datetime = BEGINNING
    end: datetime | None = None

    def __post_init__(self) -> None:
        if self.start > (self.end or clock.now()):
            raise ValueError("The time window ends before it starts.")

    def condition(self, model: RegisteredModel) -> Q:
        """Return a range of ids, which narrows the access paths of other filters (``conditions``).

        It is served by the primary key and every index that ends in the id.
        """
        ids = self.row_ids()
        return Q(id__gte=ids[0], id__lte=ids[1]) if ids else NOTHING

    def row_ids(self) -> tuple[int, int] | None:
        """Return the first and the last id of the window, or None if no id has such a time."""
        end = self.end or clock.now()
        if end < EARLIEST or self.start > LATEST:
            return None
        return first_id_at(self.start), last_id_at(end)

    def __str__(self) -> str:
        end = self.end.isoformat() if self.end else "now"
        return f"created from {self.start.isoformat()} to {end}"

    def terms(self) -> Iterator[str]:
        return (f"{name}:{moment}" for name, moment in self._bounds())

    def parameters(self) -> dict[str, list[str]]:
        return {name: [moment] for name, moment in self._bounds()}

    def _bounds(self) -> Iterator[tuple[str, str]]:
        """Yield what is given as text: ``since`` and a moment, ``until`` and a moment."""
        if self.start != BEGINNING or self.end is None:
            yield "since", write_moment(self.start)
        if self.end is not None:
            yield "until", write_moment(self.end, end_of_day=True)


def _term(name: str, field: str) -> Term:
    def read(reading: Reading) -> None:
        at = reading.scanner.position
        moment = moment_in(reading.scanner.value()[0], end_of_day=field == "end")
        known = reading.group.drafts.get(TimeWindow)
        if known and field in known.fields:
            raise reading.scanner.error(f"{name}: stands twice.", at)
        reading.group.draft(TimeWindow, at).fields[field] = moment

    return Term(f"{name}:", read)


def moment_of_url(*, end_of_day: bool = False) -> Callable[[str], datetime]:
    """Return the function that reads a moment in a URL, where a plus may arrive as a blank."""

    def read(given: str) -> datetime:
        plain = given.replace(" ", "+") if "T" in given else given
        return moment_in(plain, end_of_day=end_of_day)

    return read


def _build(given: Mapping[str, Any]) -> dict[str, Any]:
    since, until = given["since"], given["until"]
    if not (since or until):
        return {}
    return {"time_window": TimeWindow(since or BEGINNING, until)}


KIND = Kind(
    terms=(_term("since", "start"), _term("until", "end")),
    parameters=(
        Parameter("since", "Since", "since", moment_of_url(), joined="window"),
        Parameter(
            "until", "Until", "until", moment_of_url(end_of_day=True), joined="window"
        ),
    ),
    build=_build,
)
