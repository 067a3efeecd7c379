"""Commands that call a model through the proxy."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from inference_store.cli import output
from inference_store.cli.account import client
from inference_store.cli.app import AsJson, ModelId, app
from inference_store.cli.storing import value_of
from inference_store.serving import ModelAnswer

WAIT_SECONDS = 30.0
LONGEST_ANSWER = 500  # characters of an answer on a terminal; a pipe gets all

Files = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="[FILE]...", exists=True, dir_okay=False, readable=True, help="Inputs."
    ),
]
Text = Annotated[
    str | None, typer.Option(help="Instead of files; - reads it from a pipe.")
]
Values = Annotated[
    list[str] | None,
    typer.Option("--metadata", help="camera=north, frame:int=13; may be repeated."),
]
Id = Annotated[str | None, typer.Option("--id", help="The id that one input asks for.")]
Wait = Annotated[
    bool, typer.Option("--wait", help="Return when the inferences can be found.")
]


@app.command()
def predict(
    model_id: ModelId,
    files: Files = None,
    text: Text = None,
    metadata: Values = None,
    inference_id: Id = None,
    wait: Wait = False,
    as_json: AsJson = False,
) -> None:
    """Call a model through the proxy and print each inference's id and answer."""
    _call("predict", model_id, files, text, metadata, inference_id, wait, as_json)


@app.command("predict-proba")
def predict_proba(
    model_id: ModelId,
    files: Files = None,
    text: Text = None,
    metadata: Values = None,
    inference_id: Id = None,
    wait: Wait = False,
    as_json: AsJson = False,
) -> None:
    """As predict, for the probability of each class."""
    _call("predict_proba", model_id, files, text, metadata, inference_id, wait, as_json)


@app.command()
def detect(
    model_id: ModelId,
    files: Files = None,
    text: Text = None,
    metadata: Values = None,
    inference_id: Id = None,
    wait: Wait = False,
    as_json: AsJson = False,
) -> None:
    """As predict, for what is where in a picture."""
    _call("detect", model_id, files, text, metadata, inference_id, wait, as_json)


@app.command()
def embed(
    model_id: ModelId,
    files: Files = None,
    text: Text = None,
    metadata: Values = None,
    inference_id: Id = None,
    wait: Wait = False,
    as_json: AsJson = False,
) -> None:
    """As predict, for an embedding."""
    _call("embed", model_id, files, text, metadata, inference_id, wait, as_json)


def _call(
    action: str,
    model_id: str,
    files: list[Path] | None,
    text: str | None,
    metadata: list[str] | None,
    inference_id: str | None,
    wait: bool,
    as_json: bool,
) -> None:
    inputs = _inputs(files, text)
    if inference_id is not None and len(inputs) > 1:
        raise ValueError("An --id is for one input.")
    values = dict(value_of(each) for each in metadata or ())
    with client() as store:
        model = store.get_model(model_id)
        for each in inputs:
            answer = getattr(model, action)(each, values or None, inference_id)
            if wait and answer.recorded:
                answer.inferences(WAIT_SECONDS)
            _show(answer, as_json)


def _inputs(files: list[Path] | None, text: str | None) -> list[bytes | Path]:
    if bool(files) == (text is not None):
        raise ValueError("Give files, or --text.")
    if text is None:
        return list(files or ())
    return [sys.stdin.buffer.read() if text == "-" else text.encode()]


def _show(answer: ModelAnswer, as_json: bool) -> None:
    ids = ", ".join(answer.inference_ids)
    if as_json:
        output.show_json(
            {
                "inference_ids": answer.inference_ids,
                "record_status": answer.record_status,
                "answer": dict(answer),
            }
        )
        return
    said = json.dumps(_data(answer), ensure_ascii=False)
    if output.is_terminal() and len(said) > LONGEST_ANSWER:
        said = f"{said[:LONGEST_ANSWER]}…"
    rows = [(ids, answer.record_status, said)]
    output.show_rows(("inference", "copy", "answer"), rows)


def _data(answer: ModelAnswer) -> Any:
    """Return the data of the tensors by name; an answer of another form as it is."""
    named = [(each.get("name"), each.get("data")) for each in answer.outputs]
    return dict(named) if named else dict(answer)
