"""Parse text queries into filters, by recursive descent."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from inferences.models import InferenceAction
from inferences.models.metadata_values import REAL, UNSTORABLE, read_float
from inferences.search.filters.classes import ClassFilter
from inferences.search.filters.detections import DetectionFilter
from inferences.search.filters.existence import (
    HasInput,
    HasKey,
    HasWarnings,
    IsNotUnderstood,
    IsProtected,
    NoDetections,
)
from inferences.search.filters.ground_truth import STATES, TruthFilter
from inferences.search.filters.in_dataset import InDataset
from inferences.search.filters.intersection import Filter, InferenceFilter
from inferences.search.filters.location import GeoPoint, GeoRectangle, LocationFilter
from inferences.search.filters.metadata import (
    OF_TEXT,
    READERS,
    STATED_TYPES,
    MetadataFilter,
)
from inferences.search.filters.operands import write_list
from inferences.search.filters.time_window import TimeWindow
from inferences.search.filters.tree import And, Not, Or, normal
from inferences.search.text.scanning import Scanner, TextQueryError
from inferences.search.text.words import TERMS_OF_KEYS, circle_in, moment_in

QUERY_MAX_CHARS = 100_000
PARENTHESES_MAX = 50

# A keyword ends at a blank, a parenthesis or the end of the text: ORDER is not an OR.
OR = re.compile(r"OR(?![^\s()])")
AND = re.compile(r"AND(?![^\s()])")
NOT = re.compile(r"NOT(?![^\s()])|-")
NAME = re.compile(r"[^\W\d]\w*(?=:)")
META = re.compile(r"meta\.")
SCORE = re.compile(r"score(?=\s*[!<>=])")
PROBABILITY = re.compile(r"prob(?=\s*[!<>=])")
KEY = re.compile(r'[^\s:"()\[\]=!<>,]+')
TYPE = re.compile(r":((?:json\.)?[a-z]+)")
SIGN = re.compile(r"\s*(!=|<=|>=|=|<|>)")
WORDS = re.compile(r"\s+(not\s+in|in|contains|startswith)(?![^\s\"\[])")
BRACKETED = re.compile(r"\s*\(([^()]*)\)")
SCORES = {
    ">=": "minimum_score",
    "<=": "maximum_score",
    ">": "above_score",
    "<": "below_score",
}
ACTIONS = dict(zip(InferenceAction.labels, InferenceAction, strict=True))
IN_WORDS = {"startswith": "starts with"}


def parse(text: str) -> Filter:
    """Return the filter of a text query, in its normal form. Raises ``TextQueryError``."""
    if found := UNSTORABLE.search(text):
        raise TextQueryError("A NUL or half a surrogate pair.", found.start() + 1)
    if len(text) > QUERY_MAX_CHARS:
        raise TextQueryError("The query is too long.", QUERY_MAX_CHARS + 1)
    return _Parser(Scanner(text)).whole()


class _Group:
    """The terms of one AND.

    Terms about one detection, one class or one window are joined to a single filter.
    """

    def __init__(self) -> None:
        self.parts: list[Filter | dict[str, Any]] = []
        self.detection: dict[str, Any] | None = None
        self.class_: dict[str, Any] | None = None  # the last one; prob terms bound it
        self.window: dict[str, Any] | None = None

    def add_detection(self, at: int, **test: Any) -> None:
        """Add a test to the group's one filter on a detection."""
        self.detection = self._shared(self.detection, at)
        _narrow(self.detection, test)

    def add_class(self, at: int, label: str) -> None:
        """Add a class; the probabilities that follow bound it."""
        self.class_ = {"at": at, "label": label}
        self.parts.append(self.class_)

    def bound_class(self, at: int, **test: float) -> None:
        """Add a bound to the last class."""
        assert self.class_ is not None  # ``prob`` asks for a class before it
        self.class_["at"] = at
        _narrow(self.class_, test)

    def add_window(self, at: int, **bound: Any) -> None:
        """Add a bound to the group's one time window."""
        self.window = self._shared(self.window, at)
        self.window |= bound

    def _shared(self, known: dict[str, Any] | None, at: int) -> dict[str, Any]:
        if known is None:
            known = {"at": at}
            self.parts.append(known)
        known["at"] = at
        return known

    def made(self, scanner: Scanner) -> list[Filter]:
        """Return the filters of the group. Raises ``TextQueryError`` if one is not valid."""
        return [
            part if not isinstance(part, dict) else self._built(scanner, part)
            for part in self.parts
        ]

    def _built(self, scanner: Scanner, given: dict[str, Any]) -> Filter:
        at = given.pop("at")
        kind: type[Filter] = DetectionFilter
        if "label" in given:
            kind = ClassFilter
        elif given is self.window:
            kind = TimeWindow
        try:
            return kind(**given)
        except ValueError as error:
            raise scanner.error(str(error), at) from None


