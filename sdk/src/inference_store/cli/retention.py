"""``istore retention``: how long a model's inferences are kept, and what is removed."""

from __future__ import annotations

import re
import time
from typing import Annotated

import typer

from inference_store import Client
from inference_store.cli import output
from inference_store.cli.account import client
from inference_store.cli.app import AsJson, ModelId, app
from inference_store.errors import NotFound
from inference_store.models import (
    DeleteAction,
    NewRetentionPolicyRequest,
    NewRetentionTaskRequest,
    RetentionPolicy,
    RetentionPreview,
    RetentionTask,
)

LENGTH = re.compile(r"([0-9]{1,6})(h|d|w)")
HOURS = {"h": 1, "d": 24, "w": 24 * 7}
ENDED = ("complete", "failed", "stopped")
POLL_SECONDS = 0.5

retention = typer.Typer(
    help="How long a model's inferences are kept.", no_args_is_help=True
)
app.add_typer(retention, name="retention")


@retention.command()
def show(model_id: ModelId, as_json: AsJson = False) -> None:
    """Show the retention policy of a model."""
    with client() as store:
        _show_policy(_policy(store, model_id), as_json)


@retention.command("set")
def set_(
    model_id: ModelId,
    records: Annotated[
        str | None,
        typer.Option(help="How long records are kept: 72h, 30d, 8w, or never."),
    ] = None,
    inputs: Annotated[
        str | None,
        typer.Option(help="How long inputs are kept; as long as records if not given."),
    ] = None,
    hard: Annotated[
        bool | None,
        typer.Option("--hard/--soft", help="Remove permanently, or soft-delete."),
    ] = None,
    every: Annotated[
        str | None,
        typer.Option(help="The interval of automatic runs: 24h, 7d, or never."),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Count what would be removed now, and save nothing."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Create the retention policy of a model, or change the given parts of it."""
    with client() as store:
        former = store.retention_policy.get_retention_policy(model_id)
        body = _change(former, records, inputs, hard, every)
        if dry_run:
            preview = store.retention_policy.preview_retention_policy(model_id, body)
            if preview is None:
                raise NotFound(f"There is no model {model_id}.")
            _show_preview(preview, as_json)
            return
        policies = store.retention_policy
        policy = (
            policies.replace_retention_policy(model_id, former.id, body)
            if former
            else policies.create_retention_policy(model_id, body)
        )
    if policy is None:
        raise NotFound(f"There is no model {model_id}.")
    _show_policy(policy, as_json)


@retention.command()
def remove(model_id: ModelId, as_json: AsJson = False) -> None:
    """Delete the retention policy of a model: nothing is removed any more."""
    with client() as store:
        policy = _policy(store, model_id)
        store.retention_policy.delete_retention_policy(model_id, policy.id)
    output.show_json({"id": policy.id}) if as_json else print(policy.id)


@retention.command()
def run(
    model_id: ModelId,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Count what would be removed, and remove nothing."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Run the policy now, and wait until it has ended."""
    with client() as store:
        body = NewRetentionTaskRequest(
            dry_run=dry_run, retention_policy_id=_policy(store, model_id).id
        )
        task = store.retention_task.create_retention_task(model_id, body)
        while task and task.state not in ENDED:
            time.sleep(POLL_SECONDS)
            task = store.retention_task.get_retention_task(model_id, task.id)
    if task is None:
        raise NotFound("The retention task does not exist any more.")
    _show_task(task, as_json)
    if task.state != "complete":
        raise typer.Exit(1)


def _change(
    former: RetentionPolicy | None,
    records: str | None,
    inputs: str | None,
    hard: bool | None,
    every: str | None,
) -> NewRetentionPolicyRequest:
    """Return the new policy; options that are not given stay as they were.

    Raises ``ValueError``.
    """
    if former is None:
        age = -1 if records in (None, "never") else hours(records)
        if inputs is None and age == -1:
            raise ValueError("Say how long --records or --inputs are kept.")
        blob_age, action, interval = age, DeleteAction.SOFT, 0
    else:
        age = former.maximum_record_age
        if records is not None:
            age = -1 if records == "never" else hours(records)
        blob_age, interval = former.maximum_blob_age, former.automated_interval or 0
        action = DeleteAction(former.delete_action)
    if every is not None:
        interval = 0 if every == "never" else hours(every)
    if hard is not None:
        action = DeleteAction.HARD if hard else DeleteAction.SOFT
    return NewRetentionPolicyRequest(
        maximum_record_age=age,
        maximum_blob_age=blob_age if inputs is None else hours(inputs),
        delete_action=action,
        automated_interval=interval,
    )


def hours(length: str) -> int:
    """Return a duration such as ``30d`` in hours. Raises ``ValueError``."""
    match = LENGTH.fullmatch(length.strip())
    if not match:
        raise ValueError(f"{length!r} is not a duration such as 72h, 30d or 8w.")
    return int(match[1]) * HOURS[match[2]]


def length(number: int) -> str:
    """Return hours as a duration such as ``30d`` or ``7h``; -1 is ``never``."""
    if number < 0:
        return "never"
    return f"{number // 24}d" if number and number % 24 == 0 else f"{number}h"


def _policy(store: Client, model_id: str) -> RetentionPolicy:
    policy = store.retention_policy.get_retention_policy(model_id)
    if policy is None:
        raise NotFound(f"There is no model {model_id}, or it has no retention policy.")
    return policy


def _show_policy(policy: RetentionPolicy, as_json: bool) -> None:
    if as_json:
        output.show_json(policy)
        return
    every = policy.automated_interval
    rows = [
        ("records", length(policy.maximum_record_age)),
        ("inputs", length(policy.maximum_blob_age)),
        ("action", policy.delete_action),
        ("every", length(every) if every else "manually"),
    ]
    output.show_rows(("", ""), rows)


def _show_preview(preview: RetentionPreview, as_json: bool) -> None:
    if as_json:
        output.show_json(preview)
        return
    parts = {
        "records to be removed": preview.records,
        "inputs to be removed": preview.inputs,
        "protected records kept": preview.protected_records,
        "protected inputs kept": preview.protected_inputs,
    }
    sign = "" if preview.is_exact else "at least "
    rows = [(name, f"{sign}{part.count}") for name, part in parts.items()]
    output.show_rows(("", ""), rows)


def _show_task(task: RetentionTask, as_json: bool) -> None:
    if as_json:
        output.show_json(task)
        return
    rows = [("state", task.state)]
    if task.dry_run:
        rows += [
            ("records to be removed", str(task.total_record_count)),
            ("inputs to be removed", str(task.total_blob_count)),
        ]
    else:
        rows += [
            ("records removed", str(task.deleted_record_count)),
            ("inputs removed", str(task.deleted_blob_count)),
        ]
    if task.reason:
        rows.append(("reason", task.reason))
    output.show_rows(("", ""), rows)
