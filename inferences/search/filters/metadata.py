"""Comparisons with the values of metadata keys: ``meta.``, and terms of single keys."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from django.db.models import F, Func, IntegerField, Q
from django.db.models.lookups import GreaterThanOrEqual, LessThan

from inferences.models import MetadataKind, RegisteredModel
from inferences.models.metadata_values import (
    REAL,
    SLOT_BEGINNING,
    in_slot,
    read_float,
    read_int,
    read_number,
    read_string,
)
from inferences.search.access_paths import AccessPath
from inferences.search.filters import recheck
from inferences.search.filters.kind import Kind, Parameter, Reading, Term
from inferences.search.filters.leaf import Filter, Leaf
from inferences.search.filters.numbers import (
    EVERY,
    Side,
    of_decimal_numbers,
    of_whole_numbers,
)
from inferences.search.filters.operands import read_list, write_list
from inferences.search.filters.scanning import SIGN, Scanner
from inferences.search.filters.value_tests import (
    IS_THERE,
    Comparisons,
    ValueTest,
    access_paths_of,
    condition_of,
)
from inferences.search.filters.words import quote, word
from inferences.search.zone_maps.tallies import Tally
from inferences.store.metadata_slots import SlotRef, place_of

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


# The string keys that have a term of their own.
TERMS_OF_KEYS = {
    "version": "model_version",
    "env": "environment",
    "request": "x_request_id",
}
STRING_KEYS = tuple(TERMS_OF_KEYS.values())
META = re.compile(r"meta\.")
KEY = re.compile(r'[^\s:"()\[\]=!<>,]+')
BARE_KEY = re.compile(r"[\w.-]+")
TYPE = re.compile(r":((?:json\.)?[a-z]+)")
OPERATOR_WORDS = re.compile(r"\s+(not\s+in|in|contains|startswith)(?![^\s\"\[])")
IN_TEXT = {"starts with": "startswith"}  # operators that a text query calls otherwise
# Every part before the value has a bounded length. Otherwise the match of a long run of
# blanks would take quadratic time.
COMPARISON = re.compile(
    r"(?P<key>.{1,1100}?)(?::(?P<type>(?:json\.)?[a-z]{1,20}))?\s{0,20}"
    r"(?P<operator>!=|>=|<=|=|>|<| in )\s*(?P<value>.*)",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class MetadataFilter(Leaf):
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
        value = write_list([str(each) for each in operand]) or ""
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
        if is_in_array(self.type, self.key.split(".")):
            # Array members have no slots: the payloads that other filters leave are read.
            return self._in_json()
        return condition_of(self.tests(model))

    def access_paths(self, model: RegisteredModel) -> list[AccessPath]:
        """Return the path by the index of the key's slot, or of its side rows."""
        if is_in_array(self.type, self.key.split(".")):
            return []
        return access_paths_of(model, self.tests(model))

    def tally(self, model: RegisteredModel) -> Tally | None:
        """Return the tally of the key's slot, if one slot has all of the key's values."""
        if is_in_array(self.type, self.key.split(".")):
            return None
        tests = self.tests(model)
        return tests[0].tally() if len(tests) == 1 else None

    def tests(self, model: RegisteredModel) -> list[ValueTest]:
        """Return the tests of values of which one must hold."""
        if self.type == "number":
            return self._any_number(model)
        place = place_of(model, self.key, KINDS[self.type])
        if place is None:
            return []
        operand = self.operand()
        if self.is_text:
            return [self._text(place, operand)]
        return [self._number(place, operand)]

    def _any_number(self, model: RegisteredModel) -> list[ValueTest]:
        """Return a test of each number type by its own index.

        Other types are compared only if the key has no numbers.
        """
        sides = {"int": of_whole_numbers, "float": of_decimal_numbers}
        places = {type_: place_of(model, self.key, KINDS[type_]) for type_ in sides}
        if any(places.values()):
            return [
                test
                for type_, place in places.items()
                if place is not None
                for test in self._side(place, type_, sides[type_])
            ]
        if place_of(model, self.key, MetadataKind.JSON_NUMBER):
            type_ = "json.float"
            if isinstance(self.operand(), int):
                type_ = "json.int" if self.operator in ("=", "in") else type_
            return replace(self, type=type_).tests(model)
        if self.operator in OF_EQUALITY:
            return replace(self, type="string").tests(model)
        return []

    def _side(
        self, place: SlotRef, type_: str, read: Callable[[str, str], Side]
    ) -> list[ValueTest]:
        side = read(self.operator, self.value)
        if isinstance(side, str):
            return [ValueTest(place, IS_THERE)] if side == EVERY else []
        operator, value = side
        one = MetadataFilter(self.key, type_, operator, value)
        return [one._number(place, one.operand())]

    def _number(self, place: SlotRef, operand: Any) -> ValueTest:
        # What equals a whole number is one.
        whole = self.type == "json.int" and self.operator not in ("=", "in")
        # A JSON number or a side row is a double. Where doubles are coarser than whole
        # numbers, the index also lets neighbours in, and the payload decides.
        rounded = self.type == "json.int" or (self.type == "int" and not place.slot)
        if not (rounded and _beyond_doubles(operand)):
            return self._compared(place, operand, whole=whole)
        near = IS_THERE
        if self.operator in ROUNDED:
            near = (((LOOKUPS[ROUNDED[self.operator]][0], operand),),)
        if self.type == "json.int":
            return ValueTest(place, near, self._in_json())
        comparison = f"::bigint {SQL[self.operator]}"
        exactly = recheck.exact_value_condition("int", self.key, comparison, operand)
        return ValueTest(place, near, exactly)

    def _compared(
        self, place: SlotRef, operand: Any, *, whole: bool = False
    ) -> ValueTest:
        if self.operator == "not in":
            return ValueTest(place, IS_THERE, ~place.compared("in", operand), whole)
        lookups = LOOKUPS[self.operator]
        return ValueTest(
            place, (tuple((each, operand) for each in lookups),), whole=whole
        )

    def _text(self, place: SlotRef, operand: Any) -> ValueTest:
        if self.operator == "contains":
            # A slot ends a cut text with a hash, which "contains" must not match.
            in_slots = place.holds(
                lambda column: (
                    Q(**{f"{column}__contains": operand}) & _bytes(column, "<")
                )
            )
            is_cut = place.holds(lambda column: _bytes(column, ">="))
            exactly = in_slots | (is_cut & self._compare_as_given(operand))
            near = () if place.slot else IS_THERE
            return ValueTest(place, near, exactly, is_implied=True)
        if self.operator in OF_LISTS:
            return self._compared(place, [in_slot(each) for each in operand])
        is_short = len(operand.encode()) < MAY_TIE
        beginning = operand.encode()[:MAY_TIE].decode("utf-8", "ignore")
        if self.operator == "starts with":
            exactly = Q() if is_short else self._compare_as_given(operand)
            return ValueTest(place, _beginning(beginning), exactly)
        if self.operator in ("=", "!=") or is_short:
            # Equal texts have equal slots. Others have different beginnings or hashes.
            return self._compared(place, in_slot(operand))
        tied = ValueTest(place, _beginning(beginning)).condition()
        side = "lt" if self.operator.startswith("<") else "gt"
        near = (((side, beginning), ("startswith", beginning)),)
        return ValueTest(place, near, ~tied | self._compare_as_given(operand))

    def _compare_as_given(self, operand: Any) -> Q:
        """Return the comparison with the text as it was given."""
        if self.type == "json.string":
            return self._in_json()
        comparison, value = self._sql(operand)
        return recheck.exact_value_condition(
            "string", self.key, f' COLLATE "C" {comparison}', value
        )

    def _in_json(self) -> Q:
        """Return the comparison with the JSON as it was given."""
        return recheck.leaf(self.key.split("."), self.type, *self._sql(self.operand()))

    def _sql(self, operand: Any) -> tuple[str, Any]:
        if self.operator == "contains":
            return "LIKE %s", f"%{_escape(operand)}%"
        if self.operator == "starts with":
            return "LIKE %s", f"{_escape(operand)}%"
        return SQL[self.operator], operand

    def __str__(self) -> str:
        return f"{self.key} {self.operator} {self.value}"

    def terms(self) -> Iterator[str]:
        if self.key in STRING_KEYS and (self.type, self.operator) == ("string", "="):
            term = {key: term for term, key in TERMS_OF_KEYS.items()}[self.key]
            yield f"{term}:{word(self.value)}"
            return
        operand, is_list = self.operand(), self.operator in OF_LISTS
        values = self.literals
        if self.type != "number":
            write = quote if self.is_text else str
            values = [write(value) for value in (operand if is_list else [operand])]
        value = f"[{', '.join(values)}]" if is_list else values[0]
        # The parser infers these: a bare number is of any type, a quoted text a string.
        type_ = "" if self.type in ("number", "string") else f":{self.type}"
        sign = IN_TEXT.get(self.operator, self.operator)
        sign = f" {sign} " if sign[0].isalpha() else sign
        yield f"meta.{write_key(self.key)}{type_}{sign}{value}"

    def parameters(self) -> dict[str, list[str]]:
        if self.operator not in LOOKUPS:
            return {}
        sign = " in " if self.operator == "in" else self.operator
        stated = "" if self.type == "number" else f":{self.type}"
        return {"metadata": [f"{self.key}{stated}{sign}{self.value}"]}


