"""Pages of the entries of a version."""

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
    """Return one page of entries in the order they were added, and the next cursor.

    ``after`` is the number of the last entry of the page before. The cursor is the same
    number for the page that follows, or None on the last page.
    """
    rows = dataset.entries_of(version).filter(pk__gt=after).order_by("pk")
    if label is not None:
        rows = rows.filter(labels__contains=[label])
    found = list(rows.select_related("source", "blob")[: limit + 1])
    page = found[:limit]
    return page, page[-1].pk if len(found) > limit else None
