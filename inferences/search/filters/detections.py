"""The filter on the labels and scores of detections: ``label:`` and ``score``."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, ClassVar

from django.db.models import BooleanField, Q
from django.db.models.expressions import RawSQL

from inferences.models import RegisteredModel
from inferences.models.metadata_values import in_slot, read_float
from inferences.real_numbers import as_real
from inferences.search.access_paths import (
    NO_ROWS,
    AccessPath,
    path_by_column,
    path_by_labels,
)
from inferences.search.filters.kind import Draft, Kind, Parameter, Reading, Term
from inferences.search.filters.leaf import Leaf
from inferences.search.filters.scanning import SIGN, TextQueryError
from inferences.search.filters.words import number, word
from inferences.search.zone_maps.tallies import Tally, tally_of_labels, tally_of_score
from inferences.store import metadata_slots
from inferences.store.metadata_slots import NOTHING

BOUNDS = {
    "minimum_score": ">=",
    "maximum_score": "<=",
    "above_score": ">",
    "below_score": "<",
}
COMPARE = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
LOOKUPS = {">=": "gte", "<=": "lte", ">": "gt", "<": "lt"}
SHOWN = {">=": "≥", "<=": "≤"}
EACH = (
    "unnest(inferences_inference.labels, inferences_inference.scores) "
    "AS each (label, score)"
)
BEST = (  # the detection with the highest score, the first of equal ones
    "(SELECT label, score FROM unnest(inferences_inference.labels, "
    "inferences_inference.scores) WITH ORDINALITY AS found (label, score, number) "
    "ORDER BY score DESC NULLS LAST, number LIMIT 1) AS each"
)


class Bounded(Leaf):
    """A filter with bounds of a score; each is a field."""

    __slots__ = ()

    def bounds(self) -> Iterator[tuple[str, str, float]]:
        """Yield the bounds that are given: name, SQL comparison and value."""
        for name, sign in BOUNDS.items():
            if (bound := getattr(self, name)) is not None:
                yield name, sign, bound

    def check_bounds(self, wrong: str) -> None:
        """Raise ``ValueError`` if a bound is no finite number, or no score lies within them."""
        given = {name: bound for name, _, bound in self.bounds()}
        if not all(map(math.isfinite, given.values())):
            raise ValueError(wrong)
        low, high = given.get("minimum_score"), given.get("maximum_score")
        if low is not None and high is not None and low > high:
            raise ValueError("minimum_score is above maximum_score.")


@dataclass(frozen=True, slots=True)
class DetectionFilter(Bounded):
    """At least one detection has one of the labels and a score within all bounds.

    All tests must hold for the same detection. ``minimum_score`` and ``maximum_score`` are
    inclusive, ``above_score`` and ``below_score`` are exclusive. Without labels any label
    passes; a detection without a score passes when no bound is given.
    """

    is_joined: ClassVar[bool] = True

    labels: Sequence[str] | None = None
    minimum_score: float | None = None
    maximum_score: float | None = None
    above_score: float | None = None
    below_score: float | None = None

    def __post_init__(self) -> None:
        self.check_bounds("A score bound is a finite number.")
        if self.labels is not None and not self.labels:
            raise ValueError("labels names at least one label.")

    def plain(self) -> DetectionFilter:
        """Return the same filter with bounds as floats and labels as a tuple."""
        labels = None if self.labels is None else tuple(self.labels)
        return DetectionFilter(
            labels, **{name: float(bound) for name, _, bound in self.bounds()}
        )

    def holds(self, label: str, score: float | None) -> bool:
        """Return whether one detection passes, compared as the database does."""
        if self.labels is not None:
            name = in_slot(label.encode("utf-8", "replace").decode())
            if name not in {in_slot(each) for each in self.labels}:
                return False
        bounds = list(self.bounds())
        if score is None or not bounds:
            return not bounds
        held = as_real(score)
        return all(COMPARE[sign](held, as_real(bound)) for _, sign, bound in bounds)

    def condition(self, model: RegisteredModel) -> Q:
        """Return a test on the arrays of the row, which have no index.

        With an upper bound alone the rows are walked.
        """
        numbers, tests = self.label_numbers(model), self._tests()
        if numbers is not None and not numbers:
            return NOTHING
        if numbers is None and not tests:
            return Q(labels__len__gt=0)
        # No score is above top_score or below low_score: these columns decide first.
        found = _compare("top_score", ">", tests) & _compare("low_score", "<", tests)
        if numbers is not None:
            found &= Q(labels__overlap=numbers)
        if model.awaits_classes:  # some rows hold a distribution as labels
            return found & self._same_detection(numbers, tests, BEST)
        if not tests or self._is_said_by_row(numbers, tests):
            return found
        return found & self._same_detection(numbers, tests)

    def access_paths(self, model: RegisteredModel) -> list[AccessPath]:
        """Return the path by inference_by_score and the one by the index of the detections."""
        numbers, tests = self.label_numbers(model), self._tests()
        if numbers is not None and not numbers:
            return [NO_ROWS]
        paths: list[AccessPath] = []
        if above := _compare("top_score", ">", tests):
            says_all = self._is_said_by_row(numbers, tests) and not model.awaits_classes
            paths.append(path_by_column(model, "top_score", above, is_exact=says_all))
        if numbers is not None:
            paths.append(path_by_labels(model, numbers, is_exact=not tests))
        return paths

    def tally(self, model: RegisteredModel) -> Tally | None:
        """Return the tally of labels, or of one bound where a part of scores begins.

        Labels with bounds have none: both hold for the same detection.
        """
        numbers, tests = self.label_numbers(model), self._tests()
        if model.awaits_classes:
            return None
        if numbers is None:
            return tally_of_score(*tests[0]) if len(tests) == 1 else None
        return tally_of_labels(numbers) if numbers and not tests else None

    def _is_said_by_row(
        self, numbers: list[int] | None, tests: list[tuple[str, float]]
    ) -> bool:
        """Return whether the highest or the lowest score of a row decides."""
        return numbers is None and len({sign[0] for sign, _ in tests}) == 1

    def _tests(self) -> list[tuple[str, float]]:
        return [(sign, as_real(bound)) for _, sign, bound in self.bounds()]

    def _same_detection(
        self, numbers: list[int] | None, tests: list[tuple[str, float]], of: str = EACH
    ) -> Q:
        within = [f"each.score {sign} %s" for sign, _ in tests]
        values: list[object] = [bound for _, bound in tests]
        if numbers is not None:
            within.append("each.label = ANY(%s)")
            values.append(numbers)
        sql = f"EXISTS (SELECT 1 FROM {of} WHERE {' AND '.join(within)})"
        return Q(RawSQL(sql, values, output_field=BooleanField()))

    def label_numbers(self, model: RegisteredModel) -> list[int] | None:
        """Return the numbers of the labels the model knows, sorted, or None without labels."""
        if self.labels is None:
            return None
        known = (
            metadata_slots.labels.number(model, in_slot(name)) for name in self.labels
        )
        return sorted({number for number in known if number is not None})

    def __str__(self) -> str:
        parts = []
        if self.labels:
            parts.append(f"label {' or '.join(self.labels)}")
        for _, sign, bound in self.bounds():
            parts.append(f"score {SHOWN.get(sign, sign)} {bound:g}")
        return ", ".join(parts) or "any detection"

    def terms(self) -> Iterator[str]:
        labels = ", ".join(word(label) for label in self.labels or ())
        if self.labels:
            yield f"label:{labels}" if len(self.labels) == 1 else f"label:[{labels}]"
        for _, sign, bound in self.bounds():
            yield f"score{sign}{number(bound)}"

    def parameters(self) -> dict[str, list[str]]:
        """Return the labels and the bounds that are included; there are none for others."""
        if self.above_score is not None or self.below_score is not None:
            return {}
        given = {"label": list(self.labels)} if self.labels else {}
        for name, bound in (("min", self.minimum_score), ("max", self.maximum_score)):
            if bound is not None:
                given[f"{name}_score"] = [number(bound)]
        return given


def _compare(column: str, side: str, tests: list[tuple[str, float]]) -> Q:
    """Return the comparisons of the column with the bounds on one side, ``>`` or ``<``."""
    compared = [
        Q(**{f"{column}__{LOOKUPS[sign]}": bound})
        for sign, bound in tests
        if sign[0] == side
    ]
    return reduce(operator.and_, compared, Q())


def read_bounds(reading: Reading, draft: Draft, what: str) -> None:
    """Read the comparison of a score or probability into a draft, and keep the narrower bounds."""
    scanner = reading.scanner
    found = scanner.take(SIGN)
    if found is None or found[1] == "!=":
        message = f"A {what} is compared by =, <, <=, > or >=."
        raise scanner.error(message, reading.at)
    scanner.skip_blanks()
    value_at = scanner.position
    try:
        bound = read_float(scanner.value()[0])
    except TextQueryError:
        raise
    except ValueError as error:
        raise scanner.error(str(error), value_at) from None
    for name, sign in BOUNDS.items():
        if sign == found[1] or (found[1] == "=" and sign in (">=", "<=")):
            narrower = max if sign[0] == ">" else min
            draft.fields[name] = narrower(bound, draft.fields.get(name, bound))


def _label(reading: Reading) -> None:
    scanner = reading.scanner
    at = scanner.position
    if scanner.takes("["):
        scanner.position = at
        labels = tuple(value for value, _ in scanner.values())
    else:
        labels = (scanner.value()[0],)
    draft = reading.group.draft(DetectionFilter, at)
    if "labels" in draft.fields:
        message = (
            "A label stands here already. Either of two is label:[a, b]; both, each "
            "of its own detection, is (label:a) (label:b)."
        )
        raise scanner.error(message, at)
    draft.fields["labels"] = labels


def _score(reading: Reading) -> None:
    draft = reading.group.draft(DetectionFilter, reading.at)
    read_bounds(reading, draft, "score")


def _build(given: Mapping[str, Any]) -> dict[str, Any]:
    labels, low, high = given["label"], given["min_score"], given["max_score"]
    if not labels and low is None and high is None:
        return {}
    bounds = (None if bound is None else float(bound) for bound in (low, high))
    return {"detections": DetectionFilter(tuple(labels) or None, *bounds)}


@dataclass(frozen=True, slots=True)
class NoDetections(Leaf):
    """The model ran and found nothing; a row whose detections are not known does not match."""

    def condition(self, model: RegisteredModel) -> Q:
        """Return a test that no index serves: it walks the rows that other filters leave."""
        return Q(labels=[])

    def __str__(self) -> str:
        return "no detections"


KIND = Kind(
    terms=(
        Term("label:", _label, known="labels"),
        Term("score", _score, ("score>=", "score<")),
    ),
    words={"has:detections": DetectionFilter(), "no:detections": NoDetections()},
    parameters=(
        Parameter("label", "Label", is_repeatable=True, joined="detection"),
        Parameter(
            "min_score", "Score from", "score ≥", is_number=True, joined="detection"
        ),
        Parameter(
            "max_score", "Score to", "score ≤", is_number=True, joined="detection"
        ),
    ),
    build=_build,
)
