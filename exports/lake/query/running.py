"""Run a query of the lake in a process of its own, over the tables that the caller may see."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.files.storage import default_storage
from pyiceberg.table import Table

from exports.lake import tables, warehouse
from exports.lake.catalog import open_catalog
from exports.lake.data_files import arrow_schema, files_of
from exports.lake.doors import SQL_MAX_CHARS
from exports.lake.models import LakeTable
from exports.lake.query import worker
from istore.errors import Invalid, Unavailable, Unprocessable
from istore.models import Project

PROGRAM = Path(worker.__file__)
ANSWER_BYTES = 16 * 1024**2
THREADS = 2
WAIT_SECONDS = 10  # for a place among the queries that run
_places = threading.BoundedSemaphore(settings.ISTORE_LAKE_QUERIES)


@dataclass(frozen=True)
class Found:
    """The answer to a query. ``is_complete`` is False where rows beyond the bound are left out."""

    columns: list[dict[str, str]]
    rows: list[list[Any]]
    is_complete: bool


def query(
    projects: Iterable[Project],
    sql: str,
    limit: int | None = None,
    values: Sequence[Any] = (),
) -> Found:
    """Return the rows of one SELECT over the tables of these projects.

    A table is named ``namespace.name``, and by its name alone where only one has it. Raises
    ``Invalid`` for a statement that is not run, ``Unprocessable`` for one beyond the bounds.
    """
    if len(sql) > SQL_MAX_CHARS:
        raise Invalid(f"More than {SQL_MAX_CHARS} characters.", "sql")
    if "\0" in sql or not sql.strip():
        raise Invalid("A SELECT is expected.", "sql")
    if not _places.acquire(timeout=WAIT_SECONDS):
        message = "Other queries of the lake are running; try again later."
        raise Unavailable("dependency-unavailable", message, retry_after=WAIT_SECONDS)
    try:
        process = _Process()
        try:
            return _run(process, projects, sql, limit, values)
        finally:
            process.end()
    finally:
        _places.release()


def _run(
    process: _Process,
    projects: Iterable[Project],
    sql: str,
    limit: int | None,
    values: Sequence[Any],
) -> Found:
    rows = settings.ISTORE_LAKE_QUERY_ROWS
    process.send(
        sql=sql,
        values=list(values),
        rows=rows if limit is None else min(limit, rows),
        bytes=ANSWER_BYTES,
        memory_bytes=settings.ISTORE_LAKE_QUERY_BYTES,
        seconds=settings.ISTORE_LAKE_QUERY_SECONDS,
        threads=THREADS,
    )
    named = process.receive()["tables"]
    given = [_relation(*each) for each in _visible(projects, named)]
    process.send(storage=_storage(), tables=given)
    return Found(**process.receive())


def _visible(
    projects: Iterable[Project], named: list[list[str]]
) -> list[tuple[LakeTable, list[str]]]:
    """Return the tables that the statement names, each with the names that it goes by."""
    rows = LakeTable.objects.present().filter(model__project__in=list(projects))
    wanted = {(schema.lower(), name.lower()) for schema, name in named}
    alike = list(rows.filter(name__in={name for _, name in wanted}))
    found = []
    for row in alike:
        is_alone = sum(each.name == row.name for each in alike) == 1
        is_meant = (row.namespace, row.name) in wanted or ("", row.name) in wanted
        if is_meant:
            names = [f'"{row.namespace}"."{row.name}"']
            names += [f'memory.main."{row.name}"'] if is_alone else []
            found.append((row, names))
    return found


def _relation(row: LakeTable, names: list[str]) -> dict[str, Any]:
    """Return where the rows of a table are, as the process reads them."""
    table = tables.load(open_catalog(), row)
    if table is None:
        message = f"{row} is empty: no run of its schedule has written a row yet."
        raise Invalid(message, "sql")
    schema = arrow_schema(
        table.metadata, [field.name for field in table.schema().fields]
    )
    return {
        "namespace": row.namespace,
        "names": names,
        "schema": base64.b64encode(schema.serialize()).decode(),
        "paths": _paths(table),
    }


def _paths(table: Table) -> list[str]:
    scheme = "file://" if warehouse.is_folder() else "s3://"
    start = warehouse.base().removeprefix(scheme)
    return [f"{start}/{warehouse.key_of(each.file_path)}" for each in files_of(table)]


def _storage() -> dict[str, Any] | None:
    """Return how Arrow opens the bucket of the blob store; None for a folder."""
    if warehouse.is_folder():
        return None
    storage: Any = default_storage
    endpoint = storage.endpoint_url or ""
    # Those of a pod's or machine's role, too: the process has no environment to find them by.
    session = storage._create_session()
    found = session.get_credentials()
    keys = found.get_frozen_credentials() if found else None
    given = {
        "endpoint_override": endpoint.partition("://")[2] or None,
        "scheme": endpoint.partition("://")[0] or None,
        "access_key": keys and keys.access_key,
        "secret_key": keys and keys.secret_key,
        "session_token": keys and keys.token,
        "region": storage.region_name or session.region_name,
        "tls_ca_file_path": storage.verify if isinstance(storage.verify, str) else None,
        "force_virtual_addressing": storage.addressing_style == "virtual" or None,
    }
    return {name: value for name, value in given.items() if value}


class _Process:
    """The process of one query, which is killed when its time is over."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-I", str(PROGRAM)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={},
            cwd="/",
        )
        self.is_late = False
        seconds = settings.ISTORE_LAKE_QUERY_SECONDS
        self.timer = threading.Timer(seconds, self._end_late)
        self.timer.start()

    def _end_late(self) -> None:
        self.is_late = True
        self.process.kill()

    def send(self, **job: Any) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(job).encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise self._ended() from None

    def receive(self) -> dict[str, Any]:
        """Return an answer. Raises ``StoreError`` for a refusal, and when the process ended."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line.endswith(b"\n"):
            raise self._ended()
        answer: dict[str, Any] = json.loads(line)
        if refused := answer.get("refused"):
            raise Invalid(refused, "sql")
        if "failed" in answer:
            message = "The files of a table cannot be read now; try again later."
            raise Unavailable("dependency-unavailable", message, retry_after=5)
        if "limit" in answer:
            raise _too_expensive("memory")
        return answer

    def _ended(self) -> Unprocessable:
        return _too_expensive("time" if self.is_late else "memory or time")

    def end(self) -> None:
        self.timer.cancel()
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                try:
                    stream.close()
                except BrokenPipeError:
                    continue


def _too_expensive(what: str) -> Unprocessable:
    seconds = settings.ISTORE_LAKE_QUERY_SECONDS
    mib = settings.ISTORE_LAKE_QUERY_BYTES // 1024**2
    message = (
        f"The query needs more {what} than it has: {seconds} seconds and {mib} MiB. "
        "Name fewer columns, or a shorter range of timestamp."
    )
    return Unprocessable("query-too-expensive", message)
