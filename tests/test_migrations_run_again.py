"""A migration that goes in several transactions may break off anywhere, and runs again to its end."""

from __future__ import annotations

import importlib
from datetime import UTC, datetime

import pytest
from django.contrib.postgres.operations import (
    AddIndexConcurrently,
    RemoveIndexConcurrently,
)
from django.db import connection, migrations
from django.db.migrations.loader import MigrationLoader

from traces.models import Span

AT = datetime(2026, 3, 1, tzinfo=UTC)
OWN = ("RunPython", "RunSQL", "RemoveIndexConcurrently", "SeparateDatabaseAndState")
IDEMPOTENT = ("AlterField", "AlterModelOptions")


def in_pieces() -> list[migrations.Migration]:
    loaded = MigrationLoader(None).disk_migrations
    ours = ("datasets", "exports", "inferences", "ingest", "istore", "traces")
    return [
        each for (app, _), each in loaded.items() if app in ours and not each.atomic
    ]


def test_each_step_of_a_migration_in_pieces_may_run_again():
    found = in_pieces()
    assert len(found) > 10
    for migration in found:
        before = ""
        for step in migration.operations:
            if isinstance(step, AddIndexConcurrently):
                # Half an index stays of one that broke off, and would end each further one.
                drop = f"DROP INDEX CONCURRENTLY IF EXISTS {step.index.name}"
                assert before == drop, (migration, step)
            else:
                name = type(step).__name__
                assert name in OWN + IDEMPOTENT, (migration, step)
            before = getattr(step, "sql", "")


def test_removing_an_index_twice_is_no_error():
    assert issubclass(RemoveIndexConcurrently, migrations.RemoveIndex)
    assert "IF EXISTS" in connection.SchemaEditorClass.sql_delete_index_concurrently


class Cut(Exception):
    """Stands for a process that ends."""


@pytest.mark.django_db
def test_spans_whose_filling_broke_off_are_filled_by_the_next_run(model, monkeypatch):
    migration = importlib.import_module("traces.migrations.0003_fill_columns_of_lists")
    for n in range(5):
        Span.objects.create(
            registered_model=model,
            trace_id=b"t" * 16,
            span_id=bytes([n]) * 8,
            row_id=n,
            kind="LLM",
            name="span",
            started_at=AT,
            ended_at=AT,
        )
    Span.objects.update(project=None)
    monkeypatch.setattr(
        migration, "FILL", migration.FILL.replace(f"LIMIT {migration.BATCH}", "LIMIT 2")
    )

    class Editor:
        def __init__(self, batches: int) -> None:
            self.left = batches

        @property
        def connection(self):
            return self

        def cursor(self):
            editor = self

            class Cursor:
                def __enter__(self):
                    self.cursor = connection.cursor()
                    return self

                def __exit__(self, *about):
                    self.cursor.close()

                def execute(self, sql):
                    if not editor.left:
                        raise Cut
                    editor.left -= 1
                    self.cursor.execute(sql)
                    self.rowcount = self.cursor.rowcount

            return Cursor()

    with pytest.raises(Cut):
        migration.fill(None, Editor(1))
    assert Span.objects.filter(project=None).count() == 3

    migration.fill(None, Editor(100))

    assert Span.objects.filter(project=model.project).count() == 5
