"""Pages of the entries of a version."""

from __future__ import annotations

from datasets.entry_filters import entries_matching
from datasets.models import Dataset, DatasetEntry
from inferences.search.filters import Filter, InferenceFilter

PAGE, PAGE_MAX = 50, 1000


def entries_page(
    dataset: Dataset,
    version: int,
    *,
    limit: int = PAGE,
    after: int = 0,
    label: str | None = None,
    filters: Filter | None = None,
) -> tuple[list[DatasetEntry], int | None]:
    """Return one page of entries in the order they were added, each with its ``split``.

    ``after`` is the number of the last entry of the page before. The cursor is the same
    number for the page that follows, or None on the last page. ``label`` is one of the
    annotations. Raises ``ValidationError`` for a filter that entries cannot be asked for.
    """
    rows = entries_matching(dataset, version, filters or InferenceFilter())
    rows = rows.filter(pk__gt=after).order_by("pk")
    if label is not None:
        rows = rows.filter(labels__contains=[label])
    rows = rows.with_split(dataset.splitting_of(version))
    found = list(rows.select_related("source", "blob")[: limit + 1])
    page = found[:limit]
    return page, page[-1].pk if len(found) > limit else None
