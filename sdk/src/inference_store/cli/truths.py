"""The commands truth and quality: set ground truth, and measure answers by it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from inference_store.cli import output
from inference_store.cli.account import client
from inference_store.cli.app import AsJson, ModelId, app
from inference_store.cli.selection import Selection, selecting
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
            help="csv, parquet or ndjson, if the file's name does not say it; coco, "
            "yolo, voc or label_studio for annotations."
        ),
    ] = None,
    delimiter: Annotated[
        str | None, typer.Option(help="Of a CSV file: comma, semicolon, tab or bar.")
    ] = None,
    missing: Annotated[
        str | None,
        typer.Option(help="Texts that stand for a missing value, by commas."),
    ] = None,
    ignore_unknown: Annotated[
        bool, typer.Option("--ignore-unknown", help="Skip columns with unknown names.")
    ] = False,
    join_by: Annotated[
        str | None,
        typer.Option(
            help="What the names of pictures in annotations are: inference_id, "
            "data_hash or metadata.<key>."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Set the ground truth of inferences, from tables, NDJSON or annotations."""
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
        for refusal in total.refusals:
            print(output.plain(f"{refusal.place}: {refusal.why}"))
        print(
            f"{total.actuals} ground truths: {total.joined} joined to inferences "
            f"({total.changed} changed), {total.waiting} waiting, "
            f"{total.removed} for removed inferences, {total.refused} refused"
        )
    if total.refused:
        raise typer.Exit(1)


@app.command()
@selecting()
def quality(
    model_id: ModelId,
    chosen: Selection,
    by: Annotated[
        str | None,
        typer.Option(
            help="Group by time, version, environment, batch or metadata.<key>."
        ),
    ] = None,
    interval: Annotated[
        str | None, typer.Option(help="Of --by time: hour, day, week or month.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure the answers of inferences that have ground truth."""
    selected = chosen.request()
    request = NewQualityRequest(
        filters=selected.filters, query=selected.query, group_by=by, interval=interval
    )
    with client() as store:
        report = store.quality.get_quality(model_id, request)
    if report is None:
        raise NotFound(f"There is no model {model_id}.")
    if as_json:
        output.show_json(report)
    else:
        _show(report)


def _show(report: Quality) -> None:
    rows = [("rows", f"{report.rows}")]
    rows += [(name, _figure(value)) for name, value in report.figures.items()]
    output.show_rows(("figure", "value"), rows)
    if report.groups:
        names = list(report.groups[0].figures)
        rows_of_groups = (
            (
                group.group,
                f"{group.rows}",
                *(_figure(group.figures.get(name)) for name in names),
            )
            for group in report.groups
        )
        output.show_rows(("group", "rows", *names), rows_of_groups)
    if not report.is_complete:
        print(f"Only the newest {report.considered} were considered.")
    for note in report.notes:
        print(output.plain(note))


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
