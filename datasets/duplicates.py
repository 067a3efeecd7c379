"""Entries of a working version with equal inputs: within it, in other datasets, or nearly equal.

Equal inputs have equal hashes. They are found along ``dataset_entry_input``, in the order of
the hashes and ``WINDOW`` entries at a time, so that a page costs the same however many
entries there are. Inputs that are nearly equal have embeddings near each other; the newest
``COMPARED`` embeddings are compared.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from django.db.models import Count, Exists, OuterRef

from datasets.models import Dataset, DatasetEntry, DatasetEntryQuerySet

CURSOR = re.compile(r"[0-9a-f]{64}")
GROUPS = 24  # on a page
SHOWN = 24  # entries of a group
WINDOW = 20_000  # entries that one statement reads
SECONDS = 1.5  # after which a page ends, with a cursor
COMPARED = 2_000
ALIKE = 0.02  # cosine distance up to which inputs are nearly equal


@dataclass(frozen=True, slots=True)
class Group:
    """Entries of the same input, or of inputs that are nearly equal.

    ``entries`` are the first of ``count``, those with ground truth before others: the first
    is the one to keep. ``elsewhere`` has entries of other datasets.
    """

    data_hash: str
    entries: list[DatasetEntry]
    count: int
    elsewhere: list[DatasetEntry] = field(default_factory=list)
    distance: float | None = None  # the largest between neighbours


@dataclass(frozen=True, slots=True)
class Groups:
    """A page of groups. ``next`` is the hash behind which the search goes on; None at the end."""

    groups: list[Group]
    next: str | None = None


def within(dataset: Dataset, after: str = "", limit: int = GROUPS) -> Groups:
    """Return groups of entries of the working version that have the same input."""
    current = dataset.entries.current()

    def repeated(rows: DatasetEntryQuerySet) -> Iterable[bytes]:
        counted = rows.values_list("data_hash").annotate(n=Count("pk"))
        return [bytes(h) for h, _ in counted.filter(n__gt=1).order_by("data_hash")]

    hashes, following = _walk(current, after, limit, repeated)
    return Groups(_groups(dataset, hashes), following)


def across(dataset: Dataset, after: str = "", limit: int = GROUPS) -> Groups:
    """Return entries of the working version whose input other datasets of the project have."""
    others = Dataset.objects.live().filter(project=dataset.project_id)
    keys = list(others.exclude(pk=dataset.pk).values_list("pk", flat=True))
    same = DatasetEntry.objects.current().filter(
        dataset__in=keys, data_hash=OuterRef("data_hash")
    )

    def shared(rows: DatasetEntryQuerySet) -> Iterable[bytes]:
        found = rows.filter(Exists(same)).values_list("data_hash", flat=True)
        return [bytes(each) for each in found.distinct().order_by("data_hash")]

    if not keys:
        return Groups([])
    hashes, following = _walk(dataset.entries.current(), after, limit, shared)
    return Groups(_groups(dataset, hashes, keys), following)


def _walk(
    current: DatasetEntryQuerySet,
    after: str,
    limit: int,
    find: Callable[[DatasetEntryQuerySet], Iterable[bytes]],
) -> tuple[list[bytes], str | None]:
    """Return the hashes that ``find`` returns of windows of entries, and where to go on."""
    begun, last, found = time.monotonic(), bytes.fromhex(after), list[bytes]()
    ordered = current.order_by("data_hash").values_list("data_hash", flat=True)
    while True:
        rest = ordered.filter(data_hash__gt=last)
        end = next(iter(rest[WINDOW : WINDOW + 1]), None)
        rows = current.order_by().filter(data_hash__gt=last)
        if end is not None:  # all entries of this hash belong to the window
            rows = rows.filter(data_hash__lte=end)
        found += find(rows)
        if len(found) > limit:
            return found[:limit], found[limit - 1].hex()
        if end is None:
            return found, None
        last = bytes(end)
        if time.monotonic() - begun > SECONDS:
            return found, last.hex()


def _groups(
    dataset: Dataset, hashes: list[bytes], others: list[int] | None = None
) -> list[Group]:
    groups = []
    for data_hash in hashes:
        same = DatasetEntry.objects.current().filter(data_hash=data_hash)
        mine = same.filter(dataset=dataset).select_related("source", "blob", "dataset")
        entries = list(mine.order_by("pk")[:SHOWN])
        count = len(entries) if len(entries) < SHOWN else mine.count()
        elsewhere = []
        if others:
            found = same.filter(dataset__in=others).select_related("dataset__project")
            elsewhere = list(found.order_by("dataset", "pk")[:SHOWN])
        groups.append(Group(data_hash.hex(), _best_first(entries), count, elsewhere))
    return groups


def _best_first(entries: list[DatasetEntry]) -> list[DatasetEntry]:
    return sorted(entries, key=lambda entry: (entry.truth is None, entry.pk))


def has_embeddings(dataset: Dataset) -> bool:
    """Return whether a model of the dataset answers with embeddings."""
    return dataset.sources.filter(embedding_size__gt=0).exists()


def alike(
    dataset: Dataset, distance: float = ALIKE, limit: int = GROUPS
) -> list[Group]:
    """Return groups of entries whose embeddings are that near to each other, nearest first.

    Equal inputs are no such group: ``within`` has them.
    """
    import numpy as np

    from inferences.embedding_maps.neighbours import nearest_other

    rows = dataset.entries.current().exclude(embedding=None).order_by("-pk")
    found = list(rows.values_list("pk", "data_hash", "embedding")[:COMPARED])
    if not found:
        return []
    size = len(found[0][2] or ())
    # Of equal inputs the oldest is compared: it is the one that would be kept.
    kept = {
        bytes(h): (pk, vector)
        for pk, h, vector in found
        if vector and len(vector) == size
    }
    if len(kept) < 2:
        return []
    ids = np.array([pk for pk, _ in kept.values()], np.int64)
    vectors = np.array([vector for _, vector in kept.values()], np.float32)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors /= np.where(norms > 0, norms, 1)
    nearest, distances = nearest_other(ids, vectors, ids, vectors)
    pairs = sorted(
        (float(d), int(one), int(other))
        for one, other, d in zip(ids, nearest, distances, strict=True)
        if d <= distance
    )
    sets = _joined(pairs)
    chosen = sorted(sets, key=lambda each: each[0])[:limit]
    related = dataset.entries.select_related("source", "blob", "dataset")
    entries = related.in_bulk([pk for _, members in chosen for pk in members[:SHOWN]])
    return [
        Group(
            "",
            _best_first(
                [entries[pk] for pk in sorted(members)[:SHOWN] if pk in entries]
            ),
            len(members),
            distance=far,
        )
        for far, members in chosen
    ]


def _joined(pairs: list[tuple[float, int, int]]) -> list[tuple[float, list[int]]]:
    """Return the sets that pairs join, each with the largest distance of its pairs."""
    head: dict[int, int] = {}

    def root(one: int) -> int:
        while head.setdefault(one, one) != one:
            one = head[one]
        return one

    for _, one, other in pairs:
        head[root(one)] = root(other)
    members: dict[int, list[int]] = {}
    for one in head:
        members.setdefault(root(one), []).append(one)
    far: dict[int, float] = {}
    for distance, one, _ in pairs:
        far[root(one)] = max(distance, far.get(root(one), 0.0))
    return [(far[key], sorted(each)) for key, each in members.items()]
