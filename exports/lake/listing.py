"""The tables of the lake as people and programs see them: columns, sizes, and what they hold."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from exports.formats.open_inference.layout import key_of
from exports.lake import tables, warehouse
from exports.lake.catalog import open_catalog
from exports.lake.models import LakeTable
from istore.models import Project


@dataclass(frozen=True)
class Column:
    """A column; ``key`` is the metadata key whose values it holds, or None."""

    name: str
    type: str
    key: str | None


@dataclass(frozen=True)
class Listed:
    """A table as it is now; ``location`` and the rest are None before its first row."""

    name: str
    model_id: str
    project_id: str
    schedule_id: str | None
    shape: str
    exported_until: datetime | None
    location: str | None
    row_count: int
    file_count: int
    size: int
    snapshot_count: int
    columns: list[Column]


def list_tables(projects: Iterable[Project]) -> list[Listed]:
    """Return the tables of these projects, by name."""
    rows = LakeTable.objects.present().filter(model__project__in=list(projects))
    rows = rows.select_related("model__project", "schedule")
    return [describe(row) for row in rows.order_by("namespace", "name")]


def describe(row: LakeTable) -> Listed:
    """Return one table as it is now."""
    table = tables.load(open_catalog(), row)
    snapshot = table.current_snapshot() if table else None
    summary = snapshot.summary if snapshot else None
    fields = table.schema().fields if table else ()

    def total(name: str) -> int:
        return int((summary and summary.get(name)) or 0)

    return Listed(
        name=str(row),
        model_id=row.model.model_id,
        project_id=row.model.project.project_id,
        schedule_id=str(row.schedule.pk) if row.schedule else None,
        shape=row.shape,
        exported_until=row.schedule.exported_until if row.schedule else None,
        location=(
            warehouse.location_of(warehouse.key_of(table.location())) if table else None
        ),
        row_count=total("total-records"),
        file_count=total("total-data-files"),
        size=total("total-files-size"),
        snapshot_count=len(list(table.snapshots())) if table else 0,
        columns=[
            Column(f.name, str(f.field_type), f.doc and key_of(f.doc)) for f in fields
        ],
    )
