"""Count what a version holds (entries, bytes, labels, splits), and compare two versions."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from django.db import connection
from django.db.models import Count, Q

from datasets.models import Dataset, DatasetEntry, DatasetEntryQuerySet

LABELS_MAX = 1000
LISTED = 100  # entries that a comparison lists of each kind of difference
AT_ONCE = 2000
WITHOUT_SPLIT = ""


def of_version(dataset: Dataset, version: int) -> dict[str, Any]:
    """Return ``{entries, inputs, bytes, labels, splits, models, without_labels}`` of a version.

    ``inputs`` and ``bytes`` count each shared input once.
    """
    entries = dataset.entries_of(version)
    totals = entries.aggregate(
        entries=Count("pk"),
        inputs=Count("blob", distinct=True),
        without_labels=Count("pk", filter=Q(labels=None)),
    )
    shared = entries.exclude(blob=None).values("blob", "blob__size").distinct()
    totals["bytes"] = sum(each["blob__size"] for each in shared.iterator(AT_ONCE))
    models = entries.values("model_id").annotate(n=Count("pk")).order_by("model_id")
    return {
        **totals,
        "labels": labels(entries),
        "splits": splits(dataset, version),
        "models": {model["model_id"]: model["n"] for model in models},
    }


def labels(entries: DatasetEntryQuerySet) -> dict[str, int]:
    """Return how often each label occurs, most frequent first, at most ``LABELS_MAX``."""
    sql, values = entries.order_by().values("labels").query.sql_with_params()
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT label, count(*) FROM ({sql}) AS found, unnest(labels) AS label "
            "GROUP BY label ORDER BY 2 DESC, 1 LIMIT %s",
            [*values, LABELS_MAX],
        )
        return dict(cursor.fetchall())


def splits(dataset: Dataset, version: int) -> dict[str, int]:
    """Return the number of entries by split; the empty name has those without a split."""
    splitting = dataset.splitting_of(version)
    if not splitting.names:
        return {}
    rows = dataset.entries_of(version).with_split(splitting).order_by()
    # The plugin does not see the annotation of ``with_split``.
    by_split = rows.values_list("split")  # type: ignore[misc]
    counted = dict(by_split.annotate(n=Count("pk")))
    found = {name: counted.get(name, 0) for name in splitting.names}
    return found | ({WITHOUT_SPLIT: counted[None]} if None in counted else {})


def has_changed(dataset: Dataset) -> bool:
    """Return whether the working version differs from the last published version."""
    if not dataset.published:
        return True
    published = dataset.versions.get(number=dataset.published)
    # Whatever changes a dataset notes when: most often the entries need not be looked through.
    if dataset.updated_at <= published.published_at:
        return False
    if dataset.splitting != published.splitting:
        return True
    working = dataset.working
    changed = Q(first_version=working) | Q(gone_version=working)
    return dataset.entries.filter(changed).exists()


@dataclass(frozen=True, slots=True)
class Step:
    """What became of the entries from one version to the next."""

    added: int = 0
    removed: int = 0
    changed: int = 0


# Entries that came with a version and those that went with it; an inference in both is one
# that was added again.
STEPS = """
WITH fresh AS (SELECT first_version AS number, model_id, inference_id FROM {table}
    WHERE dataset_id = %(dataset)s),
  gone AS (SELECT gone_version AS number, model_id, inference_id FROM {table}
    WHERE dataset_id = %(dataset)s AND gone_version IS NOT NULL)
SELECT number, count(*) FILTER (WHERE gone IS NULL), count(*) FILTER (WHERE fresh IS NULL),
  count(*) FILTER (WHERE fresh IS NOT NULL AND gone IS NOT NULL)
FROM fresh FULL JOIN gone USING (number, model_id, inference_id) GROUP BY number
"""


def steps(dataset: Dataset) -> dict[int, Step]:
    """Return what each version added, took out and annotated again, by its number."""
    sql = STEPS.format(table=DatasetEntry._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(sql, {"dataset": dataset.pk})
        return {number: Step(*counts) for number, *counts in cursor.fetchall()}


@dataclass(frozen=True, slots=True)
class Comparison:
    """The differences between two versions.

    An inference that was added again in between counts as ``changed``, with the pair of its
    entries. ``labels`` has the counts before and after.
    """

    added: int
    removed: int
    changed: int
    kept: int
    labels: dict[str, tuple[int, int]]
    first_added: list[DatasetEntry] = field(default_factory=list)
    first_removed: list[DatasetEntry] = field(default_factory=list)
    first_changed: list[tuple[DatasetEntry, DatasetEntry]] = field(default_factory=list)


# One row per inference in either version; the same entry in both is no difference.
PAIRED = """
WITH before AS ({before}), after AS ({after})
SELECT before.id, after.id FROM before FULL JOIN after USING (model_id, inference_id)
WHERE before.id IS DISTINCT FROM after.id ORDER BY after.id, before.id
"""


def compare(dataset: Dataset, before: int, after: int) -> Comparison:
    """Return the differences between the versions ``before`` and ``after``."""
    old, new = dataset.entries_of(before), dataset.entries_of(after)
    columns = ("id", "model_id", "inference_id")
    (first, first_values), (second, second_values) = (
        each.order_by().values(*columns).query.sql_with_params() for each in (old, new)
    )
    counts: Counter[str] = Counter()
    named: dict[str, list[tuple[int | None, int | None]]] = {
        "added": [],
        "removed": [],
        "changed": [],
    }
    with connection.cursor() as cursor:
        cursor.execute(
            PAIRED.format(before=first, after=second), [*first_values, *second_values]
        )
        while rows := cursor.fetchmany(AT_ONCE):
            for left, right in rows:
                kind = (
                    "added"
                    if left is None
                    else "removed"
                    if right is None
                    else "changed"
                )
                counts[kind] += 1
                if len(named[kind]) < LISTED:
                    named[kind].append((left, right))
    wanted = {each for pairs in named.values() for pair in pairs for each in pair}
    found = dataset.entries.select_related("source", "blob").in_bulk(wanted - {None})
    counted = [labels(each) for each in (old, new)]
    words = dict.fromkeys([*counted[0], *counted[1]])
    return Comparison(
        added=counts["added"],
        removed=counts["removed"],
        changed=counts["changed"],
        kept=old.count() - counts["removed"] - counts["changed"],
        labels={w: (counted[0].get(w, 0), counted[1].get(w, 0)) for w in words},
        first_added=[found[right] for _, right in named["added"]],
        first_removed=[found[left] for left, _ in named["removed"]],
        first_changed=[(found[left], found[right]) for left, right in named["changed"]],
    )
