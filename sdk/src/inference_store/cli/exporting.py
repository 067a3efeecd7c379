"""``istore export``: have the store write an archive, wait for it, download and check it."""

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

from inference_store.cli import output
from inference_store.cli.account import client
from inference_store.cli.app import AsJson, Container, Format, ModelId, Output, app
from inference_store.cli.selection import Selection, selecting
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
@selecting()
def export(
    model_id: ModelId,
    chosen: Selection,
    format_: Format = "chariot",
    to: Output = None,
    container: Container = "zip",
    annotations: Annotated[
        bool, typer.Option("--annotations", help="Include the answers as annotations.")
    ] = False,
    with_metadata: Annotated[
        bool, typer.Option("--with-metadata", help="Include custom metadata.")
    ] = False,
    option: Annotated[
        list[str] | None,
        typer.Option(help="An option of the format, name=value; may be repeated."),
    ] = None,
    include: Annotated[
        list[str] | None, typer.Option(help="An id to add; may be repeated.")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(help="An id to leave out; may be repeated.")
    ] = None,
    only_included: Annotated[
        bool, typer.Option("--only-included", help="Export only the ids of --include.")
    ] = False,
    task: Annotated[
        str | None,
        typer.Option(help="Wait for this export task, instead of starting one."),
    ] = None,
    no_download: Annotated[
        bool,
        typer.Option(
            "--no-download", help="Start the export task, and do not wait for it."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Export the inferences that match as an archive, and download it."""
    if not no_download:
        check_place(to)
    with client() as store:
        if task is None:
            selected = chosen.request()
            body = NewExportTaskRequest(
                filters=selected.filters,
                query=selected.query,
                include_inference_ids=include or [],
                exclude_inference_ids=exclude or [],
                include_inferences_as_annotations=annotations,
                include_custom_metadata=with_metadata,
                only_included=only_included or None,
                format=format_,
                container=container,
                options=dict(map(_pair, option or ())) or None,
            )
            export_task = store.export_task.create_export_task(model_id, body)
        else:
            export_task = store.export_task.get_export_task(model_id, task)
        if export_task is None:
            raise NotFound(f"There is no such model or export: {model_id}.")
        if no_download:
            _show(export_task, None, as_json)
            return
        task_id = export_task.id

        def look() -> ExportTask:
            current = store.export_task.get_export_task(model_id, task_id)
            if current is None:
                raise NotFound(f"There is no export {task_id} of {model_id}.")
            return current

        try:
            path = download_archive(export_task, look, to)
        except KeyboardInterrupt:
            resume = f"istore export {model_id} --task {task_id}"
            raise ExportFailed(f"The store continues the export: {resume}") from None
        _show(look(), path, as_json)


@app.command()
def formats(as_json: AsJson = False) -> None:
    """List the formats of an archive."""
    with client() as store:
        output.show_list(
            store.export_task.list_export_formats(),
            ("format", "name", "what it is"),
            lambda known: (known.name, known.title, known.description),
            as_json,
        )


def download_archive(
    task: Archive, look: Callable[[], Archive], to: Path | None
) -> Path:
    """Wait for the task, download its archive, and return its path; ``look`` polls the task."""
    with progress_bars() as progress:
        task = wait_for(task, look, progress)
        if not task.presigned_url:
            why = f": {task.reason}" if task.reason else ""
            raise ExportFailed(f"The export {task.id} ended {task.state}{why}")
        path = _place(task, to)
        bar = progress.add_task("downloading", total=task.archive_size, kind="bytes")
        download(task, path, lambda count: progress.advance(bar, count))
    return path


def wait_for(task: T, look: Callable[[], T], progress: Progress) -> T:
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
        fields = task.model_dump(mode="json")
        output.show_json(fields | {"path": str(path) if path else None})
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
