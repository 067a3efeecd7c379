"""What the rest of the store asks of the lake.

The modules behind import pyiceberg and SQLAlchemy, which take a second of each start and 30 MB. So a process
imports them when it first meets a table, and most never do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from exports.lake.models import LakeTable
from inferences.erasure.matching_records import Carried
from inferences.models import RegisteredModel
from inferences.search.statistics import ColdValues, StatisticsQuery
from istore.backup.hooks import Read
from istore.checks.verification import Finding, Scope
from istore.models import Project

if TYPE_CHECKING:
    from exports.lake.appending import Appended
    from exports.lake.listing import Listed
    from exports.lake.query.running import Found
    from exports.schedules.models import ExportSchedule

SQL_MAX_CHARS = 20_000


def append_chunk(
    schedule: ExportSchedule,
    through: int,
    read_rows: Callable[[], Sequence[int]],
    check: Callable[[], None],
) -> Appended:
    """Append a chunk to the table of a schedule; see ``appending``."""
    from exports.lake import appending

    return appending.append_chunk(schedule, through, read_rows, check)


def tend_all(at: datetime) -> None:
    """Merge small files of every table and expire snapshots; see ``upkeep``."""
    if LakeTable.objects.exists():
        from exports.lake import upkeep

        upkeep.tend_all(at)


def list_tables(projects: Iterable[Project]) -> list[Listed]:
    """Return the tables of these projects, by name."""
    projects = list(projects)
    if not LakeTable.objects.filter(model__project__in=projects).exists():
        return []
    from exports.lake import listing

    return listing.list_tables(projects)


def find_table(projects: Iterable[Project], name: str) -> LakeTable | None:
    """Return the table ``namespace.name`` of these projects, or None. Quotes mean nothing."""
    namespace, _, own = name.replace('"', "").partition(".")
    rows = LakeTable.objects.present().filter(model__project__in=list(projects))
    rows = rows.select_related("model__project", "schedule")
    return rows.filter(namespace=namespace, name=own).first()


def query(projects: Iterable[Project], sql: str, limit: int | None = None) -> Found:
    """Return the rows of one SELECT over the tables of these projects; see ``query.running``."""
    from exports.lake.query import running

    return running.query(projects, sql, limit)


def remove_records(model: RegisteredModel, row_ids: list[int]) -> int:
    """Remove the rows of these records; return how many rows went."""
    if not LakeTable.objects.filter(model=model).exists():
        return 0
    from exports.lake import erasing

    return erasing.of_records(model, row_ids)


def remove_value(project: Project, carried: Carried) -> int:
    """Remove the rows with the value from the project's tables; return how many rows went."""
    if not LakeTable.objects.of_project(project).exists():
        return 0
    from exports.lake import erasing

    return erasing.of_value(project, carried)


def remove_leftovers(project: Project) -> int:
    """Delete what only old snapshots and broken attempts name."""
    if not LakeTable.objects.of_project(project).exists():
        return 0
    from exports.lake import erasing

    return erasing.of_leftovers(project)


def count_left(project: Project, carried: Carried) -> int:
    """Return how many rows of the project's tables still have the value."""
    if not LakeTable.objects.of_project(project).exists():
        return 0
    from exports.lake import erasing

    return erasing.count_left(project, carried)


def find_cold(model: RegisteredModel, asked: StatisticsQuery) -> ColdValues | None:
    """Return the values that only a table still has; see ``statistics``."""
    if not LakeTable.objects.present().filter(model=model).exists():
        return None
    from exports.lake import statistics

    return statistics.find_cold(model, asked)


def files_for_backup(read: Read) -> Iterator[str]:
    """Yield the keys of all files that the tables in a dump need; see ``backing_up``."""
    # The rows of now say nothing of the dump: only the dump is asked.
    from exports.lake import backing_up

    yield from backing_up.keys(read)


def verify_files(scope: Scope) -> Iterator[Finding]:
    """Yield data files that are missing or have another size than their table says."""
    if LakeTable.objects.exists():
        from exports.lake import verifying

        yield from verifying.files(scope)
