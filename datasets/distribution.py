"""Count how many entries of a version have each label, by split: of answers and ground truth.

An entry counts once for a label, however often the label occurs in it, so that each count is
that of the entries which the label finds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db import connection
from django.db.models import Count

from datasets.entry_filters import entries_matching
from datasets.models import Dataset, DatasetEntryQuerySet
from datasets.splitting import Splitting
from inferences.search.filters import Filter, InferenceFilter

LABELLED_FORMS = ["labels", "boxes", "polygons", "entities"]  # of ground truth
COUNTS_MAX = 20_000  # of pairs of label and split
WITHOUT_SPLIT = ""
Counts = dict[str, dict[str, int]]  # by label and split

# Only the first of equal labels of an entry counts; DISTINCT would sort those of each entry.
# OFFSET 0 keeps the split from being computed for each label of an entry.
COUNT = """
SELECT label, split, count(*) FROM ({rows} OFFSET 0) AS found,
  unnest({column}) WITH ORDINALITY AS each (label, place)
WHERE array_position({column}, label) = place
GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2 LIMIT %s
"""


@dataclass(frozen=True, slots=True)
class Distribution:
    """Entries by split, and by label and split; the empty name has those without a split."""

    entries: dict[str, int] = field(default_factory=dict)
    answers: Counts = field(default_factory=dict)
    truths: Counts = field(default_factory=dict)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Distribution:
        return cls(**stored)

    def to_json(self) -> dict[str, Any]:
        return {
            "entries": self.entries,
            "answers": self.answers,
            "truths": self.truths,
        }

    @property
    def labels(self) -> list[str]:
        """The labels of answers and ground truth, most frequent first."""
        totals: dict[str, int] = {}
        for counts in (self.answers, self.truths):
            for label, by_split in counts.items():
                totals[label] = totals.get(label, 0) + sum(by_split.values())
        return sorted(totals, key=lambda label: (-totals[label], label))


def distribution_of(
    dataset: Dataset, version: int, filters: Filter | None = None
) -> Distribution:
    """Return the distribution of the entries of a version that pass the filter.

    That of a whole published version is the one of its publication, where it was kept. Raises
    ``ValidationError`` for a filter that entries cannot be asked for.
    """
    if filters is None and version != dataset.working:
        summary = dataset.versions.get(number=version).summary
        if kept := summary.get("distribution"):
            return Distribution.from_json(kept)
    return count(dataset, version, filters or InferenceFilter())


def count(dataset: Dataset, version: int, filters: Filter) -> Distribution:
    """Return the distribution, counted now."""
    rows = _rows(dataset, version, filters)
    splitting = dataset.splitting_of(version)
    # The plugin does not see the annotation of ``with_split``.
    splits = rows.values_list("split")  # type: ignore[misc]
    by_split = dict(splits.annotate(n=Count("pk")))
    entries = {name: by_split.get(name, 0) for name in splitting.names}
    if None in by_split:
        entries[WITHOUT_SPLIT] = by_split[None]
    truths = rows.filter(truth__has_any_keys=LABELLED_FORMS)
    return Distribution(
        entries, _count(rows, "answer_labels"), _count(truths, "labels")
    )


def count_answers(dataset: Dataset, version: int, filters: Filter) -> Counts:
    """Return the counts of what the model said, without splits, which take most of the time."""
    rows = entries_matching(dataset, version, filters).order_by()
    return _count(rows.with_split(Splitting()), "answer_labels")


def by_total(counts: Counts) -> list[tuple[str, int]]:
    """Return the labels with the number of their entries, most frequent first."""
    totals = [(label, sum(by_split.values())) for label, by_split in counts.items()]
    return sorted(totals, key=lambda pair: (-pair[1], pair[0]))


def _rows(dataset: Dataset, version: int, filters: Filter) -> DatasetEntryQuerySet:
    rows = entries_matching(dataset, version, filters).order_by()
    return rows.with_split(dataset.splitting_of(version))


def _count(rows: DatasetEntryQuerySet, column: str) -> Counts:
    sql, values = rows.values("split", column).query.sql_with_params()
    with connection.cursor() as cursor:
        cursor.execute(COUNT.format(rows=sql, column=column), [*values, COUNTS_MAX])
        found: Counts = {}
        for label, split, number in cursor.fetchall():
            found.setdefault(label, {})[split or WITHOUT_SPLIT] = number
    return found