def _plain_number(text: str) -> str:
    text = text.strip()
    return text if PLAIN_NUMBER.fullmatch(text) else str(read_number(text))


def is_in_array(type_: str, path: list[str]) -> bool:
    """Return whether a JSON path may lead through an array, whose members have no slots."""
    is_json = type_.startswith("json.")
    return is_json and any(recheck.INDEX.fullmatch(step) for step in path[1:])


def _beginning(beginning: str) -> Comparisons:
    """Return the test that a text starts so: a range of the slot's index, in code point order."""
    starts: Comparisons = ((("startswith", beginning),),)
    return (*starts, (("gte", beginning),)) if beginning else starts


def _bytes(column: str, sign: str) -> Q:
    """Compare the length of a slot with the least that a text that was cut has."""
    length = Func(F(column), function="octet_length", output_field=IntegerField())
    lookup = LessThan if sign == "<" else GreaterThanOrEqual
    return Q(lookup(length, CUT_BYTES))


def _escape(text: str) -> str:
    return re.sub(r"([\\%_])", r"\\\1", text)


def _beyond_doubles(operand: Any) -> bool:
    numbers = operand if isinstance(operand, list) else [operand]
    return any(abs(number) >= recheck.EXACT_WHOLE for number in numbers)


def read_key(scanner: Scanner) -> str:
    """Read a key, bare or in quotation marks. Raises ``TextQueryError``."""
    if scanner.text.startswith('"', scanner.position):
        return scanner.value()[0]
    found = scanner.take(KEY)
    if not found:
        raise scanner.error("A key is missing here.")
    return found[0]


