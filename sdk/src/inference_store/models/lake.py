"""The lake: tables of exported inferences, and the answers to SQL over them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from inference_store.models.base import AnswerModel, RequestModel


class LakeQuery(RequestModel):
    """One SELECT over tables of the lake, such as ``SELECT count(*) FROM harbour_detector``."""

    sql: str
    project_id: str | None = None
    limit: int | None = None


class LakeColumn(AnswerModel):
    """A column; ``key`` is the metadata key whose values a column of a table holds."""

    name: str
    type: str
    key: str | None = None


class LakeRows(AnswerModel):
    """The answer to a query. ``is_complete`` is False where rows beyond the limit are left out."""

    columns: list[LakeColumn]
    rows: list[list[Any]]
    is_complete: bool = True


class LakeTable(AnswerModel):
    """A table of the lake; ``location`` is None before its first row."""

    name: str
    model_id: str
    project_id: str
    schedule_id: str | None = None
    shape: str = "flat"
    exported_until: datetime | None = None
    location: str | None = None
    row_count: int = 0
    file_count: int = 0
    size: int = 0
    snapshot_count: int = 0
    columns: list[LakeColumn] = []
