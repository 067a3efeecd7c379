"""The filter on the class distribution of an answer: ``class:`` and ``prob``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django.db.models import BooleanField, Q
from django.db.models.expressions import RawSQL

from inferences.models import RegisteredModel
from inferences.models.metadata_values import in_slot
from inferences.real_numbers import as_real
from inferences.search.access_paths import (
    CLASSES,
    DETECTIONS,
    NO_ROWS,
    TABLE,
    AccessPath,
    IndexScan,
    Sql,
)
from inferences.search.filters.detections import SHOWN, Bounded, read_bounds
from inferences.search.filters.kind import Kind, Reading, Term
from inferences.search.filters.words import number, word
from inferences.store import metadata_slots
from inferences.store.metadata_slots import NOTHING


@dataclass(frozen=True, slots=True)
class ClassFilter(Bounded):
    """The distribution of the answer has the class, with a probability within the bounds.

    It applies to models whose answer is one class; for other models nothing matches. Bounds
    work as those of ``DetectionFilter``; a class without a probability passes when none is
    given.
    """

    label: str
    minimum_score: float | None = None
    maximum_score: float | None = None
    above_score: float | None = None
    below_score: float | None = None

    def __post_init__(self) -> None:
        if not self.label:
            raise ValueError("A class has a name.")
        self.check_bounds("A bound of a probability is a finite number.")

    def plain(self) -> ClassFilter:
        """Return the same filter with bounds as floats."""
        return ClassFilter(
            self.label, **{name: float(bound) for name, _, bound in self.bounds()}
        )

    def condition(self, model: RegisteredModel) -> Q:
        """Return a test on the row's arrays; the index class_by_probability drives a page."""
        number = self._number(model)
        if number is None:
            return NOTHING
        classes, scores = f"{TABLE}.classes", f"{TABLE}.probabilities"
        if model.awaits_classes:  # some rows still hold a distribution as labels
            classes = f"coalesce({classes}, {TABLE}.labels)"
            scores = f"coalesce({scores}, {TABLE}.scores)"
        tests = self._tests("each")
        sql = (
            f"EXISTS (SELECT 1 FROM unnest({classes}, {scores}) AS each (label, score) "
            f"WHERE each.label = %s{tests.sql})"
        )
        values = [number, *tests.values]
        return Q(RawSQL(sql, values, output_field=BooleanField()))

    def access_paths(self, model: RegisteredModel) -> list[AccessPath]:
        """Return the path by class_by_probability, which has the score before the id.

        While some rows still hold a distribution as labels, the index of labels is a branch
        as well.
        """
        number = self._number(model)
        if number is None:
            return [NO_ROWS]
        branches = []
        for table in (CLASSES, DETECTIONS) if model.awaits_classes else (CLASSES,):
            tests = self._tests(table)
            where = f"{table}.model_key = %s AND {table}.label_id = %s{tests.sql}"
            values = (model.pk, number, *tests.values)
            branches.append(IndexScan(table, Sql(where, values)))
        return [AccessPath(tuple(branches), is_exact=not model.awaits_classes)]

    def _number(self, model: RegisteredModel) -> int | None:
        """Return the number of the label, or None if no answer can have the class."""
        if not model.answers_one_class:
            return None
        return metadata_slots.labels.number(model, in_slot(self.label))

    def _tests(self, table: str) -> Sql:
        """Return the bounds of the score as SQL to append to another test."""
        bounds = list(self.bounds())
        sql = "".join(f" AND {table}.score {sign} %s" for _, sign, _ in bounds)
        return Sql(sql, tuple(as_real(bound) for _, _, bound in bounds))

    def __str__(self) -> str:
        said = [f"class {self.label}"]
        said += [f"{SHOWN.get(s, s)} {bound:g}" for _, s, bound in self.bounds()]
        return " ".join(said)

    def terms(self) -> Iterator[str]:
        yield f"class:{word(self.label)}"
        for _, sign, bound in self.bounds():
            yield f"prob{sign}{number(bound)}"


def _class(reading: Reading) -> None:
    at = reading.scanner.position
    label = reading.scanner.value()[0]
    reading.group.begin(ClassFilter, at).fields["label"] = label


def _probability(reading: Reading) -> None:
    """Bound the class before it."""
    draft = reading.group.drafts.get(ClassFilter)
    if draft is None:
        message = "A probability is that of a class: class:truck prob>=0.2."
        raise reading.scanner.error(message, reading.at)
    draft.at = reading.at
    read_bounds(reading, draft, "probability")


KIND = Kind(
    terms=(
        Term("class:", _class, known="labels"),
        Term("prob", _probability, ("prob>=",)),
    ),
)