def _narrow(known: dict[str, Any], test: dict[str, Any]) -> None:
    """Add tests to a filter's fields; of two bounds of a kind keep the narrower."""
    for name, value in test.items():
        if name in known:
            narrower = max if name in ("minimum_score", "above_score") else min
            value = narrower(value, known[name])
        known[name] = value


class _Parser:
    """The recursive descent: each method parses one rule of the grammar in ``text``."""

    def __init__(self, scanner: Scanner) -> None:
        self.scanner = scanner
        self.opened = 0

    def whole(self) -> Filter:
        """Parse a whole text; an empty one matches everything."""
        self.scanner.skip_blanks()
        if self.scanner.at_end:
            return And(())
        found = self.query()
        if not self.scanner.at_end:
            raise self.scanner.error("A parenthesis that was never opened.")
        return found

    def query(self) -> Filter:
        """Parse groups joined by OR."""
        start = self.scanner.position
        groups = [self.group()]
        while self.scanner.take(OR):
            groups.append(self.group())
        return self._made(Or, groups, start)

    def group(self) -> Filter:
        """Parse factors up to an OR, a closing parenthesis or the end."""
        self.scanner.skip_blanks()
        start, group = self.scanner.position, _Group()
        while True:
            self.factor(group)
            self.scanner.skip_blanks()
            if self.scanner.take(AND):
                continue
            if self.scanner.at_end or self.scanner.sees(OR) or self._sees_closing():
                return self._made(And, group.made(self.scanner), start)

    def _sees_closing(self) -> bool:
        return self.scanner.text.startswith(")", self.scanner.position)

    def _made(self, kind: type[And] | type[Or], parts: list[Filter], at: int) -> Filter:
        try:
            return normal(kind(tuple(parts)))
        except ValueError as error:
            raise self.scanner.error(str(error), at) from None

    def factor(self, group: _Group) -> None:
        """Parse a term or a parenthesised query, with its negations, and add it to the group."""
        scanner = self.scanner
        scanner.skip_blanks()
        start, negated = scanner.position, False
        while scanner.take(NOT):
            negated = not negated
            scanner.skip_blanks()
        inner = _Group() if scanner.position > start else group
        at = scanner.position
        if scanner.takes("("):
            inner.parts.append(self._parenthesised(at))
        else:
            self._term(inner, at)
        if inner is not group:
            found = self._made(And, inner.made(scanner), at)
            group.parts.append(normal(Not(found)) if negated else found)

    def _parenthesised(self, at: int) -> Filter:
        self.opened += 1
        if self.opened > PARENTHESES_MAX:
            raise self.scanner.error("Too many parentheses within one another.", at)
        found = self.query()
        if not self.scanner.takes(")"):
            raise self.scanner.error("A parenthesis is never closed.", at)
        self.opened -= 1
        return found

    def _term(self, group: _Group, at: int) -> None:
        scanner = self.scanner
        if scanner.takes("*"):
            group.parts.append(And(()))
        elif scanner.take(META):
            group.parts.append(self._comparison(at))
        elif scanner.take(SCORE):
            group.add_detection(at, **self._bounds("score", at))
        elif scanner.take(PROBABILITY):
            if group.class_ is None:
                message = "A probability is that of a class: class:truck prob>=0.2."
                raise scanner.error(message, at)
            group.bound_class(at, **self._bounds("probability", at))
        elif name := scanner.take(NAME):
            scanner.expect(":")
            self._named(group, name[0], at)
        elif scanner.at_end or self._sees_closing() or scanner.sees(OR):
            raise scanner.error("A term is missing here.")
        else:
            message = 'This is not a term such as label:car or meta.camera="north".'
            raise scanner.error(message)

    def _named(self, group: _Group, name: str, at: int) -> None:
        read = TERMS.get(name)
        if read is None:
            known = ", ".join(f"{term}:" for term in TERMS)
            message = f"There is no {name}: but {known}, score, prob and meta.<key>."
            raise self.scanner.error(message, at)
        value_at = self.scanner.position
        try:
            found = read(self, group)
        except TextQueryError:
            raise
        except ValueError as error:
            raise self.scanner.error(str(error), value_at) from None
        if found is not None:
            group.parts.append(found)

    def _key(self) -> str:
        if self.scanner.text.startswith('"', self.scanner.position):
            return self.scanner.value()[0]
        found = self.scanner.take(KEY)
        if not found:
            raise self.scanner.error("A key is missing here.")
        return found[0]

    def _type(self) -> tuple[str | None, int]:
        """Return the type that follows the key, if any, and its position."""
        at = self.scanner.position
        found = self.scanner.take(TYPE)
        return (found[1] if found else None), at

    def _comparison(self, at: int) -> Filter:
        """Parse a metadata comparison, after ``meta.``."""
        scanner = self.scanner
        key = self._key()
        type_, type_at = self._type()
        if type_ is not None and type_ not in READERS:
            types = ", ".join(STATED_TYPES)
            raise scanner.error(f"The types are {types}.", type_at + 1)
        found = scanner.take(SIGN) or scanner.take(WORDS)
        if not found:
            raise scanner.error("A comparison is missing here, such as =, < or in.")
        operator = " ".join(found[1].split())
        scanner.skip_blanks()
        value_at = scanner.position
        if operator in ("in", "not in"):
            values = scanner.values()
            inferred = _infer(values)
            operand = write_list([value for value, _ in values]) or ""
            if operand == "[]":  # one empty text, which a list cannot hold
                operator, operand = {"in": "=", "not in": "!="}[operator], ""
        else:
            operand, was_quoted = scanner.value()
            inferred = _infer([(operand, was_quoted)])
        operator = IN_WORDS.get(operator, operator)
        type_ = type_ or ("string" if operator in OF_TEXT else inferred)
        try:
            return MetadataFilter(key, type_, operator, operand).plain()
        except ValueError as error:
            raise scanner.error(str(error), value_at) from None

    def _bounds(self, what: str, at: int) -> dict[str, float]:
        """Parse the comparison of a score or probability into fields of the filter."""
        scanner = self.scanner
        found = scanner.take(SIGN)
        assert found is not None  # the name is followed by a sign
        sign = found[1]
        if sign == "!=":
            raise scanner.error(f"A {what} is compared by =, <, <=, > or >=.", at)
        scanner.skip_blanks()
        value_at = scanner.position
        try:
            bound = read_float(scanner.value()[0])
        except TextQueryError:
            raise
        except ValueError as error:
            raise scanner.error(str(error), value_at) from None
        names = ("minimum_score", "maximum_score") if sign == "=" else (SCORES[sign],)
        return dict.fromkeys(names, bound)

    # One method for each term reads the value after the colon. ``_named`` turns its
    # ValueError into a TextQueryError at the column of the value.

    def label(self, group: _Group) -> None:
        at = self.scanner.position
        if self.scanner.takes("["):
            self.scanner.position = at
            labels = tuple(value for value, _ in self.scanner.values())
        else:
            labels = (self.scanner.value()[0],)
        if group.detection and "labels" in group.detection:
            message = (
                "A label stands here already. Either of two is label:[a, b]; both, each "
                "of its own detection, is (label:a) (label:b)."
            )
            raise self.scanner.error(message, at)
        group.add_detection(at, labels=labels)

    def class_(self, group: _Group) -> None:
        at = self.scanner.position
        group.add_class(at, self.scanner.value()[0])

    def since(self, group: _Group) -> None:
        self._moment(group, "start")

    def until(self, group: _Group) -> None:
        self._moment(group, "end")

    def _moment(self, group: _Group, name: str) -> None:
        """Parse a time into a bound of the group's window; a second bound of a kind is an error."""
        at = self.scanner.position
        moment = moment_in(self.scanner.value()[0], end_of_day=name == "end")
        if group.window and name in group.window:
            word = {"start": "since", "end": "until"}[name]
            raise self.scanner.error(f"{word}: stands twice.", at)
        group.add_window(at, **{name: moment})

    def source(self, group: _Group) -> Filter:
        return InferenceFilter(data_source=self.scanner.value()[0])

    def action(self, group: _Group) -> Filter:
        action = ACTIONS.get(self.scanner.value()[0])
        if action is None:
            raise ValueError(f"The actions are {', '.join(ACTIONS)}.")
        return InferenceFilter(inference_action=action)

    def hash(self, group: _Group) -> Filter:
        digest = self.scanner.value()[0]
        if not re.fullmatch("[0-9a-fA-F]{64}", digest):
            raise ValueError("A SHA-256 has 64 hexadecimal digits.")
        return InferenceFilter(data_hash=bytes.fromhex(digest))

    def near(self, group: _Group) -> Filter:
        return LocationFilter(circle_in(self._bracketed()))

    def within(self, group: _Group) -> Filter:
        degrees = [read_float(part) for part in self._bracketed().split(",")]
        if len(degrees) != 4:
            raise ValueError("Two corners, such as within:(51.9,4.1,52.0,4.2).")
        p1, p2 = GeoPoint(*degrees[:2]), GeoPoint(*degrees[2:])
        return LocationFilter(None, GeoRectangle(p1, p2))

    def _bracketed(self) -> str:
        found = self.scanner.take(BRACKETED)
        if not found:
            raise self.scanner.error("Numbers in parentheses are missing here.")
        return found[1]

    def has(self, group: _Group) -> Filter:
        scanner = self.scanner
        scanner.skip_blanks()
        is_named = scanner.text.startswith('"', scanner.position)
        is_named = is_named or bool(scanner.take(META))
        key = self._key()
        type_, _ = self._type()
        if not (is_named or type_) and key in PRESENT:
            return PRESENT[key]
        return HasKey(key, type_)

    def no(self, group: _Group) -> Filter:
        found = ABSENT.get(self.scanner.value()[0])
        if found is None:
            raise ValueError(
                f"It is one of {', '.join(f'no:{each}' for each in ABSENT)}."
            )
        return found

    def is_(self, group: _Group) -> Filter:
        found = STATES_OF_RECORDS.get(self.scanner.value()[0])
        if found is None:
            names = " or ".join(f"is:{state}" for state in STATES_OF_RECORDS)
            raise ValueError(f"It is {names}.")
        return found

    def truth(self, group: _Group) -> Filter:
        state = self.scanner.value()[0]
        if state not in STATES:
            raise ValueError(f"It is one of {', '.join(STATES)}.")
        return TruthFilter(state)

    def dataset(self, group: _Group) -> Filter:
        return InDataset(self.scanner.value()[0])

    def version(self, group: _Group) -> Filter:
        return self._of_key("version")

    def env(self, group: _Group) -> Filter:
        return self._of_key("env")

    def conversation(self, group: _Group) -> Filter:
        return self._of_key("conversation")

    def _of_key(self, term: str) -> Filter:
        value = self.scanner.value()[0]
        return MetadataFilter(TERMS_OF_KEYS[term], "string", "=", value)


