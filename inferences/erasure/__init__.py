"""Everything that carries a metadata value goes: records, objects, and what was made of them.

``matching_records`` says who carries a value, ``running`` removes it, ``traces`` are the other
places where it may stand. Apps that keep such places register them here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inferences.erasure.matching_records import Carried
    from inferences.models import RegisteredModel
    from istore.models import Project

# Given the records that are about to go, by their row ids; returns how many things went.
OfRecords = Callable[["RegisteredModel", list[int]], int]
# Given the project and the value, after all records went; returns how many went.
OfValue = Callable[["Project", "Carried"], int]


@dataclass(frozen=True, slots=True)
class Keeper:
    """A place that may hold what an erasure has to reach. Both functions may run twice."""

    of_records: OfRecords | None = None
    of_value: OfValue | None = None


keepers: dict[str, Keeper] = {}


def register(
    name: str, *, of_records: OfRecords | None = None, of_value: OfValue | None = None
) -> None:
    """Called in ``AppConfig.ready``; ``name`` says in the report what was removed."""
    keepers[name] = Keeper(of_records, of_value)
