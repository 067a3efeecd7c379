"""The filter on how a call ended: whether it failed, why, and by which status."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from django.db.models import OuterRef, Q

from inferences.models import InferencePayload, RegisteredModel, SideRowQuerySet
from inferences.models.side_rows import HasSideRow
from inferences.search.access_paths import AccessPath, path_by_side_rows
from inferences.search.filters.kind import Kind, Parameter, Reading, Term
from inferences.search.filters.leaf import Filter, Leaf
from inferences.search.filters.tree import Not
from inferences.store.notes import FAILURE, Failure

OK, FAILED = "ok", "failed"
REASONS = tuple(each.value for each in Failure if each is not Failure.STATUS)
CODE = re.compile("[1-5]([0-9]{2}|xx)")
FIRST_ERROR = 400  # the least status of a call that failed


@dataclass(frozen=True, slots=True)
class StatusFilter(Leaf):
    """The call failed, for any reason or for one, or its answer had an HTTP status.

    ``status`` is ``failed``, one of ``REASONS``, a status such as ``429``, or a class of them
    such as ``5xx``.
    """

    status: str

    def __post_init__(self) -> None:
        known = self.status == FAILED or self.status in REASONS
        if not known and not CODE.fullmatch(self.status):
            words = ", ".join((OK, FAILED, *REASONS))
            raise ValueError(f"It is one of {words}, or a status as 429 or 5xx.")

    def condition(self, model: RegisteredModel) -> Q:
        """Return a test served by payload_with_failure, a partial index in id order.

        No index serves statuses of success, which nearly all records have.
        """
        mine = self._rows(model).filter(id=OuterRef("id"))
        return Q(HasSideRow(mine))

    def access_paths(self, model: RegisteredModel) -> list[AccessPath]:
        if not self._is_of_failures:
            return []
        return [path_by_side_rows(self._rows(model), in_order=True, is_exact=True)]

    @property
    def _is_of_failures(self) -> bool:
        return not self.status[0].isdigit() or self._codes[0] >= FIRST_ERROR

    @property
    def _codes(self) -> tuple[int, int]:
        """The least status that is meant, and the first above it that is not."""
        if self.status.endswith("xx"):
            low = int(self.status[0]) * 100
            return low, low + 100
        return int(self.status), int(self.status) + 1

    def _rows(self, model: RegisteredModel) -> SideRowQuerySet[InferencePayload]:
        rows = InferencePayload.objects.beside(model)
        if self._is_of_failures:
            rows = rows.filter(notes__has_key=FAILURE)
        if self.status in REASONS:
            return rows.filter(notes__failure=self.status)
        if self.status == FAILED:
            return rows
        low, high = self._codes
        return rows.filter(
            notes__answer__status__gte=low, notes__answer__status__lt=high
        )

    def __str__(self) -> str:
        return f"status {self.status}"

    def terms(self) -> Iterator[str]:
        yield f"status:{self.status}"


def filter_of(status: str) -> Filter:
    """Return the filter of a status as people write it, ``ok`` included. Raises ValueError."""
    return Not(StatusFilter(FAILED)) if status == OK else StatusFilter(status)


def _status(reading: Reading) -> Filter:
    return filter_of(reading.scanner.value()[0])


WORDS = (FAILED, OK, "4xx", "5xx", *REASONS)
KIND = Kind(
    terms=(Term("status:", _status),),
    words={f"status:{word}": filter_of(word) for word in WORDS},
    parameters=(
        Parameter(
            "status",
            "Status",
            "status",
            choices={word: filter_of(word) for word in WORDS},
            titles={
                FAILED: "failed",
                OK: "not failed",
                "4xx": "refused by the server (4xx)",
                "5xx": "failed at the server (5xx)",
                "timeout": "timed out",
                "broken-off": "broken off",
                "error": "with an error in its stream",
            },
        ),
    ),
)
