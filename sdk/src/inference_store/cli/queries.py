"""The commands that query the store: models, find, count, show, stats, tail."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Annotated, Any

import typer

from inference_store import Client
from inference_store.cli import output
from inference_store.cli.account import client
from inference_store.cli.app import AsJson, InferenceId, ModelId, app
from inference_store.cli.details import panel
from inference_store.cli.selection import Selection, TextQuery, selecting
from inference_store.cli.tail import PAGE_LIMIT, follow
from inference_store.errors import NotFound
from inference_store.models import (
    Inference,
    MetadataStatistics,
    MetadataStatisticsType,
    Model,
    NewGetMetadataStatisticsRequest,
)

PAGE = 500


@app.command()
def models(as_json: AsJson = False) -> None:
    """List the models of the token's project."""
    with client() as store:
        registered = store.register.list_registered_models()

    def row(model: Model) -> tuple[str, ...]:
        stores = "yes" if model.enable_inference_storage else "no"
        return model.model_id, model.project_id or "", model.task_type or "", stores

    output.show_list(registered, ("model", "project", "task", "stores"), row, as_json)


@app.command()
@selecting(query=TextQuery)
def find(
    model_id: ModelId,
    chosen: Selection,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 50,
    oldest: Annotated[bool, typer.Option("--oldest", help="Oldest first.")] = False,
    presign: Annotated[bool, typer.Option(help="With links to the inputs.")] = False,
    fields: Annotated[
        str,
        typer.Option(
            metavar="NAME,…",
            help="Fields read from answers and inputs: detections, probabilities, "
            "entities, prediction, prompt, response.",
        ),
    ] = "",
    as_json: AsJson = False,
) -> None:
    """List the inferences that match, newest first."""
    names = [name.strip() for name in fields.split(",")] if fields else []
    parameters = chosen.parameters() | {
        "presign": presign,
        "fields": names,
        "direction": "asc" if oldest else "desc",
    }
    with client() as store:
        output.show_list(
            _pages(store, model_id, parameters, limit),
            (*output.COLUMNS, *names),
            lambda inference: output.inference_row(inference, names),
            as_json,
        )


@app.command()
@selecting(query=TextQuery)
def count(model_id: ModelId, chosen: Selection, as_json: AsJson = False) -> None:
    """Count the inferences that match, exactly."""
    with client() as store:
        number = store.inference.count_inferences(model_id, chosen.request())
    if as_json:
        output.show_json({"count": number})
    else:
        print(number)


@app.command()
def show(model_id: ModelId, inference_id: InferenceId, as_json: AsJson = False) -> None:
    """Show one inference with its metadata and answer."""
    with client() as store:
        inference = store.inference.get_inference(model_id, inference_id, presign=True)
    if inference is None:
        raise NotFound(f"There is no inference {inference_id} of {model_id}.")
    if as_json:
        output.show_json(inference)
    else:
        output.console().print(panel(inference))


@app.command()
@selecting()
def stats(
    model_id: ModelId,
    key: Annotated[str, typer.Argument(help="The metadata key.")],
    chosen: Selection,
    type_: Annotated[
        MetadataStatisticsType | None,
        typer.Option("--type", help="The type of its values; all when not given."),
    ] = None,
    bins: Annotated[
        int | None,
        typer.Option(min=1, help="The number of bins of a distribution of numbers."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show how the values of a metadata key are distributed."""
    selected = chosen.request()
    with client() as store:
        types = [type_] if type_ else _types(store, model_id, key)
        if len(types) > 1:
            kinds = " and ".join(f"{kind} values" for kind in types)
            print(f"{output.plain(key)} has {kinds}.", file=sys.stderr)
        for kind in types:
            request = NewGetMetadataStatisticsRequest(
                filters=selected.filters,
                query=selected.query,
                key=key,
                type=kind,
                distribution_bin_count=bins if kind != "string" else None,
            )
            values = store.metadata.get_metadata_statistics(model_id, request)
            if values is None:
                raise NotFound(f"There is no model {model_id}.")
            if as_json:
                output.show_json({**values.model_dump(mode="json"), "type": kind.value})
            else:
                _show_statistics(values, key if len(types) == 1 else f"{key} ({kind})")


def _types(store: Client, model_id: str, key: str) -> list[MetadataStatisticsType]:
    """Return the types of a key's values, with int and float combined as number."""
    known = store.metadata.get_metadata_key_type_counts(model_id)
    if known is None:
        raise NotFound(f"There is no model {model_id}.")
    stored = {name for name, count in known.counts.get(key, {}).items() if count}
    if not stored:
        near = difflib.get_close_matches(key, known.counts, n=3)
        hint = f" Similar keys: {', '.join(near)}." if near else ""
        raise NotFound(f"No inference of {model_id} has the key {key!r}.{hint}")
    kinds = MetadataStatisticsType
    types = [kinds.STRING] if "string" in stored else []
    if {"int", "float"} <= stored:
        types.append(kinds.NUMBER)
    else:
        types += [kinds(name) for name in ("int", "float") if name in stored]
    if not types:
        raise ValueError(f"{key} holds only JSON values, which have no statistics.")
    return types


def _show_statistics(values: MetadataStatistics, title: str) -> None:
    numbers = values.distribution or {}
    largest = max(numbers.values(), default=0)
    rows = [(name, str(n), output.bar(n, largest)) for name, n in numbers.items()]
    output.show_rows((title, "count", ""), rows)
    if output.is_terminal():
        limits = f", {values.min:g} to {values.max:g}" if values.min is not None else ""
        print(f"{values.count} values{limits}")


@app.command()
@selecting(until=None)
def tail(
    model_id: ModelId,
    chosen: Selection,
    lines: Annotated[
        int,
        typer.Option(
            "-n", "--lines", min=0, max=PAGE_LIMIT, help="How many to begin with."
        ),
    ] = 10,
    interval: Annotated[
        float, typer.Option(min=0.1, help="Seconds between two polls.")
    ] = 1.0,
    as_json: AsJson = False,
) -> None:
    """Print the newest inferences, and each new one as it is stored, until Ctrl-C."""
    parameters = chosen.parameters()
    with suppress(KeyboardInterrupt), client() as store:
        for inference in follow(store, model_id, lines, parameters, interval):
            if as_json:
                output.show_json(inference)
            else:
                row = output.inference_row(inference)
                print("  ".join(output.plain(cell) for cell in row))
            sys.stdout.flush()


def _pages(
    store: Client, model_id: str, parameters: dict[str, Any], limit: int
) -> Iterator[Inference]:
    """Yield up to ``limit`` inferences, fetched page by page as they are printed."""
    cursor = None
    while limit > 0:
        page = store.inference.list_inferences(
            model_id, **parameters, limit=min(limit, PAGE), cursor=cursor
        )
        yield from page
        limit -= len(page)
        cursor = page.next
        if cursor is None:
            return
