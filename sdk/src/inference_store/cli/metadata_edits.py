"""The commands login, upload and delete, which change something here or in the store."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from inference_store import Client
from inference_store.cli import output
from inference_store.cli.account import client, write_account
from inference_store.cli.app import (
    AsJson,
    DryRun,
    Everything,
    InferenceIds,
    ModelId,
    Values,
    Yes,
    app,
    check_one_way,
    confirm,
)
from inference_store.cli.selection import Selection, selecting
from inference_store.cli.storing import store_file, value_of
from inference_store.connection import url_and_token
from inference_store.errors import NotFound
from inference_store.progress import Bar


@app.command()
def login(
    url: Annotated[
        str | None,
        typer.Argument(help="URL of the store; http://127.0.0.1:8000 when not given."),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(help="Prompted for, or read from a pipe, when not given."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Save the URL of a store and a token, after a first request with them."""
    if token is None:
        token = _read_token()
    url, token = url_and_token(url, token)
    with Client(url, token) as store:
        count = len(store.register.list_registered_models())
    path = write_account(url, token or "")
    if as_json:
        output.show_json({"url": url, "models": count, "file": str(path)})
    else:
        print(f"Logged in to {url} ({count} models); saved in {path}")


@app.command()
def upload(
    model_id: ModelId,
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", exists=True, dir_okay=False, readable=True),
    ],
    metadata: Values = None,
    prefix: Annotated[
        str, typer.Option(help="A prefix of the ids, before the names of the files.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Store files as inferences without answers, their names as ids."""
    values = dict(map(value_of, metadata or ()))
    names = [prefix + path.name for path in files]
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        raise ValueError(f"Several files are named {min(repeated)}.")
    with client() as store, Bar(len(files) > 1, len(files), " files") as bar:
        model = store.register.get_registered_model(model_id)
        if model is None:
            raise NotFound(f"There is no model {model_id}.")
        for path, name in zip(files, names, strict=True):
            stored = store_file(store, model, path, name, values)
            if stored is None:
                raise NotFound(f"There is no model {model_id} any more.")
            if as_json:
                output.show_json(stored)
            else:
                print(stored.inference_id)
            bar.advance()


@app.command()
@selecting()
def delete(
    model_id: ModelId,
    chosen: Selection,
    inference_ids: InferenceIds = None,
    everything: Everything = False,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Delete inferences permanently: by their ids, or all that match."""
    check_one_way(inference_ids, bool(chosen), everything)
    with client() as store:
        deleted: Iterable[str]
        if inference_ids:
            deleted = _delete_ids(store, model_id, inference_ids, yes, dry_run)
        else:
            deleted = _delete_matching(store, model_id, chosen, yes, dry_run)
        for inference_id in deleted:
            if as_json:
                output.show_json({"inference_id": inference_id, "deleted": not dry_run})
            elif dry_run:
                print(f"{output.plain(inference_id)}\twould be deleted")
            else:
                print(output.plain(inference_id))


def _delete_ids(
    store: Client, model_id: str, ids: list[str], yes: bool, dry_run: bool
) -> list[str]:
    for inference_id in ids:
        if store.inference.get_inference(model_id, inference_id) is None:
            raise NotFound(f"There is no inference {inference_id} of {model_id}.")
    if not dry_run:
        _confirm(len(ids), model_id, yes)
        for inference_id in ids:
            store.inference.delete_inference(model_id, inference_id)
    return ids


def _delete_matching(
    store: Client, model_id: str, chosen: Selection, yes: bool, dry_run: bool
) -> Iterable[str]:
    request = chosen.request()
    if dry_run:
        matching = store.inference.iter_inferences(model_id, request)
        return (inference.inference_id for inference in matching)
    if not yes:
        _confirm(store.inference.count_inferences(model_id, request), model_id, yes)
    deleted = store.inference.bulk_delete_inferences(
        model_id, request.filters, query=request.query
    )
    return [inference_id for inference_id in deleted if inference_id]


def _confirm(number: int, model_id: str, yes: bool) -> None:
    if not yes:
        noun = "inference" if number == 1 else "inferences"
        confirm(f"Delete {number} {noun} of {model_id} permanently?")


def _read_token() -> str:
    """Return the token from a hidden prompt, or from the first line of a pipe."""
    if sys.stdin.isatty():
        return str(typer.prompt("Token", hide_input=True, err=True)).strip()
    token = sys.stdin.readline().strip()
    if not token:
        raise ValueError("No token was given.")
    return token
