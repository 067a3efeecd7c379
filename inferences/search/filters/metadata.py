"""Comparisons with the values of metadata keys."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import reduce
from operator import or_
from typing import Any

from django.db.models import F, Func, IntegerField, Q
from django.db.models.lookups import GreaterThanOrEqual, LessThan

from inferences.models import MetadataKind, RegisteredModel
from inferences.models.metadata_values import (
    SLOT_BEGINNING,
    in_slot,
    read_float,
    read_int,
    read_number,
    read_string,
)
from inferences.search.filters import recheck
from inferences.search.filters.numbers import (
    EVERY,
    NONE,
    Side,
    of_decimal_numbers,
    of_whole_numbers,
)
from inferences.search.filters.operands import read_list, write_list
from inferences.store.metadata_slots import NOTHING, SlotRef, place_of

READERS = {
    "string": read_string,
    "int": read_int,
    "float": read_float,
    "json.string": read_string,
    "json.int": read_int,
    "json.float": read_float,
    "number": read_number,
}
# The types of the API contract. "number", written without a type, compares ints and floats.
STATED_TYPES = tuple(type_ for type_ in READERS if type_ != "number")
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
    "!=": ["lt", "gt"],  # the key is there with another value: two ranges of the index
    ">": ["gt"],
    ">=": ["gte"],
    "<": ["lt"],
    "<=": ["lte"],
    "in": ["in"],
}
# More operators than the contract has, for trees and text queries.
OPERATORS = (*LOOKUPS, "not in", "contains", "starts with")
OF_TEXT = ("contains", "starts with")
OF_LISTS = ("in", "not in")
PLAIN_NUMBER = re.compile(r"-?[0-9]{1,19}(\.[0-9]{1,19})?")
OF_EQUALITY = ("=", "!=", "in", "not in")
SQL = {
    "=": "= %s",
    "!=": "<> %s",
    ">": "> %s",
    ">=": ">= %s",
    "<": "< %s",
    "<=": "<= %s",
    "in": "= ANY(%s)",
    "not in": "<> ALL(%s)",
}
# The comparison that rounded values pass whenever the exact values pass the first.
ROUNDED = {"=": "=", "in": "in", ">": ">=", ">=": ">=", "<": "<=", "<=": "<="}
CUT_BYTES = SLOT_BEGINNING - 3 + 64  # bytes of the shortest slot of a text that was cut
# An operand this long may equal the beginning that a slot keeps of a longer text.
MAY_TIE = SLOT_BEGINNING - 8


@dataclass(frozen=True, slots=True)
class MetadataFilter:
    """One comparison with a metadata key, such as ``frame_number > 987``.

    ``!=`` matches inferences that have the key with another value; those without the key do
    not match. For ``json.*`` types the key is a dotted path whose first part is the metadata
    key; parts that are digits index arrays as well. The type ``number`` is for a number that
    was written without a type. It is compared with the key's int and float values alike; if
    there are none, with numbers in JSON at that path, else with the text itself.
    """

    key: str
    type: str
    operator: str
    value: str

    def __post_init__(self) -> None:
        if self.type not in READERS:
            raise ValueError(f"{self.type!r} is not one of {', '.join(READERS)}.")
        if self.operator not in OPERATORS:
            raise ValueError(f"{self.operator!r} is not one of {', '.join(OPERATORS)}.")
        if self.operator in OF_TEXT and not self.is_text:
            raise ValueError(f"{self.operator!r} compares strings alone.")
        if not self.key:
            raise ValueError("A key has at least one character.")
        self.operand()  # a value that does not parse fails here, not when the query runs

    @property
    def is_text(self) -> bool:
        return self.type in ("string", "json.string")

    def operand(self) -> Any:
        """Return the value, or the list of values, parsed as the type. Raises ValueError."""
        read = READERS[self.type]
        if self.operator in OF_LISTS:
            return [read(item) for item in read_list(self.value)]
        return read(self.value)

    def plain(self) -> MetadataFilter:
        """Return the same comparison with its value in normal form, as numbers print."""
        operand, operator = self.operand(), self.operator
        if self.type == "number":
            return replace(self, value=self._plain_numbers())
        if operator not in OF_LISTS:
            return MetadataFilter(self.key, self.type, operator, str(operand))
        if operand == [""]:  # the only list that write_list cannot write
            operator = {"in": "=", "not in": "!="}[operator]
            return MetadataFilter(self.key, self.type, operator, "")
        value = write_list([str(each) for each in operand])
        return MetadataFilter(self.key, self.type, operator, value)

    def _plain_numbers(self) -> str:
        """Return the value with plain digits unchanged: they may be compared with a text."""
        if self.operator in OF_LISTS:
            return write_list([_plain_number(each) for each in self.literals]) or ""
        return _plain_number(self.value)

    @property
    def literals(self) -> list[str]:
        """Return the values as they are written: one, or those of a list."""
        if self.operator in OF_LISTS:
            return read_list(self.value)
        return [self.value]

    def condition(self, model: RegisteredModel) -> Q:
        """Return a test served by the index of the key's slot. An unknown key matches nothing."""
        if self.type == "number":
            return self._any_number(model)
        operand, path = self.operand(), self.key.split(".")
        if self.type.startswith("json.") and is_in_array(path):
            # Array members have no slots: the payloads that other filters leave are read.
            return self._in_json(path, operand)
        place = place_of(model, self.key, KINDS[self.type])
        if place is None:
            return NOTHING
        if self.is_text:
            return self._text(place, path, operand)
        return self._number(place, path, operand)

    def _any_number(self, model: RegisteredModel) -> Q:
        """Return a test of each number type by its own index.

        Other types are compared only if the key has no numbers.
        """
        sides = {"int": of_whole_numbers, "float": of_decimal_numbers}
        known = [type_ for type_ in sides if place_of(model, self.key, KINDS[type_])]
        if known:
            parts = (
                self._side(model, type_, sides[type_](self.operator, self.value))
                for type_ in known
            )
            return reduce(or_, (part for part in parts if part != NOTHING), NOTHING)
        if place_of(model, self.key, MetadataKind.JSON_NUMBER):
            type_ = "json.float"
            if isinstance(self.operand(), int):
                type_ = "json.int" if self.operator in ("=", "in") else type_
            return replace(self, type=type_).condition(model)
        if self.operator in OF_EQUALITY:
            return replace(self, type="string").condition(model)
        return NOTHING

    def _side(self, model: RegisteredModel, type_: str, side: Side) -> Q:
        if side == NONE:
            return NOTHING
        if side == EVERY:
            return place_of(model, self.key, KINDS[type_]).compared("isnull", False)
        operator, value = side
        return MetadataFilter(self.key, type_, operator, value).condition(model)

    def _number(self, place: SlotRef, path: list[str], operand: Any) -> Q:
        whole = self.type == "json.int"
        # A JSON number or a side row is a double. Where doubles are coarser than whole
        # numbers, the index also lets neighbours in, and the payload decides.
        rounded = whole or (self.type == "int" and not place.slot)
        if not (rounded and _beyond_doubles(operand)):
            return self._either(place, operand, whole=whole)
        if self.operator in ROUNDED:
            near = place.compared(LOOKUPS[ROUNDED[self.operator]][0], operand)
        else:
            near = place.compared("isnull", False)
        if whole:
            return near & self._in_json(path, operand)
        comparison = f"::bigint {SQL[self.operator]}"
        return near & recheck.exact_value_condition(
            "int", self.key, comparison, operand
        )

    def _either(self, place: SlotRef, operand: Any, *, whole: bool = False) -> Q:
        if self.operator == "not in":
            there = place.compared("isnull", False, whole=whole)
            return there & ~place.compared("in", operand)
        lookups = LOOKUPS[self.operator]
        return reduce(
            or_, [place.compared(each, operand, whole=whole) for each in lookups]
        )

    def _text(self, place: SlotRef, path: list[str], operand: Any) -> Q:
        if self.operator == "contains":
            # A slot ends a cut text with a hash, which "contains" must not match.
            return place.holds(
                lambda column: (
                    Q(**{f"{column}__contains": operand}) & _bytes(column, "<")
                )
            ) | (
                place.holds(lambda column: _bytes(column, ">="))
                & self._given(path, operand)
            )
        if self.operator in OF_LISTS:
            return self._either(place, [in_slot(each) for each in operand])
        if self.operator == "starts with" and len(operand.encode()) < MAY_TIE:
            return _beginning(place, operand)
        if self.operator in ("=", "!=") or len(operand.encode()) < MAY_TIE:
            # Equal texts have equal slots. Others have different beginnings or hashes.
            return self._either(place, in_slot(operand))
        beginning = operand.encode()[:MAY_TIE].decode("utf-8", "ignore")
        tied = _beginning(place, beginning)
        exactly = tied & self._given(path, operand)
        if self.operator == "starts with":
            return exactly
        side = "lt" if self.operator.startswith("<") else "gt"
        return place.compared(side, beginning) & ~tied | exactly

    def _given(self, path: list[str], operand: Any) -> Q:
        """Return the comparison with the text as it was given."""
        if self.type == "json.string":
            return self._in_json(path, operand)
        comparison, value = self._sql(operand)
        return recheck.exact_value_condition(
            "string", self.key, f' COLLATE "C" {comparison}', value
        )

    def _in_json(self, path: list[str], operand: Any) -> Q:
        return recheck.leaf(path, self.type, *self._sql(operand))

    def _sql(self, operand: Any) -> tuple[str, Any]:
        if self.operator == "contains":
            return "LIKE %s", f"%{_escape(operand)}%"
        if self.operator == "starts with":
            return "LIKE %s", f"{_escape(operand)}%"
        return SQL[self.operator], operand

    def __str__(self) -> str:
        return f"{self.key} {self.operator} {self.value}"


def _plain_number(text: str) -> str:
    text = text.strip()
    return text if PLAIN_NUMBER.fullmatch(text) else str(read_number(text))


def is_in_array(path: list[str]) -> bool:
    """Return whether the path may lead through an array, whose members have no slots."""
    return any(recheck.INDEX.fullmatch(step) for step in path[1:])


def _beginning(place: SlotRef, beginning: str) -> Q:
    """Return the test that a text starts so: a range of the slot's index, in code point order."""
    found = place.compared("startswith", beginning)
    return found & place.compared("gte", beginning) if beginning else found


def _bytes(column: str, sign: str) -> Q:
    """Compare the length of a slot with the least that a text that was cut has."""
    length = Func(F(column), function="octet_length", output_field=IntegerField())
    lookup = LessThan if sign == "<" else GreaterThanOrEqual
    return Q(lookup(length, CUT_BYTES))


def _escape(text: str) -> str:
    return re.sub(r"([\\%_])", r"\\\1", text)


def _beyond_doubles(operand: object) -> bool:
    numbers = operand if isinstance(operand, list) else [operand]
    return any(abs(number) >= recheck.EXACT_WHOLE for number in numbers)
