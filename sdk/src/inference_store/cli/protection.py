"""The commands protect, deleted, restore and erase."""

from __future__ import annotations

import sys
import time
import warnings
from typing import Annotated

import typer

from inference_store import Client
from inference_store.cli import output
from inference_store.cli.account import client
from inference_store.cli.app import (
    AsJson,
    DryRun,
    Everything,
    InferenceIds,
    ModelId,
    Yes,
    app,
    check_one_way,
    confirm,
)
from inference_store.cli.selection import Selection, selecting
from inference_store.errors import NotFound
from inference_store.models import DeletedInference, Erasure, NewErasureRequest
from inference_store.protection import InputExpiredWarning

ENDED = ("complete", "failed", "stopped")
POLL_SECONDS = 1.0

Reason = Annotated[
    str, typer.Option(help="The reason, which stays in the audit log permanently.")
]


@app.command()
@selecting()
def protect(
    model_id: ModelId,
    chosen: Selection,
    inference_ids: InferenceIds = None,
    reason: Reason = "",
    off: Annotated[bool, typer.Option("--off", help="End the protection.")] = False,
    everything: Everything = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Protect inferences from retention: by their ids, or all that match."""
    check_one_way(inference_ids, bool(chosen), everything)
    with client() as store:
        if inference_ids:
            with warnings.catch_warnings(record=True) as expired:
                warnings.simplefilter("always", InputExpiredWarning)
                count = _protect_ids(
                    store, model_id, inference_ids, reason, not off, dry_run
                )
            for warning in expired:
                print(output.plain(str(warning.message)), file=sys.stderr)
        else:
            request = chosen.request()
            result = store.protection.protect_inferences(
                model_id,
                request.filters,
                reason,
                not off,
                query=request.query,
                dry_run=dry_run,
            )
            count = result.count
            if result.input_expired:
                kept = "would be kept" if dry_run else "are kept"
                print(
                    f"The inputs of {result.input_expired} had expired: only their "
                    f"records {kept}.",
                    file=sys.stderr,
                )
    change = "no longer protected" if off else "protected"
    _print_count(count, change, dry_run, as_json)


def _protect_ids(
    store: Client,
    model_id: str,
    ids: list[str],
    reason: str,
    is_protected: bool,
    dry_run: bool,
) -> int:
    for inference_id in ids:
        if dry_run:
            found: object = store.inference.get_inference(model_id, inference_id)
        else:
            found = store.protection.protect_inference(
                model_id, inference_id, reason, is_protected
            )
        if found is None:
            raise NotFound(f"There is no inference {inference_id} of {model_id}.")
    return len(ids)


@app.command()
@selecting()
def deleted(
    model_id: ModelId,
    chosen: Selection,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
    as_json: AsJson = False,
) -> None:
    """List soft-deleted inferences, which can be restored, newest first."""
    request = chosen.request()
    with client() as store:
        page = store.deleted.filter_deleted_inferences(
            model_id, request.filters, limit, query=request.query
        )

    def row(deleted: DeletedInference) -> tuple[str, ...]:
        return f"{deleted.deleted_at:%Y-%m-%d %H:%M}", *output.inference_row(deleted)

    output.show_list(page, ("deleted", *output.COLUMNS), row, as_json)


@app.command()
@selecting()
def restore(
    model_id: ModelId,
    chosen: Selection,
    inference_ids: InferenceIds = None,
    everything: Everything = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Restore soft-deleted inferences: by their ids, or all that match."""
    check_one_way(inference_ids, bool(chosen), everything)
    with client() as store:
        if inference_ids:
            count = store.deleted.restore_inferences(
                model_id, inference_ids, dry_run=dry_run
            )
        else:
            request = chosen.request()
            count = store.deleted.restore_inferences(
                model_id, None, request.filters, query=request.query, dry_run=dry_run
            )
    _print_count(count, "restored", dry_run, as_json)


@app.command()
def erase(
    project_id: Annotated[str, typer.Argument(metavar="PROJECT")],
    key: Annotated[str, typer.Argument(help="A metadata key, or data_source.")],
    value: Annotated[
        str | None, typer.Argument(help="Read from a pipe when not given.")
    ] = None,
    type_: Annotated[
        str, typer.Option("--type", help="The type of the value, as in filters.")
    ] = "string",
    why: Reason = "",
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Erase all inferences with a metadata value, even protected ones, and show the report."""
    if value is None:
        value = sys.stdin.readline().rstrip("\n")
    request = NewErasureRequest(
        key=key, type=type_, value=value, why=why, dry_run=dry_run
    )
    with client() as store:
        if not dry_run and not yes:
            trial = request.model_copy(update={"dry_run": True})
            report = _run(store, project_id, trial).report
            count = report.get("found", {}).get("records", 0)
            confirm(f"Erase {count} inferences of {project_id} permanently?")
        task = _run(store, project_id, request)
    if as_json:
        output.show_json(task)
    else:
        output.show_rows(("what", "count"), _rows(task))
    if task.state != "complete":
        raise typer.Exit(1)


def _run(store: Client, project_id: str, request: NewErasureRequest) -> Erasure:
    """Start an erasure, wait until it has ended, and return it."""
    task: Erasure | None = store.erasure.create_erasure(project_id, request)
    while task is not None and task.state not in ENDED:
        time.sleep(POLL_SECONDS)
        task = store.erasure.get_erasure(task.project_id, task.id)
    if task is None:
        raise NotFound("The erasure does not exist any more.")
    return task


def _rows(task: Erasure) -> list[tuple[str, str]]:
    rows = [("state", task.state), ("task", task.id)]
    for part, counts in task.report.items():
        rows += [(f"{part}: {name}", f"{count}") for name, count in counts.items()]
    return rows


def _print_count(count: int, change: str, dry_run: bool, as_json: bool) -> None:
    if as_json:
        output.show_json({"count": count, "dry_run": dry_run})
    else:
        noun = "inference" if count == 1 else "inferences"
        print(f"{count} {noun} {'would be ' if dry_run else ''}{change}.")