PRESENT: dict[str, Filter] = {
    "input": HasInput(),
    "detections": DetectionFilter(),
    "dataset": InDataset(),
    "warnings": HasWarnings(),
}
STATES_OF_RECORDS: dict[str, Filter] = {
    "protected": IsProtected(),
    "not-understood": IsNotUnderstood(),
}
ABSENT: dict[str, Filter] = {
    "detections": NoDetections(),
    "input": Not(HasInput()),
    "dataset": Not(InDataset()),
    "warnings": Not(HasWarnings()),
}
TERMS: dict[str, Callable[[_Parser, _Group], Filter | None]] = {
    "label": _Parser.label,
    "class": _Parser.class_,
    "source": _Parser.source,
    "action": _Parser.action,
    "hash": _Parser.hash,
    "since": _Parser.since,
    "until": _Parser.until,
    "near": _Parser.near,
    "within": _Parser.within,
    "has": _Parser.has,
    "no": _Parser.no,
    "is": _Parser.is_,
    "truth": _Parser.truth,
    "dataset": _Parser.dataset,
    "version": _Parser.version,
    "env": _Parser.env,
    "conversation": _Parser.conversation,
}


def _infer(values: list[tuple[str, bool]]) -> str:
    """Return "number" if all values are unquoted numbers, else "string"."""
    bare = [text for text, was_quoted in values if not was_quoted]
    are_numbers = all(REAL.fullmatch(text) for text in bare)
    return "number" if len(bare) == len(values) and are_numbers else "string"
