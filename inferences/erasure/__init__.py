"""Erasure: remove everything that has a metadata value, or that was chosen, with a report.

Records, their blobs, and whatever was made of them are removed. ``matching_records`` and
``chosen_records`` find the records, ``running`` removes them, ``traces`` are the other places where the value may be
stored. Apps that have such places register them here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from istore.hooks import Hook

if TYPE_CHECKING:
    from inferences.erasure.matching_records import Carried
    from inferences.models import RegisteredModel
    from istore.models import Project

# Takes the row ids of records that are about to be removed; returns how many things it removed.
OfRecords = Callable[["RegisteredModel", list[int]], int]
# Takes the project and the value, after all records are removed; returns how many it removed.
OfValue = Callable[["Project", "Carried"], int]
# Takes the project, after all records are removed: removes what attempts that broke off left.
OfLeftovers = Callable[["Project"], int]


@dataclass(frozen=True, slots=True)
class TraceHolder:
    """A place that may hold what an erasure must remove; its functions must be idempotent.

    ``of_value`` and ``count_left`` are not called for an erasure of chosen inferences, which has
    no value. ``count_left`` looks once more at the end and counts for the proof what still has it.
    """

    of_records: OfRecords | None = None
    of_value: OfValue | None = None
    of_leftovers: OfLeftovers | None = None
    count_left: OfValue | None = None


# The report counts what was removed under the name of the place.
trace_holders: Hook[TraceHolder] = Hook()
