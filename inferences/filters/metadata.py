from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from operator import or_

from django.db.models import Q
from django.db.models.functions import Floor

from inferences.directory import NOTHING, Place, place_of
from inferences.filters import recheck
from inferences.filters.operands import read_list
from inferences.metadata import (
    SLOT_BEGINNING,
    in_slot,
    read_float,
    read_int,
    read_string,
)
from inferences.models import MetadataKind, RegisteredModel

READERS = {
    "string": read_string,
    "int": read_int,
    "float": read_float,
    "json.string": read_string,
    "json.int": read_int,
    "json.float": read_float,
}
KINDS = {
    "string": MetadataKind.STRING,
    "int": MetadataKind.INT,
    "float": MetadataKind.FLOAT,
    "json.string": MetadataKind.JSON_STRING,
    "json.int": MetadataKind.JSON_NUMBER,
    "json.float": MetadataKind.JSON_NUMBER,
}
LOOKUPS = {
    "=": ["exact"],
    "!=": ["lt", "gt"],  # either side of the value: the key is there, and differs
    ">": ["gt"],
    ">=": ["gte"],
    "<": ["lt"],
    "<=": ["lte"],
    "in": ["in"],
}
SQL = {
    "=": "= %s",
    "!=": "<> %s",
    ">": "> %s",
    ">=": ">= %s",
    "<": "< %s",
    "<=": "<= %s",
    "in": "= ANY(%s)",
}
ORDERING = {">", ">=", "<", "<="}
EXACT_WHOLE = 2**53  # doubles hold every whole number up to here
# An operand this long may tie with the beginning that a slot keeps of a longer text.
MAY_TIE = SLOT_BEGINNING - 8


@dataclass(frozen=True, slots=True)
class MetadataFilter:
    """One comparison with a metadata key, such as ``frame_number > 987``.

    ``!=`` asks for inferences that carry the key with another value; those without
    the key do not match. Of ``json.*`` the key is a dotted path, its first part the
    metadata key; parts that are digits index arrays as well.
    """

    key: str
    type: str
    operator: str
    value: str

    def __post_init__(self) -> None:
        if self.type not in READERS:
            raise ValueError(f"{self.type!r} is not one of {', '.join(READERS)}.")
        if self.operator not in LOOKUPS:
            raise ValueError(f"{self.operator!r} is not one of {', '.join(LOOKUPS)}.")
        self.operand()  # an unreadable value fails here, not when the query runs

    def operand(self) -> object:
        read = READERS[self.type]
        if self.operator == "in":
            return [read(item) for item in read_list(self.value)]
        return read(self.value)

    def condition(self, model: RegisteredModel) -> Q:
        """Served by the index of the key's slot. A key nobody sent matches nothing."""
        operand, path = self.operand(), self.key.split(".")
        if self.type.startswith("json.") and any(p.isdigit() for p in path[1:]):
            # Arrays have no slots: the payload of what the other filters leave decides.
            return self._in_json(path, operand)
        place = place_of(model, self.key, KINDS[self.type])
        if place is None:
            return NOTHING
        if self.type in ("string", "json.string"):
            return self._text(place, path, operand)
        found = self._either(place, operand)
        if self.type == "json.int":
            found &= self._whole(place, path, operand)
        elif self.type == "int" and not place.slot and _beyond_doubles(operand):
            # A side row holds a double: near misses too, and the payload decides.
            found = place.compared("isnull", False) & recheck.given(
                "int", self.key, f"::bigint {SQL[self.operator]}", operand
            )
        return found

    def _either(self, place: Place, operand: object) -> Q:
        lookups = LOOKUPS[self.operator]
        return reduce(or_, [place.compared(lookup, operand) for lookup in lookups])

    def _text(self, place: Place, path: list[str], operand: object) -> Q:
        if self.operator == "in":
            return place.compared("in", [in_slot(each) for each in operand])
        if self.operator not in ORDERING or len(operand.encode()) < MAY_TIE:
            # Equal texts have equal slots, and others differ in their beginnings.
            return self._either(place, in_slot(operand))
        beginning = operand.encode()[:MAY_TIE].decode("utf-8", "ignore")
        comparison = SQL[self.operator]
        if self.type == "string":
            exact = recheck.given(
                "string", self.key, f' COLLATE "C" {comparison}', operand
            )
        else:
            exact = recheck.leaf_text(path, comparison, operand)
        tied = place.compared("startswith", beginning)
        side = "lt" if self.operator.startswith("<") else "gt"
        apart = place.compared(side, beginning) & ~tied
        return apart | (tied & exact)

    def _whole(self, place: Place, path: list[str], operand: object) -> Q:
        """That the number has no fraction, and beyond doubles that it is exactly so."""
        if _beyond_doubles(operand) or not place.slot:
            return recheck.leaf_number(path, True, SQL[self.operator], operand)
        return Q(**{place.slot: Floor(place.slot)})

    def _in_json(self, path: list[str], operand: object) -> Q:
        comparison = SQL[self.operator]
        if self.type == "json.string":
            return recheck.leaf_text(path, comparison, operand)
        whole = self.type == "json.int"
        return recheck.leaf_number(path, whole, comparison, operand)

    def __str__(self) -> str:
        return f"{self.key} {self.operator} {self.value}"


def _beyond_doubles(operand: object) -> bool:
    numbers = operand if isinstance(operand, list) else [operand]
    return any(abs(number) >= EXACT_WHOLE for number in numbers)
