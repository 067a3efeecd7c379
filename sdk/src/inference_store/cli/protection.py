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
from inference_store.cli.app import AsJson, ModelId, app
from inference_store.cli.selection import (
    Comparisons,
    Label,
    MinScore,
    Query,
    Selection,
    Since,
    Until,
    selection,
)
from inference_store.errors import NotFound
from inference_store.models import Erasure, NewErasureRequest
from inference_store.protection import InputExpiredWarning

ENDED = ("complete", "failed", "stopped")
LOOK_SECONDS = 1.0

Ids = Annotated[
    list[str] | None,
    typer.Argument(metavar="[INFERENCE]...", help="Ids of inferences."),
]
Everything = Annotated[bool, typer.Option("--all", help="All of the model.")]
Reason = Annotated[str, typer.Option(help="Why; kept in the audit log for good.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only count.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


@app.command()
def protect(
    model_id: ModelId,
    inference_ids: Ids = None,
    reason: Reason = "",
    off: Annotated[
        bool, typer.Option("--off", help="Take the protection back.")
    ] = False,
    since: Since = None,
    until: Until = None,
    label: Label = None,
    min_score: MinScore = None,
    metadata: Comparisons = None,
    query: Query = None,
    everything: Everything = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Protect inferences from retention: by their ids, or all that match."""
    which = selection(since, until, label, min_score, metadata, query)
    _one_way(inference_ids, which, everything)
    with client() as store:
        if inference_ids:
            with warnings.catch_warnings(record=True) as lost:
                warnings.simplefilter("always", InputExpiredWarning)
                count = _protect_ids(
                    store, model_id, inference_ids, reason, not off, dry_run
                )
            for each in lost:
                print(output.plain(str(each.message)), file=sys.stderr)
        else:
            request = which.request()
            done = store.protection.protect_inferences(
                model_id,
                request.filters,
                reason,
                not off,
                query=request.query,
                dry_run=dry_run,
            )
            count = done.count
            if done.input_expired:
                said = "would keep" if dry_run else "keeps"
                print(
                    f"Of {done.input_expired} the input had expired: this {said} "
                    "their records alone.",
                    file=sys.stderr,
                )
    _tell(count, "no longer protected" if off else "protected", dry_run, as_json)


def _protect_ids(
    store: Client,
    model_id: str,
    ids: list[str],
    reason: str,
    is_protected: bool,
    dry_run: bool,
) -> int:
    for each in ids:
        if dry_run:
            found: object = store.inference.get_inference(model_id, each)
        else:
            found = store.protection.protect_inference(
                model_id, each, reason, is_protected
            )
        if found is None:
            raise NotFound(f"There is no inference {each} of {model_id}.")
    return len(ids)


@app.command()
def deleted(
    model_id: ModelId,
    since: Since = None,
    until: Until = None,
    label: Label = None,
    min_score: MinScore = None,
    metadata: Comparisons = None,
    query: Query = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
    as_json: AsJson = False,
) -> None:
    """What was soft-deleted and may be restored, newest first."""
    request = selection(since, until, label, min_score, metadata, query).request()
    with client() as store:
        found = store.deleted.filter_deleted_inferences(
            model_id, request.filters, limit, query=request.query
        )
    if as_json:
        for each in found:
            output.show_json(each)
        return
    rows = ((f"{d.deleted_at:%Y-%m-%d %H:%M}", *output.inference_row(d)) for d in found)
    output.show_rows(("deleted", *output.COLUMNS), rows)


@app.command()
def restore(
    model_id: ModelId,
    inference_ids: Ids = None,
    since: Since = None,
    until: Until = None,
    label: Label = None,
    min_score: MinScore = None,
    metadata: Comparisons = None,
    query: Query = None,
    everything: Everything = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Bring back what was soft-deleted: by ids, or all that match."""
    which = selection(since, until, label, min_score, metadata, query)
    _one_way(inference_ids, which, everything)
    with client() as store:
        if inference_ids:
            count = store.deleted.restore_inferences(
                model_id, inference_ids, dry_run=dry_run
            )
        else:
            request = which.request()
            count = store.deleted.restore_inferences(
                model_id, None, request.filters, query=request.query, dry_run=dry_run
            )
    _tell(count, "restored", dry_run, as_json)


@app.command()
def erase(
    project_id: Annotated[str, typer.Argument(metavar="PROJECT")],
    key: Annotated[str, typer.Argument(help="A metadata key, or data_source.")],
    value: Annotated[
        str | None, typer.Argument(help="Read from a pipe when not given.")
    ] = None,
    type_: Annotated[str, typer.Option("--type", help="As in filters.")] = "string",
    why: Reason = "",
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Erase whatever carries a metadata value, protected or not, and show the report."""
    if value is None:
        value = sys.stdin.readline().rstrip("\n")
    request = NewErasureRequest(
        key=key, type=type_, value=value, why=why, dry_run=dry_run
    )
    with client() as store:
        if not dry_run and not yes:
            counted = _wait(
                store,
                store.erasure.create_erasure(
                    project_id, request.model_copy(update={"dry_run": True})
                ),
            )
            found = counted.report.get("found", {}).get("records", 0)
            _confirm(f"Erase {found} inferences of {project_id} for good?")
        done = _wait(store, store.erasure.create_erasure(project_id, request))
    if as_json:
        output.show_json(done)
    else:
        output.show_rows(("what", "count"), _rows(done))
    if done.state != "complete":
        raise typer.Exit(1)


def _wait(store: Client, task: Erasure) -> Erasure:
    while task.state not in ENDED:
        time.sleep(LOOK_SECONDS)
        found = store.erasure.get_erasure(task.project_id, task.id)
        if found is None:
            raise NotFound("The erasure is gone.")
        task = found
    return task


def _rows(task: Erasure) -> list[tuple[str, str]]:
    told = [("state", task.state), ("task", task.id)]
    for part, counts in task.report.items():
        told += [(f"{part}: {name}", f"{count}") for name, count in counts.items()]
    return told


def _one_way(ids: list[str] | None, which: Selection, everything: bool) -> None:
    if sum(map(bool, (ids, which, everything))) != 1:
        raise ValueError("Say which: ids, or options that select some, or --all.")


def _confirm(question: str) -> None:
    if not sys.stdin.isatty():
        raise ValueError("Nobody is here to ask: say --yes, or --dry-run.")
    typer.confirm(question, abort=True, err=True)


def _tell(count: int, what: str, dry_run: bool, as_json: bool) -> None:
    if as_json:
        output.show_json({"count": count, "dry_run": dry_run})
    else:
        noun = "inference" if count == 1 else "inferences"
        print(f"{count} {noun} {'would be ' if dry_run else ''}{what}.")
