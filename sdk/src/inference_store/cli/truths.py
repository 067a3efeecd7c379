"""The commands truth and quality: ground truth, and how good the answers were."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
from inference_store.errors import NotFound
from inference_store.models import JoinedGroundTruth, NewQualityRequest, Quality


@app.command()
def truth(
    model_id: ModelId,
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", exists=True, readable=True),
    ],
    form: Annotated[
        str | None,
        typer.Option(
            help="csv, parquet or ndjson, if the name tells none; coco, yolo, voc or "
            "label_studio."
        ),
    ] = None,
    delimiter: Annotated[
        str | None, typer.Option(help="comma, semicolon, tab or bar.")
    ] = None,
    missing: Annotated[
        str | None, typer.Option(help="Words between commas that are gaps.")
    ] = None,
    ignore_unknown: Annotated[
        bool, typer.Option("--ignore-unknown", help="Skip columns of other names.")
    ] = False,
    join_by: Annotated[
        str | None,
        typer.Option(
            help="Of annotations: inference_id, data_hash or metadata.<key> that the "
            "names of pictures are."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Give inferences what came true, from tables, lines, or files of annotations."""
    total = JoinedGroundTruth()
    with client() as store:
        for path in files:
            total += store.ground_truth.upload_ground_truth(
                model_id,
                path,
                form,
                delimiter=delimiter,
                missing=missing,
                ignore_unknown=ignore_unknown,
                join_by=join_by,
            )
    if as_json:
        output.show_json(total)
    else:
        for each in total.refusals:
            print(output.plain(f"{each.place}: {each.why}"))
        print(
            f"{total.actuals} actuals: {total.joined} inferences joined "
            f"({total.changed} changed), {total.waiting} waiting, "
            f"{total.removed} of removed inferences, {total.refused} refused"
        )
    if total.refused:
        raise typer.Exit(1)


@app.command()
def quality(
    model_id: ModelId,
    by: Annotated[
        str | None,
        typer.Option(help="time, version, environment, batch or metadata.<key>."),
    ] = None,
    interval: Annotated[
        str | None, typer.Option(help="Of time: hour, day, week or month.")
    ] = None,
    since: Since = None,
    until: Until = None,
    label: Label = None,
    min_score: MinScore = None,
    metadata: Comparisons = None,
    query: Query = None,
    as_json: AsJson = False,
) -> None:
    """How good the answers were, of the inferences whose ground truth is known."""
    chosen = selection(since, until, label, min_score, metadata, query).request()
    request = NewQualityRequest(
        filters=chosen.filters, query=chosen.query, group_by=by, interval=interval
    )
    with client() as store:
        told = store.quality.get_quality(model_id, request)
    if told is None:
        raise NotFound(f"There is no model {model_id}.")
    if as_json:
        output.show_json(told)
    else:
        _show(told)


def _show(told: Quality) -> None:
    rows = [("rows", f"{told.rows}")]
    rows += [(name, _figure(value)) for name, value in told.figures.items()]
    output.show_rows(("figure", "value"), rows)
    names = [name for name, _ in told.groups[0].figures.items()] if told.groups else []
    if told.groups:
        output.show_rows(
            ("group", "rows", *names),
            (
                (
                    each.group,
                    f"{each.rows}",
                    *(_figure(each.figures.get(name)) for name in names),
                )
                for each in told.groups
            ),
        )
    if not told.is_complete:
        print(f"Only the newest {told.considered} were considered.")
    for note in told.notes:
        print(output.plain(note))


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
