"""``istore export``: an archive is made in the store, followed, fetched and checked."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    Task,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from inference_store import Client
from inference_store.cli import output
from inference_store.cli.account import client
from inference_store.cli.app import AsJson, ModelId, app
from inference_store.cli.selection import (
    Comparisons,
    Label,
    MinScore,
    Query,
    Since,
    Until,
    selection,
)
from inference_store.downloading import download
from inference_store.errors import InferenceStoreError, NotFound
from inference_store.models import (
    DatasetAddition,
    DatasetArchive,
    ExportTask,
    NewExportTaskRequest,
)

FIRST_WAIT, LONGEST_WAIT = 0.2, 2.0
Archive = TypeVar("Archive", ExportTask, DatasetArchive)
T = TypeVar("T", ExportTask, DatasetArchive, DatasetAddition)


class ExportFailed(InferenceStoreError):
    """The task ended without an archive."""


@app.command()
def export(
    model_id: ModelId,
    format_: Annotated[
        str, typer.Option("--format", "-f", help="See: istore formats.")
    ] = "chariot",
    to: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="A file, or a directory to put it in."),
    ] = None,
    container: Annotated[str, typer.Option(help="zip or tar.")] = "zip",
    annotations: Annotated[
        bool, typer.Option("--annotations", help="With what the model said.")
    ] = False,
    with_metadata: Annotated[
        bool, typer.Option("--with-metadata", help="With custom metadata.")
    ] = False,
    option: Annotated[
        list[str] | None,
        typer.Option(help="Of the format, name=value; may be repeated."),
    ] = None,
    query: Query = None,
    since: Since = None,
    until: Until = None,
    label: Label = None,
    min_score: MinScore = None,
    metadata: Comparisons = None,
    include: Annotated[
        list[str] | None, typer.Option(help="An id, too; may be repeated.")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(help="An id to leave out; may be repeated.")
    ] = None,
    only_included: Annotated[
        bool, typer.Option("--only-included", help="Nothing but the included ids.")
    ] = False,
    task: Annotated[
        str | None, typer.Option(help="Follow this export, instead of a new one.")
    ] = None,
    no_download: Annotated[
        bool, typer.Option("--no-download", help="Ask for it, and do not wait.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make an archive of what matches, and fetch it."""
    if not no_download:
        check_place(to)
    with client() as store:
        if task is None:
            asked = selection(since, until, label, min_score, metadata, query).request()
            body = NewExportTaskRequest(
                filters=asked.filters,
                query=asked.query,
                include_inference_ids=include or [],
                exclude_inference_ids=exclude or [],
                include_inferences_as_annotations=annotations,
                include_custom_metadata=with_metadata,
                only_included=only_included or None,
                format=format_,
                container=container,
                options=dict(_pair(each) for each in option or ()) or None,
            )
            found = store.export_task.create_export_task(model_id, body)
        else:
            found = store.export_task.get_export_task(model_id, task)
        if found is None:
            raise NotFound(f"There is no such model or export: {model_id}.")
        if no_download:
            _show(found, None, as_json)
            return
        try:
            path = _fetch(store, model_id, found, to)
        except KeyboardInterrupt:
            again = f"istore export {model_id} --task {found.id}"
            raise ExportFailed(f"The export goes on in the store: {again}") from None
        _show(_now(store, model_id, found.id), path, as_json)


@app.command()
def formats(as_json: AsJson = False) -> None:
    """What an archive can be."""
    with client() as store:
        found = store.export_task.list_export_formats()
    if as_json:
        for each in found:
            output.show_json(each)
        return
    rows = [(each.name, each.title, each.description) for each in found]
    output.show_rows(("format", "name", "what it is"), rows)


def _fetch(store: Client, model_id: str, task: ExportTask, to: Path | None) -> Path:
    return fetched(task, lambda: _now(store, model_id, task.id), to)


def fetched(task: Archive, look: Callable[[], Archive], to: Path | None) -> Path:
    """Wait for the task, download its archive, and return its path; ``look`` polls the task."""
    with progress_bars() as progress:
        task = followed(task, look, progress)
        if not task.presigned_url:
            why = f": {task.reason}" if task.reason else ""
            raise ExportFailed(f"The export {task.id} ended {task.state}{why}")
        path = _place(task, to)
        bar = progress.add_task("fetching", total=task.archive_size, kind="bytes")
        download(task, path, lambda count: progress.advance(bar, count))
    return path


def followed(task: T, look: Callable[[], T], progress: Progress) -> T:
    """Poll the task until it has ended, and return it."""
    bar = progress.add_task("writing", total=task.expected_count, kind="count")
    wait = FIRST_WAIT
    while True:
        progress.update(bar, completed=task.progress_count, total=task.expected_count)
        if task.has_ended:
            return task
        time.sleep(wait)
        wait = min(2 * wait, LONGEST_WAIT)
        task = look()


def _now(store: Client, model_id: str, task_id: str) -> ExportTask:
    found = store.export_task.get_export_task(model_id, task_id)
    if found is None:
        raise NotFound(f"There is no export {task_id} of {model_id}.")
    return found


def check_place(to: Path | None) -> None:
    """Raise ``OSError`` if no file can be written there, before an archive is made."""
    path = to or Path()
    folder = path if path.is_dir() else path.parent
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no directory {folder}.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"The directory {folder} may not be written to.")


def _place(task: Archive, to: Path | None) -> Path:
    name = task.filename or f"export-{task.id}.{task.container or 'zip'}"
    if to is None:
        return Path(name)
    return to / name if to.is_dir() else to


def _show(task: ExportTask, path: Path | None, as_json: bool) -> None:
    if as_json:
        told = task.model_dump(mode="json") | {"path": str(path) if path else None}
        output.show_json(told)
        return
    if path is None:
        print(task.id)
        return
    print(f"{path}: {task.written_count} of {task.expected_count} inferences")
    for reason, count in task.skipped_by_reason.items():
        print(f"  {count} skipped: {reason}")
    for warning in task.warnings:
        print(f"  {output.plain(warning.message)}")


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise ValueError(f"{text!r} is not like shape=exploded.")
    return name, value


class _Amount(DownloadColumn):
    """A column with bytes for a download, and counts for the writing of an archive."""

    def __init__(self) -> None:
        super().__init__()
        self.counts = MofNCompleteColumn()

    def render(self, task: Task) -> Text:
        is_download = task.fields["kind"] == "bytes"
        return super().render(task) if is_download else self.counts.render(task)


class _Speed(TransferSpeedColumn):
    """The speed of a download; empty for other rows."""

    def render(self, task: Task) -> Text:
        return super().render(task) if task.fields["kind"] == "bytes" else Text()


def progress_bars() -> Progress:
    """Return progress bars, which show on a terminal only."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        _Amount(),
        _Speed(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
    )
