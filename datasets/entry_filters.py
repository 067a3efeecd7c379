"""Filters of the query language as conditions on entries, which are copies without slots.

``label:`` and ``score`` are about what the model said, ``truth.label:`` about the ground
truth, ``split:`` about the split in the version that is asked. No index serves these tests:
entries are read in order of their id until a page is full, within the statement timeout.
"""

from __future__ import annotations

from decimal import Decimal
from functools import reduce
from operator import and_, or_
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import BooleanField, Case, Exists, OuterRef, Q, Value, When
from django.db.models.expressions import RawSQL
from django.db.models.lookups import Exact

from datasets.models import Dataset, DatasetEntryQuerySet
from datasets.split_sql import split_expression
from datasets.splitting import Splitting
from inferences.search.filters import (
    And,
    DetectionFilter,
    Filter,
    HasInput,
    HasKey,
    InDataset,
    InferenceFilter,
    MetadataFilter,
    NoDetections,
    Not,
    Or,
    TimeWindow,
    TruthFilter,
    TruthLabelFilter,
)
from inferences.search.filters.ground_truth import LABELLED
from inferences.search.filters.tree import leaves_of

# The types that a value may have been given with, by the type of a comparison. JSON is not
# looked into.
TYPES = {
    "string": ["string"],
    "int": ["int"],
    "float": ["float"],
    "number": ["int", "float"],
}
SIGNS = {
    "=": "= %s",
    "!=": "<> %s",
    "<": "< %s",
    "<=": "<= %s",
    ">": "> %s",
    ">=": ">= %s",
    "in": "= ANY(%s)",
    "not in": "<> ALL(%s)",
}
EVERY, NONE = Q(), Q(pk__in=[])


class EntryFilter:
    """Turns filters into conditions on the entries of one version."""

    def __init__(self, dataset: Dataset, version: int) -> None:
        self._dataset = dataset
        self._splitting = dataset.splitting_of(version)

    def condition(self, filters: Filter) -> Q:
        """Return the condition. Raises ``ValidationError`` for what entries cannot be asked."""
        match filters:
            case And(parts):
                return reduce(and_, map(self.condition, parts), EVERY)
            case Or(parts):
                return reduce(or_, map(self.condition, parts), NONE)
            case Not(part):
                return _not(self.condition(part))
        leaves = leaves_of(filters)
        if leaves != [filters]:
            return reduce(and_, map(self.condition, leaves), EVERY)
        found = self._leaf(filters)
        if found is None:
            raise ValidationError(
                f"The entries of a dataset cannot be asked for: {filters}."
            )
        return found

    def _leaf(self, leaf: Filter) -> Q | None:
        match leaf:
            case InDataset():
                return self._dataset_test(leaf)
            case TimeWindow(start, end):
                found = Q(happened_at__gte=start)
                return found & Q(happened_at__lte=end) if end else found
            case DetectionFilter():
                return _detections(leaf)
            case NoDetections():
                return Q(answer_labels=[])
            case TruthFilter("given" | "missing" as state):
                return Q(truth__isnull=state == "missing")
            case TruthLabelFilter(label):
                forms: list[dict[str, Any]] = [{"labels": [label]}]
                forms += [{form: [{"label": label}]} for form in LABELLED]
                return reduce(or_, [Q(truth__contains=form) for form in forms])
            case HasKey(key, None):
                return Q(metadata__has_key=key)
            case HasInput():
                return Q(blob__isnull=False)
            case MetadataFilter(_, type_) if type_ in TYPES:
                return _metadata(leaf)
            case InferenceFilter():
                return _columns(leaf)
        return None

    def _dataset_test(self, leaf: InDataset) -> Q:
        """Whether the entry is in a split; or whether its inference is in another dataset."""
        if leaf.name is None or leaf.name == self._dataset.name:
            if leaf.split is None:
                return EVERY
            return Q(Exact(split_expression(self._splitting), leaf.split))
        others = Dataset.objects.live().filter(
            project=self._dataset.project_id, name=leaf.name
        )
        other = others.first()
        if other is None:
            return NONE
        # Served by dataset_entry_once.
        entries = other.entries.current().filter(
            model_id=OuterRef("model_id"), inference_id=OuterRef("inference_id")
        )
        if leaf.split is not None:
            splitting = Splitting.from_json(other.splitting)
            entries = entries.filter(Exact(split_expression(splitting), leaf.split))
        return Q(Exists(entries))


def _not(condition: Q) -> Q:
    """Return whether a condition does not hold, also where it is NULL."""
    holds = Case(When(condition, then=Value(True)), default=Value(False))
    return Q(Exact(holds, Value(False)))


def _columns(leaf: InferenceFilter) -> Q:
    columns = {
        "inference_action": leaf.inference_action,
        "data_hash": leaf.data_hash,
        "data_source": leaf.data_source,
    }
    return Q(**{name: value for name, value in columns.items() if value is not None})


def _detections(leaf: DetectionFilter) -> Q:
    bounds = list(leaf.bounds())
    if not bounds and leaf.labels is None:
        return Q(answer_labels__len__gt=0)
    if not bounds:
        return Q(answer_labels__overlap=list(leaf.labels or ()))
    tests = [f"one.score {sign} %s" for _, sign, _ in bounds]
    values: list[Any] = [bound for _, _, bound in bounds]
    if leaf.labels is not None:
        tests.append("one.label = ANY(%s)")
        values.append(list(leaf.labels))
    sql = (
        "EXISTS (SELECT 1 FROM unnest(answer_labels, answer_scores) "
        f"AS one (label, score) WHERE {' AND '.join(tests)})"
    )
    return Q(RawSQL(sql, values, output_field=BooleanField()))


def _metadata(leaf: MetadataFilter) -> Q:
    """Return a test of a value, which is kept as type and text."""
    text, values = "(metadata #>> %s)", [[leaf.key, "1"]]
    operand = _operand(leaf)
    match leaf.operator:
        case "contains":
            test, values = f"position(%s IN {text}) > 0", [operand, *values]
        case "starts with":
            test = f"starts_with({text}, %s)"
            values.append(operand)
        case operator:
            cast = 'COLLATE "C"' if leaf.is_text else "::numeric"
            test = f"{text} {cast} {SIGNS[operator]}"
            values.append(operand)
    # CASE, because AND does not say which side is read first, and not every text is a number.
    sql = f"CASE WHEN metadata #>> %s = ANY(%s) THEN {test} ELSE false END"
    given = [[leaf.key, "0"], TYPES[leaf.type], *values]
    return Q(RawSQL(sql, given, output_field=BooleanField()))


def _operand(leaf: MetadataFilter) -> Any:
    operand = leaf.operand()
    if leaf.is_text:
        return operand
    if isinstance(operand, list):
        return [Decimal(str(each)) for each in operand]
    return Decimal(str(operand))


def entries_matching(
    dataset: Dataset, version: int, filters: Filter
) -> DatasetEntryQuerySet:
    """Return the entries of a version that a filter asks for.

    Raises ``ValidationError`` for a part that entries cannot be asked for.
    """
    condition = EntryFilter(dataset, version).condition(filters)
    found: DatasetEntryQuerySet = dataset.entries_of(version).filter(condition)
    return found
