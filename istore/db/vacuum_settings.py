"""How often autovacuum visits each table, and how full its pages are written.

PostgreSQL's defaults wait for a share of a table: a fifth of its rows dead or inserted, a tenth
changed. That is too much of a table with a hundred million rows, whose index-only scans read rows
until a vacuum has marked their pages as visible. It is also too seldom for a table of few rows that
are written all the time.

Each app registers the settings of its tables under its label. They are given after each
``migrate``, where a table has none of that name, so an operator's own stay. Only the catalogue is
written, and a table is held for a moment in a way that readers and writers do not notice (SHARE
UPDATE EXCLUSIVE).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.apps import AppConfig
from django.db import connections

from istore.hooks import Hook

Settings = dict[str, str]


def by_share(
    *, dead: float, inserted: float | None = None, analyze: float | None = None
) -> Settings:
    """Return settings by shares of a table. Without ``inserted``, it is as ``dead``."""
    return {
        "autovacuum_vacuum_scale_factor": f"{dead:g}",
        "autovacuum_vacuum_insert_scale_factor": f"{dead if inserted is None else inserted:g}",
        "autovacuum_analyze_scale_factor": f"{dead if analyze is None else analyze:g}",
    }


def by_queue(rows: int) -> Settings:
    """Return settings of a small table whose rows come and go: a visit after so many changes.

    Its visit is short, so it does not sleep between pages (``cost_delay``).
    """
    return {
        "autovacuum_vacuum_scale_factor": "0",
        "autovacuum_vacuum_threshold": str(rows),
        "autovacuum_analyze_scale_factor": "0",
        "autovacuum_analyze_threshold": str(rows),
        "autovacuum_vacuum_cost_delay": "0",
    }


def for_updates(fillfactor: int, rows: int = 50) -> Settings:
    """Return settings of a small table whose rows are updated in place, within their page."""
    return {"fillfactor": str(fillfactor), **by_queue(rows)}


# By the label of the app: settings by table.
tables: Hook[Mapping[str, Settings]] = Hook()


def clause(settings: Settings) -> str:
    """Return the settings as they stand in WITH (…) and SET (…)."""
    return ", ".join(f"{name} = {value}" for name, value in settings.items())


def give(sender: AppConfig, using: str, **about: Any) -> None:
    """Give the tables of an app their settings; called after its migrations."""
    wanted = tables.get(sender.label)
    if not wanted:
        return
    with connections[using].cursor() as cursor:
        cursor.execute(
            "SELECT relname, coalesce(reloptions, '{}') FROM pg_class "
            "WHERE relname = ANY(%s) AND relnamespace = current_schema()::regnamespace",
            [list(wanted)],
        )
        # A table that is not there yet: its migration was not among those that ran.
        for name, options in cursor.fetchall():
            given = {each.partition("=")[0] for each in options}
            missing = {n: v for n, v in wanted[name].items() if n not in given}
            if missing:
                cursor.execute(f"ALTER TABLE {name} SET ({clause(missing)})")
