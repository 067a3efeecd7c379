"""The columns of the table of inferences, by the names that an address has.

A name is one of ``COLUMNS``, or ``input.``, ``shap.`` or ``meta.`` and the name of a feature or
metadata key: a named input of the model, what the feature contributed to the answer (its SHAP
value), a metadata value. ``sort=shap.age`` sorts by a column, ``sort=-shap.age`` descending.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from django.http import QueryDict

COLUMNS = {
    "answer": "Answer",
    "action": "Action",
    "source": "Source",
    "time": "Time",
    "score": "Top score",
    "size": "Size",
    "place": "Coordinates",
}
INPUT, SHAP, META = "input", "shap", "meta"
PARTS = {INPUT: "Inputs", SHAP: "SHAP contributions", META: "Metadata"}
USUAL = ("answer", "action", "source", "time")
COLUMNS_MOST = 60
# The sorts of fixed columns: ascending and descending, as the parameter ``sort`` names them.
# Labels are sorted in one direction.
FIXED_SORTS = {
    "time": ("oldest", ""),
    "score": ("uncertain", "score"),
    "answer": ("label", "label"),
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column. ``part`` is empty for one of ``COLUMNS``, else the ``key`` is a name in it."""

    name: str

    @property
    def part(self) -> str:
        part, dot, _ = self.name.partition(".")
        return part if dot and part in PARTS else ""

    @property
    def key(self) -> str:
        return self.name.partition(".")[2] if self.part else ""

    @property
    def title(self) -> str:
        return self.key or COLUMNS[self.name]

    @property
    def is_known(self) -> bool:
        """Whether such a column exists: a name of ``COLUMNS``, or a part with a key."""
        return self.name in COLUMNS or bool(self.key)


def read_columns(names: Iterable[str]) -> list[Column]:
    """Return the columns of these names, each once; names that mean none are left out."""
    columns = map(Column, dict.fromkeys(names))
    return [each for each in columns if each.is_known][:COLUMNS_MOST]


@dataclass(frozen=True, slots=True)
class ColumnSort:
    """An order by the values of a column of a part."""

    column: Column
    is_descending: bool

    @classmethod
    def read(cls, text: str) -> Self | None:
        """Return the order that ``sort`` names, or None if it is not one by a column."""
        column = Column(text.removeprefix("-"))
        return cls(column, text.startswith("-")) if column.key else None

    @property
    def title(self) -> str:
        way = "highest first" if self.is_descending else "lowest first"
        of = "SHAP of " if self.column.part == SHAP else ""
        return f"{of}{self.column.key}, {way}"


def former_columns(columns: Sequence[str], keys: Sequence[str]) -> list[str]:
    """Return the names of what ``col`` and ``show`` of an older address chose."""
    return [*columns, *(f"{META}.{key}" for key in keys)]


def apply_move(query: QueryDict, move: str) -> None:
    """Carry out a button of the menu of columns, such as ``left:answer``, on a query.

    The others are ``right``, ``pin`` and ``unpin``. Pinned columns stand before the others.
    """
    act, _, name = move.partition(":")
    names, pinned = query.getlist("columns"), query.getlist("pinned")
    if name in names and act in ("left", "right"):
        place = names.index(name)
        names.insert(max(place + (1 if act == "right" else -1), 0), names.pop(place))
    if act == "pin":
        pinned = [*(each for each in pinned if each != name), name]
    elif act == "unpin":
        pinned = [each for each in pinned if each != name]
    for parameter, values in (("columns", names), ("pinned", pinned)):
        if values:
            query.setlist(parameter, values)
        else:
            query.pop(parameter, None)
