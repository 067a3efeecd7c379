"""``istore schedules``: exports that repeat themselves, and how far they are."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from inference_store.cli import output
from inference_store.cli.account import client
from inference_store.cli.app import AsJson, ModelId, app
from inference_store.errors import NotFound
from inference_store.models import (
    ChangeExportScheduleRequest,
    ExportSchedule,
    NewExportScheduleRequest,
)

schedules = typer.Typer(help="Exports that repeat themselves.", no_args_is_help=True)
app.add_typer(schedules, name="schedules")

ScheduleId = Annotated[str, typer.Argument(metavar="SCHEDULE", help="Its id.")]
Query = Annotated[str | None, typer.Option("--query", "-q", help="What goes out.")]
Hours = Annotated[int | None, typer.Option(help="From one run to the next.")]
COLUMNS = ("id", "name", "every", "to", "exported until", "waiting", "last error")


@schedules.command("list")
def list_(model_id: ModelId, as_json: AsJson = False) -> None:
    """The schedules of a model, how far they are, and what went wrong last."""
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
    prefix: Annotated[str, typer.Option(help="A folder there.")] = "",
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="With what is stored already.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Export what arrives, every so many hours."""
    body = NewExportScheduleRequest(
        name=name,
        interval_hours=hours or 24,
        selection={} if query is None else {"query": query},
        shape=shape,
        destination=destination,
        prefix=prefix,
        from_beginning=from_beginning,
    )
    with client() as store:
        made = store.export_schedule.create_export_schedule(model_id, body)
        _show([_there(made)], as_json)


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
        changed = store.export_schedule.change_export_schedule(
            model_id, schedule_id, body
        )
        _show([_there(changed)], as_json)


@schedules.command()
def run(model_id: ModelId, schedule_id: ScheduleId, as_json: AsJson = False) -> None:
    """Export now what has arrived."""
    with client() as store:
        begun = _there(store.export_schedule.run_export_schedule(model_id, schedule_id))
    if as_json:
        output.show_json(begun)
    else:
        output.show_rows(("run", "state"), [(begun.id, begun.state)])


@schedules.command()
def runs(model_id: ModelId, schedule_id: ScheduleId, as_json: AsJson = False) -> None:
    """The latest runs of a schedule."""
    with client() as store:
        found = store.export_schedule.list_scheduled_exports(model_id, schedule_id)
    if as_json:
        for each in found:
            output.show_json(each)
        return
    rows = [
        (
            f"{each.created_at:%Y-%m-%d %H:%M:%S}" if each.created_at else "",
            each.state,
            f"{each.row_count:,} rows",
            f"{each.file_count:,} files",
            each.reason or "",
        )
        for each in found
    ]
    output.show_rows(("begun", "state", "rows", "files", "why"), rows)


@schedules.command()
def files(model_id: ModelId, schedule_id: ScheduleId, as_json: AsJson = False) -> None:
    """The latest files of a schedule."""
    with client() as store:
        found = store.export_schedule.list_exported_files(model_id, schedule_id)
    if as_json:
        for each in found:
            output.show_json(each)
        return
    rows = [(each.key, f"{each.row_count:,}", f"{each.size:,}") for each in found]
    output.show_rows(("file", "rows", "bytes"), rows)


@schedules.command()
def delete(
    model_id: ModelId,
    schedule_id: ScheduleId,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """End a schedule; its files stay."""
    if not yes:
        typer.confirm("End this schedule?", abort=True)
    with client() as store:
        _there(store.export_schedule.delete_export_schedule(model_id, schedule_id))


@schedules.command("destinations")
def destinations_(as_json: AsJson = False) -> None:
    """Where schedules may export to."""
    with client() as store:
        found = store.export_schedule.list_export_destinations()
    if as_json:
        for each in found:
            output.show_json(each)
        return
    output.show_rows(
        ("name", "what it is"), [(each.name, each.title) for each in found]
    )


def _there(found: Any) -> Any:
    if found is None:
        raise NotFound("There is no such model or schedule.")
    return found


def _show(found: list[ExportSchedule], as_json: bool) -> None:
    if as_json:
        for each in found:
            output.show_json(each)
        return
    output.show_rows(COLUMNS, [_row(each) for each in found])


def _row(one: ExportSchedule) -> tuple[str, ...]:
    until = one.exported_until
    more = "" if one.waiting_is_exact else "+"
    return (
        one.id,
        one.name,
        f"{one.interval_hours} h" if one.enabled else "off",
        f"{one.destination or 'default store'} {one.prefix}".strip(),
        f"{until:%Y-%m-%d %H:%M:%S}" if until else "never",
        f"{one.waiting_count:,}{more}",
        one.last_error or "",
    )
