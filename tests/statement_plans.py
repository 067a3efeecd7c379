"""Read the plans of the statements that the store really sends.

A plan tells what a statement means, however it is written: each scan of a table has its condition
beside it, also where the planner has derived it from a join.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import orjson
import psycopg
from django.db.backends.utils import CursorWrapper
from psycopg.rows import tuple_row

ROOT = Path(__file__).resolve().parent.parent
# Settings that are sent together with a statement.
SETTINGS = re.compile(r"^\s*(SET LOCAL [^;]*;\s*)+|(;\s*SET LOCAL [^;]*)+\s*$")
COPIED = re.compile(r"^\s*COPY \((.*)\) TO STDOUT", re.DOTALL)
PLANNED = re.compile(r"^[\s(]*(SELECT|INSERT|UPDATE|DELETE|WITH)\b", re.IGNORECASE)
CONDITIONS = ("Index Cond", "Recheck Cond", "Filter")
JOINED_BY = ("Hash Cond", "Merge Cond", "Join Filter")  # at the node of a join


@dataclass(frozen=True)
class Scan:
    """A scan of a table in a plan, with its condition and the code that sent the statement."""

    table: str
    condition: str
    index: str  # "" without one
    aliases: frozenset[
        str
    ]  # of watched tables in the same plan, and of subqueries so named
    others: frozenset[str]  # tables in the same plan that are not watched
    hashed: tuple[str, ...]  # the columns by which a hashed subquery around it is asked
    sender: str
    statement: str

    def is_of_one(self, column: str) -> bool:
        """Return whether the column equals a constant, or that of another watched table."""
        named = rf"\(?(?:\w+\.)?{column}\)? = "
        if re.search(rf"{named}(\d+|'\d+'::\w+)\)", self.condition):
            return True
        if any(each.endswith(f".{column}") for each in self.hashed):
            return True
        other = re.search(rf'{named}"?(\w+)"?\.{column}\)', self.condition)
        return other is not None and other[1] in self.aliases


@contextmanager
def scans_of(tables: Collection[str]) -> Iterator[list[Scan]]:
    """Collect the scans of these tables, or their partitions, that the block's statements make."""
    found: list[Scan] = []
    named = re.compile("|".join(map(re.escape, tables)))
    execute = CursorWrapper._execute
    copy = psycopg.Cursor.copy

    def note(raw: Any, sql: Any, values: Any) -> None:
        sql = sql if isinstance(sql, str) else raw.mogrify(sql, values)
        if copied := COPIED.match(sql):
            sql = copied[1]
        sql = SETTINGS.sub("", sql)
        if PLANNED.match(sql) and named.search(sql):
            found.extend(_scans(raw.connection, sql, values, tables))

    def watched(wrapper: Any, sql: Any, params: Any, *rest: Any) -> Any:
        note(wrapper.cursor, sql, params)
        return execute(wrapper, sql, params, *rest)

    def watched_copy(raw: Any, sql: Any, params: Any = None, **rest: Any) -> Any:
        note(raw, sql, params)
        return copy(raw, sql, params, **rest)

    with (
        patch.object(CursorWrapper, "_execute", watched),
        patch.object(psycopg.Cursor, "copy", watched_copy),
    ):
        yield found


def _scans(
    connection: Any, sql: str, values: Any, tables: Collection[str]
) -> Iterator[Scan]:
    with psycopg.ClientCursor(connection, row_factory=tuple_row) as cursor:
        cursor.execute(f"EXPLAIN (VERBOSE, COSTS OFF, FORMAT JSON) {sql}", values)  # type: ignore[arg-type]
        (answer,) = cursor.fetchone() or ([],)
        plan = orjson.loads(answer) if isinstance(answer, str) else answer
        nodes = list(_nodes(plan[0]["Plan"], str(plan)))
        parents = _parents(cursor, {n["Relation Name"] for n in nodes})
        others = frozenset(set(parents.values()) - {*tables})
        # An INSERT needs no condition: it names its columns, which may not be null.
        own = [
            node
            for node in nodes
            if parents[node["Relation Name"]] in tables
            and node["Node Type"] != "ModifyTable"
        ]
        # A subquery that stands for a table has its name.
        aliases = frozenset([*tables, *(node["Alias"] for node in own)])
        for node in own:
            index = str(node.get("Index Name", ""))
            parts = [str(node[name]) for name in CONDITIONS if name in node]
            parts += node["Joined"]
            # What the predicate of a partial index says is no condition of the scan.
            for name in [index, *_bitmaps(node)]:
                parts.append(_predicate(cursor, name))
            yield Scan(
                table=parents[node["Relation Name"]],
                condition=" AND ".join(filter(None, parts)),
                index=index,
                aliases=aliases,
                others=others,
                hashed=tuple(node["Hashed"]),
                sender=_sender(),
                statement=sql,
            )


def _nodes(
    node: dict[str, Any],
    plan: str,
    is_hashed: bool = False,
    joined: tuple[str, ...] = (),
) -> Iterator[dict[str, Any]]:
    """Yield the nodes of tables: scans, and what writes."""
    is_hashed |= f"(hashed {node.get('Subplan Name')})" in plan
    if "Anti" in (kind := node.get("Join Type", "")) or "Semi" in kind:
        # EXISTS and its opposite are joins, where a plan has them so.
        joined += tuple(str(node[name]) for name in JOINED_BY if name in node)
    if "Relation Name" in node:
        hashed = node.get("Output", ()) if is_hashed else ()
        yield {**node, "Hashed": hashed, "Joined": joined}
    for child in node.get("Plans", ()):
        yield from _nodes(child, plan, is_hashed, joined)


def _bitmaps(node: dict[str, Any]) -> Iterator[str]:
    for child in node.get("Plans", ()):
        if child["Node Type"] == "Bitmap Index Scan":
            yield child["Index Name"]
        elif child["Node Type"] == "BitmapAnd":
            yield from _bitmaps(child)


def _parents(cursor: Any, names: set[str]) -> dict[str, str]:
    cursor.execute(
        "SELECT name, coalesce((SELECT inhparent::regclass::text FROM pg_inherits "
        "WHERE inhrelid = to_regclass(name)), name) FROM unnest(%s::text[]) AS name",
        [list(names)],
    )
    return dict(cursor.fetchall())


def _predicate(cursor: Any, index: str) -> str:
    if not index:
        return ""
    cursor.execute(
        "SELECT pg_get_expr(indpred, indrelid) FROM pg_index "
        "WHERE indexrelid = to_regclass(%s)",
        [index],
    )
    (predicate,) = cursor.fetchone() or ("",)
    return predicate or ""


def _sender() -> str:
    """Return the module and function of the store that sent the statement."""
    for frame in reversed(traceback.extract_stack()):
        path = Path(frame.filename)
        if not path.is_relative_to(ROOT) or ".venv" in path.parts:
            continue
        inside = path.relative_to(ROOT)
        if inside.parts[0] == "tests" or inside.parts[:2] == ("istore", "db"):
            continue
        if frame.name.startswith("<"):  # a comprehension
            continue
        return f"{'.'.join(inside.with_suffix('').parts)}.{frame.name}"
    return "unknown"