def read_type(scanner: Scanner) -> str | None:
    """Read the type behind a key, if one is stated."""
    found = scanner.take(TYPE)
    return found[1] if found else None


def write_key(key: str) -> str:
    """Return the key bare, or quoted where it would read as something else."""
    bare = BARE_KEY.fullmatch(key) and not key.startswith("meta.")
    return key if bare else quote(key)


def _comparison(reading: Reading) -> Filter:
    scanner = reading.scanner
    key, type_at = read_key(scanner), scanner.position
    type_ = read_type(scanner)
    if type_ is not None and type_ not in READERS:
        types = ", ".join(STATED_TYPES)
        raise scanner.error(f"The types are {types}.", type_at + 1)
    found = scanner.take(SIGN) or scanner.take(OPERATOR_WORDS)
    if not found:
        raise scanner.error("A comparison is missing here, such as =, < or in.")
    operator = " ".join(found[1].split())
    scanner.skip_blanks()
    value_at = scanner.position
    values = scanner.values() if operator in OF_LISTS else [scanner.value()]
    operand = values[0][0]
    if operator in OF_LISTS:
        operand = write_list([value for value, _ in values]) or ""
        if operand == "[]":  # one empty text, which a list cannot hold
            operator, operand = {"in": "=", "not in": "!="}[operator], ""
    operator = {word: name for name, word in IN_TEXT.items()}.get(operator, operator)
    type_ = type_ or ("string" if operator in OF_TEXT else _inferred(values))
    try:
        return MetadataFilter(key, type_, operator, operand).plain()
    except ValueError as error:
        raise scanner.error(str(error), value_at) from None


def _inferred(values: list[tuple[str, bool]]) -> str:
    """Return "number" if all values are unquoted numbers, else "string"."""
    are_numbers = all(not quoted and REAL.fullmatch(text) for text, quoted in values)
    return "number" if are_numbers else "string"


def _of_key(term: str, key: str) -> Term:
    def read(reading: Reading) -> Filter:
        return MetadataFilter(key, "string", "=", reading.scanner.value()[0])

    return Term(f"{term}:", read)


def comparison_of_url(text: str) -> tuple[str, str, str, str] | None:
    """Return key, type, operator and value of a comparison in a URL, such as ``frame:int>10``.

    Without a type, a value that parses as a number is a number of any type; everything else
    is a string. None is for a text of another form.
    """
    found = COMPARISON.fullmatch(text)
    if not found:
        return None
    key, type_ = found["key"].strip(), found["type"]
    if type_ and type_ not in READERS:
        key, type_ = f"{key}:{type_}", None  # a colon of the key's own
    operator, value = found["operator"].strip(), found["value"]
    return key, type_ or inferred_type(operator, value), operator, value


def inferred_type(operator: str, value: str) -> str:
    """Return the type of a comparison in a URL that states none: "number" or "string"."""
    try:
        values = read_list(value) if operator == "in" else [value]
    except ValueError:
        return "string"
    are_numbers = all(REAL.fullmatch(each.strip()) for each in values)
    return "number" if are_numbers else "string"


def _of_url(text: str) -> MetadataFilter:
    parts = comparison_of_url(text)
    if parts is None:
        raise ValueError(f"{text!r} is not like camera=north or frame:int>10.")
    try:
        return MetadataFilter(*parts)
    except ValueError as error:
        raise ValueError(f"{text}: {error}") from None


KIND = Kind(
    terms=(
        Term("meta.", _comparison, known="keys"),
        *(_of_key(term, key) for term, key in TERMS_OF_KEYS.items()),
    ),
    parameters=(Parameter("metadata", "Metadata", read=_of_url, is_repeatable=True),),
    build=lambda given: {"metadata": tuple(given["metadata"])},
)
