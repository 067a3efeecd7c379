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
from inference_store.cli.account import client, keep_account
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
from inference_store.cli.storing import store_file, value_of
from inference_store.connection import url_and_token
from inference_store.errors import NotFound
from inference_store.progress import Bar


@app.command()
def login(
    url: Annotated[
        str | None,
        typer.Argument(help="Of the store; http://127.0.0.1:8000 when not given."),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(help="Asked for, or read from a pipe, when not given."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Keep the address of a store and a token for it, once they work."""
    if token is None:
        token = _asked_token()
    url, token = url_and_token(url, token)
    with Client(url, token) as given:
        count = len(given.register.list_registered_models())
    path = keep_account(url, token or "")
    if as_json:
        output.show_json({"url": url, "models": count, "file": str(path)})
    else:
        print(f"Logged in to {url} ({count} models); kept in {path}")


@app.command()
def upload(
    model_id: ModelId,
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", exists=True, dir_okay=False, readable=True),
    ],
    metadata: Annotated[
        list[str] | None,
        typer.Option(help="camera=north, frame:int=13; may be repeated."),
    ] = None,
    prefix: Annotated[
        str, typer.Option(help="What the ids begin with, before the file's name.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Store files as inferences without answers, their names as ids."""
    given = dict(value_of(each) for each in metadata or ())
    names = [prefix + each.name for each in files]
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise ValueError(f"Several files are named {min(twice)}.")
    with client() as store, Bar(len(files) > 1, len(files), " files") as bar:
        model = store.register.get_registered_model(model_id)
        if model is None:
            raise NotFound(f"There is no model {model_id}.")
        for path, name in zip(files, names, strict=True):
            stored = store_file(store, model, path, name, given)
            if stored is None:
                raise NotFound(f"The model {model_id} is gone.")
            if as_json:
                output.show_json(stored)
            else:
                print(stored.inference_id)
            bar.advance()


@app.command()
def delete(
    model_id: ModelId,
    inference_ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="[INFERENCE]...", help="Ids of inferences."),
    ] = None,
    since: Since = None,
    until: Until = None,
    label: Label = None,
    min_score: MinScore = None,
    metadata: Comparisons = None,
    query: Query = None,
    everything: Annotated[
        bool, typer.Option("--all", help="All inferences of the model.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would go.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Delete inferences for good: by their ids, or all that match."""
    chosen = selection(since, until, label, min_score, metadata, query)
    if sum(map(bool, (inference_ids, chosen, everything))) != 1:
        raise ValueError("Say which: ids, or options that select some, or --all.")
    with client() as store:
        gone: Iterable[str]
        if inference_ids:
            gone = _delete_ids(store, model_id, inference_ids, yes, dry_run)
        else:
            gone = _delete_matching(store, model_id, chosen, yes, dry_run)
        for each in gone:
            if as_json:
                output.show_json({"inference_id": each, "deleted": not dry_run})
            elif dry_run:
                print(f"{output.plain(each)}\twould be deleted")
            else:
                print(output.plain(each))


def _delete_ids(
    store: Client, model_id: str, ids: list[str], yes: bool, dry_run: bool
) -> list[str]:
    for each in ids:
        if store.inference.get_inference(model_id, each) is None:
            raise NotFound(f"There is no inference {each} of {model_id}.")
    if not dry_run:
        _confirm(len(ids), model_id, yes)
        for each in ids:
            store.inference.delete_inference(model_id, each)
    return ids


def _delete_matching(
    store: Client, model_id: str, chosen: Selection, yes: bool, dry_run: bool
) -> Iterable[str]:
    request = chosen.request()
    if dry_run:
        found = store.inference.iter_inferences(model_id, request)
        return (each.inference_id for each in found)
    if not yes:
        _confirm(store.inference.count_inferences(model_id, request), model_id, yes)
    gone = store.inference.bulk_delete_inferences(
        model_id, request.filters, query=request.query
    )
    return [each for each in gone if each]


def _confirm(number: int, model_id: str, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise ValueError("Nobody is here to ask: say --yes, or --dry-run.")
    noun = "inference" if number == 1 else "inferences"
    typer.confirm(
        f"Delete {number} {noun} of {model_id} for good?", abort=True, err=True
    )


def _asked_token() -> str:
    """Return the token from a hidden prompt, or from the first line of a pipe."""
    if sys.stdin.isatty():
        return str(typer.prompt("Token", hide_input=True, err=True)).strip()
    token = sys.stdin.readline().strip()
    if not token:
        raise ValueError("No token was given.")
    return token
