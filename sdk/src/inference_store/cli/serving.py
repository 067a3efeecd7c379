"""Commands that call a model through the proxy."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from inference_store.cli import output
from inference_store.cli.account import client
from inference_store.cli.app import AsJson, ModelId, Values, app
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
    str | None, typer.Option(help="A text instead of files; - reads it from a pipe.")
]
Id = Annotated[
    str | None, typer.Option("--id", help="The id of the inference, for one input.")
]
Wait = Annotated[
    bool, typer.Option("--wait", help="Return when the inferences can be found.")
]


def _add_command(action: str, description: str) -> None:
    @app.command(action.replace("_", "-"), help=description)
    def call(
        model_id: ModelId,
        files: Files = None,
        text: Text = None,
        metadata: Values = None,
        inference_id: Id = None,
        wait: Wait = False,
        as_json: AsJson = False,
    ) -> None:
        inputs = _inputs(files, text)
        if inference_id is not None and len(inputs) > 1:
            raise ValueError("An --id is for one input.")
        values = dict(map(value_of, metadata or ()))
        with client() as store:
            model = store.get_model(model_id)
            for data in inputs:
                answer = getattr(model, action)(data, values or None, inference_id)
                if wait and answer.recorded:
                    answer.inferences(WAIT_SECONDS)
                _show(answer, as_json)


for _action, _result in {
    "predict": "labels",
    "predict_proba": "the probability of each class",
    "detect": "the objects in a picture",
    "embed": "an embedding",
}.items():
    _add_command(
        _action,
        f"Call a model for {_result} through the proxy, and print each inference's id and answer.",
    )


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
    text = json.dumps(_data(answer), ensure_ascii=False)
    if output.is_terminal() and len(text) > LONGEST_ANSWER:
        text = f"{text[:LONGEST_ANSWER]}…"
    rows = [(ids, answer.record_status, text)]
    output.show_rows(("inference", "copy", "answer"), rows)


def _data(answer: ModelAnswer) -> Any:
    """Return the data of the tensors by name; an answer of another form as it is."""
    named = [(tensor.get("name"), tensor.get("data")) for tensor in answer.outputs]
    return dict(named) if named else dict(answer)
