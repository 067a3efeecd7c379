"""Entries of a version, a page at a time."""

from __future__ import annotations

from datasets.models import Dataset, DatasetEntry

PAGE, PAGE_MAX = 50, 1000


def entries_page(
    dataset: Dataset,
    version: int,
    *,
    limit: int = PAGE,
    after: int = 0,
    label: str | None = None,
) -> tuple[list[DatasetEntry], int | None]:
    """In the order they were added, those after an entry's number; and the next such."""
    rows = dataset.entries_of(version).filter(pk__gt=after).order_by("pk")
    if label is not None:
        rows = rows.filter(labels__contains=[label])
    found = list(rows.select_related("source", "blob")[: limit + 1])
    page = found[:limit]
    return page, page[-1].pk if len(found) > limit else None
