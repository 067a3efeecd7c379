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
from inference_store.cli.app import AsJson, ModelId, app
from inference_store.cli.details import panel
from inference_store.cli.selection import (
    Comparisons,
    Label,
    MinScore,
    Query,
    Since,
    Until,
    selection,
)
from inference_store.cli.tail import MOST, follow
from inference_store.errors import NotFound
from inference_store.models import (
    Inference,
    MetadataStatistics,
    MetadataStatisticsType,
    NewGetMetadataStatisticsRequest,
)

PAGE = 500


@app.command()
def models(as_json: AsJson = False) -> None:
    """The models that the token reaches."""
    with client() as store:
        found = store.register.list_registered_models()
    if as_json:
        for each in found:
            output.show_json(each)
        return
    rows = [
        (
            each.model_id,
            each.project_id or "",
            each.task_type or "",
            "yes" if each.enable_inference_storage else "no",
        )
        for each in found
    ]
    output.show_rows(("model", "project", "task", "stores"), rows)


@app.command()
def find(
    model_id: ModelId,
    query: Annotated[
        str | None,
        typer.Argument(help='A text query: label:car meta.camera="12".'),
    ] = None,
    since: Since = None,
    until: Until = None,
    label: Label = None,
    min_score: MinScore = None,
    metadata: Comparisons = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 50,
    oldest: Annotated[bool, typer.Option("--oldest", help="Oldest first.")] = False,
    presign: Annotated[bool, typer.Option(help="With links to the inputs.")] = False,
    fields: Annotated[
        str,
        typer.Option(
            metavar="NAME,…",
            help="What was understood: detections, probabilities, entities, prediction, "
            "prompt, response.",
        ),
    ] = "",
    as_json: AsJson = False,
) -> None:
    """The inferences that match, newest first."""
    names = [name.strip() for name in fields.split(",")] if fields else []
    chosen = selection(since, until, label, min_score, metadata, query)
    asked = chosen.parameters() | {
        "presign": presign,
        "fields": names,
        "direction": "asc" if oldest else "desc",
    }
    with client() as store:
        found = _pages(store, model_id, asked, limit)
        if as_json:
            for each in found:
                output.show_json(each)
        else:
            rows = (output.inference_row(each, names) for each in found)
            output.show_rows((*output.COLUMNS, *names), rows)


@app.command()
def count(
    model_id: ModelId,
    query: Annotated[
        str | None,
        typer.Argument(help='A text query: label:car meta.camera="12".'),
    ] = None,
    since: Since = None,
    until: Until = None,
    label: Label = None,
    min_score: MinScore = None,
    metadata: Comparisons = None,
    as_json: AsJson = False,
) -> None:
    """How many inferences match, exactly."""
    request = selection(since, until, label, min_score, metadata, query).request()
    with client() as store:
        number = store.inference.count_inferences(model_id, request)
    if as_json:
        output.show_json({"count": number})
    else:
        print(number)


@app.command()
def show(
    model_id: ModelId,
    inference_id: Annotated[str, typer.Argument(metavar="INFERENCE")],
    as_json: AsJson = False,
) -> None:
    """One inference with its metadata and answer."""
    with client() as store:
        found = store.inference.get_inference(model_id, inference_id, presign=True)
    if found is None:
        raise NotFound(f"There is no inference {inference_id} of {model_id}.")
    if as_json:
        output.show_json(found)
    else:
        output.console().print(panel(found))


@app.command()
def stats(
    model_id: ModelId,
    key: Annotated[str, typer.Argument(help="The key of the metadata.")],
    type_: Annotated[
        MetadataStatisticsType | None,
        typer.Option("--type", help="The type of its values; found when not given."),
    ] = None,
    bins: Annotated[
        int | None,
        typer.Option(min=1, help="Into how many bins numbers are sorted."),
    ] = None,
    since: Since = None,
    until: Until = None,
    label: Label = None,
    min_score: MinScore = None,
    metadata: Comparisons = None,
    query: Query = None,
    as_json: AsJson = False,
) -> None:
    """How the values of a metadata key are distributed."""
    chosen = selection(since, until, label, min_score, metadata, query).request()
    with client() as store:
        types = [type_] if type_ else _types(store, model_id, key)
        if len(types) > 1:
            kinds = " and ".join(f"{each} values" for each in types)
            print(f"{output.plain(key)} has {kinds}.", file=sys.stderr)
        for each in types:
            request = NewGetMetadataStatisticsRequest(
                filters=chosen.filters,
                query=chosen.query,
                key=key,
                type=each,
                distribution_bin_count=bins if each != "string" else None,
            )
            found = store.metadata.get_metadata_statistics(model_id, request)
            if found is None:
                raise NotFound(f"There is no model {model_id}.")
            if as_json:
                output.show_json({**found.model_dump(mode="json"), "type": each.value})
            else:
                _show_statistics(found, key if len(types) == 1 else f"{key} ({each})")


def _types(store: Client, model_id: str, key: str) -> list[MetadataStatisticsType]:
    """Return the types of a key's values, with int and float combined as number."""
    known = store.metadata.get_metadata_key_type_counts(model_id)
    if known is None:
        raise NotFound(f"There is no model {model_id}.")
    found = {name for name, count in known.counts.get(key, {}).items() if count}
    if not found:
        near = difflib.get_close_matches(key, known.counts, n=3)
        hint = f" Near to it: {', '.join(near)}." if near else ""
        raise NotFound(f"No inference of {model_id} has the key {key!r}.{hint}")
    kinds = MetadataStatisticsType
    types = [kinds.STRING] if "string" in found else []
    if {"int", "float"} <= found:
        types.append(kinds.NUMBER)
    else:
        types += [kinds(each) for each in ("int", "float") if each in found]
    if not types:
        raise ValueError(f"{key} holds JSON alone, of which there are no statistics.")
    return types


def _show_statistics(found: MetadataStatistics, title: str) -> None:
    numbers = found.distribution or {}
    largest = max(numbers.values(), default=0)
    rows = [(name, str(n), output.bar(n, largest)) for name, n in numbers.items()]
    output.show_rows((title, "count", ""), rows)
    if output.is_terminal():
        limits = f", {found.min:g} to {found.max:g}" if found.min is not None else ""
        print(f"{found.count} values{limits}")


@app.command()
def tail(
    model_id: ModelId,
    since: Since = None,
    label: Label = None,
    min_score: MinScore = None,
    metadata: Comparisons = None,
    query: Query = None,
    lines: Annotated[
        int,
        typer.Option("-n", "--lines", min=0, max=MOST, help="How many to begin with."),
    ] = 10,
    interval: Annotated[
        float, typer.Option(min=0.1, help="Seconds between two looks.")
    ] = 1.0,
    as_json: AsJson = False,
) -> None:
    """The newest inferences, and each new one as it comes, until Ctrl-C."""
    chosen = selection(since, None, label, min_score, metadata, query).parameters()
    with suppress(KeyboardInterrupt), client() as store:
        for each in follow(store, model_id, lines, chosen, interval):
            if as_json:
                output.show_json(each)
            else:
                row = output.inference_row(each)
                print("  ".join(output.plain(part) for part in row))
            sys.stdout.flush()


def _pages(
    store: Client, model_id: str, asked: dict[str, Any], limit: int
) -> Iterator[Inference]:
    """Yield up to ``limit`` inferences, fetched page by page as they are printed."""
    cursor = None
    while limit > 0:
        page = store.inference.list_inferences(
            model_id, **asked, limit=min(limit, PAGE), cursor=cursor
        )
        yield from page
        limit -= len(page)
        cursor = page.next
        if cursor is None:
            return
