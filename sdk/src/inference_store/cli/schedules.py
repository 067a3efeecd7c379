"""``istore schedules``: scheduled exports, and their progress."""

from __future__ import annotations

from typing import Annotated, TypeVar

import typer

from inference_store.cli import output
from inference_store.cli.account import client
from inference_store.cli.app import AsJson, ModelId, Yes, app
from inference_store.errors import NotFound
from inference_store.models import (
    ChangeExportScheduleRequest,
    ExportSchedule,
    NewExportScheduleRequest,
    ScheduledExport,
)

T = TypeVar("T")

schedules = typer.Typer(
    help="Scheduled exports of new inferences.", no_args_is_help=True
)
app.add_typer(schedules, name="schedules")

ScheduleId = Annotated[
    str, typer.Argument(metavar="SCHEDULE", help="The id of a schedule.")
]
Query = Annotated[
    str | None,
    typer.Option("--query", "-q", help="A text query that selects what is exported."),
]
Hours = Annotated[int | None, typer.Option(help="The interval of runs, in hours.")]
COLUMNS = ("id", "name", "every", "to", "exported until", "waiting", "last error")


@schedules.command("list")
def list_(model_id: ModelId, as_json: AsJson = False) -> None:
    """List the schedules of a model, with their progress and last error."""
    with client() as store:
        _show(store.export_schedule.list_export_schedules(model_id), as_json)


@schedules.command()
def create(
    model_id: ModelId,
    name: Annotated[str, typer.Argument(metavar="NAME")],
    hours: Hours = 24,
    query: Query = None,
    shape: Annotated[str, typer.Option(help="flat or exploded.")] = "flat",
    destination: Annotated[
        str, typer.Option("--to", help="See: istore schedules destinations.")
    ] = "",
    prefix: Annotated[str, typer.Option(help="A folder in the destination.")] = "",
    format: Annotated[
        str, typer.Option(help="parquet, or iceberg: a table of the lake.")
    ] = "parquet",
    keeps_removed: Annotated[
        bool,
        typer.Option(
            "--keep-removed/--follow-removals",
            help="Whether the lake keeps what the store removes.",
        ),
    ] = True,
    from_beginning: Annotated[
        bool,
        typer.Option(
            "--from-beginning",
            help="Export the inferences that are stored already, too.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Create a schedule that exports new inferences every so many hours."""
    body = NewExportScheduleRequest(
        name=name,
        interval_hours=hours or 24,
        selection={} if query is None else {"query": query},
        shape=shape,
        destination=destination,
        prefix=prefix,
        format=format,
        keeps_removed=keeps_removed,
        from_beginning=from_beginning,
    )
    with client() as store:
        schedule = store.export_schedule.create_export_schedule(model_id, body)
        _show([_existing(schedule)], as_json)


@schedules.command()
def change(
    model_id: ModelId,
    schedule_id: ScheduleId,
    name: Annotated[str | None, typer.Option(help="Another name.")] = None,
    hours: Hours = None,
    query: Query = None,
    enabled: Annotated[
        bool | None, typer.Option("--on/--off", help="Whether it runs by itself.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Change a schedule, or switch it off and on."""
    body = ChangeExportScheduleRequest(
        name=name,
        interval_hours=hours,
        selection=None if query is None else {"query": query},
        enabled=enabled,
    )
    with client() as store:
        schedule = store.export_schedule.change_export_schedule(
            model_id, schedule_id, body
        )
        _show([_existing(schedule)], as_json)


@schedules.command()
def run(model_id: ModelId, schedule_id: ScheduleId, as_json: AsJson = False) -> None:
    """Start a run of a schedule now."""
    with client() as store:
        task = _existing(
            store.export_schedule.run_export_schedule(model_id, schedule_id)
        )
    output.show_list([task], ("run", "state"), lambda run: (run.id, run.state), as_json)


@schedules.command()
def runs(model_id: ModelId, schedule_id: ScheduleId, as_json: AsJson = False) -> None:
    """List the latest runs of a schedule."""
    with client() as store:
        latest = store.export_schedule.list_scheduled_exports(model_id, schedule_id)

    def row(run: ScheduledExport) -> tuple[str, ...]:
        return (
            f"{run.created_at:%Y-%m-%d %H:%M:%S}" if run.created_at else "",
            run.state,
            f"{run.row_count:,} rows",
            f"{run.file_count:,} files",
            run.reason or "",
        )

    columns = ("started", "state", "rows", "files", "reason")
    output.show_list(latest, columns, row, as_json)


@schedules.command()
def files(model_id: ModelId, schedule_id: ScheduleId, as_json: AsJson = False) -> None:
    """List the latest files of a schedule."""
    with client() as store:
        output.show_list(
            store.export_schedule.list_exported_files(model_id, schedule_id),
            ("file", "rows", "bytes"),
            lambda file: (file.key, f"{file.row_count:,}", f"{file.size:,}"),
            as_json,
        )


@schedules.command()
def delete(
    model_id: ModelId,
    schedule_id: ScheduleId,
    drop_table: Annotated[
        bool,
        typer.Option(
            "--drop-table/--keep-table",
            help="Whether its table of the lake goes with its files.",
        ),
    ] = False,
    yes: Yes = False,
) -> None:
    """Delete a schedule. Its files are kept, and a table of the lake unless it is dropped."""
    if not yes:
        more = " and its table with all its files" if drop_table else ""
        typer.confirm(f"Delete this schedule{more}?", abort=True)
    table = "drop" if drop_table else "keep"
    with client() as store:
        _existing(
            store.export_schedule.delete_export_schedule(model_id, schedule_id, table)
        )


@schedules.command("destinations")
def destinations_(as_json: AsJson = False) -> None:
    """List the destinations of schedules."""
    with client() as store:
        output.show_list(
            store.export_schedule.list_export_destinations(),
            ("name", "what it is"),
            lambda destination: (destination.name, destination.title),
            as_json,
        )


def _existing(found: T | None) -> T:
    if found is None:
        raise NotFound("There is no such model or schedule.")
    return found


def _show(schedules: list[ExportSchedule], as_json: bool) -> None:
    output.show_list(schedules, COLUMNS, _row, as_json)


def _row(schedule: ExportSchedule) -> tuple[str, ...]:
    until = schedule.exported_until
    more = "" if schedule.waiting_is_exact else "+"
    return (
        schedule.id,
        schedule.name,
        f"{schedule.interval_hours} h" if schedule.enabled else "off",
        schedule.table
        or f"{schedule.destination or 'default store'} {schedule.prefix}".strip(),
        f"{until:%Y-%m-%d %H:%M:%S}" if until else "never",
        f"{schedule.waiting_count:,}{more}",
        schedule.last_error or "",
    )
