"""``istore metadata``: the values of one inference."""

from __future__ import annotations

from typing import Annotated

import typer

from inference_store import metadata_text
from inference_store.cli import output
from inference_store.cli.account import client
from inference_store.cli.app import AsJson, InferenceId, ModelId, app
from inference_store.cli.storing import value_of
from inference_store.errors import NotFound
from inference_store.models import Metadata, NewExtendedMetadataRequest

metadata = typer.Typer(help="The values of one inference.", no_args_is_help=True)
app.add_typer(metadata, name="metadata")


@metadata.command()
def show(model_id: ModelId, inference_id: InferenceId, as_json: AsJson = False) -> None:
    """The keys of an inference with their types and values."""
    with client() as store:
        _show(store.metadata.get_metadata(model_id, inference_id), as_json)


@metadata.command("set")
def set_(
    model_id: ModelId,
    inference_id: InferenceId,
    values: Annotated[
        list[str],
        typer.Argument(metavar="KEY=VALUE...", help="camera=north, frame:int=13."),
    ],
    replace: Annotated[
        bool, typer.Option("--replace", help="Also where the key has a value.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Give an inference values; the types are string, int, float and json."""
    items = [metadata_text.item(*value_of(each)) for each in values]
    with client() as store:
        write = (
            store.metadata.replace_metadata
            if replace
            else store.metadata.create_metadata
        )
        for item in items:
            body = NewExtendedMetadataRequest.model_validate(item)
            stored = write(model_id, inference_id, body)
            _show([stored] if stored else [], as_json)


@metadata.command()
def remove(
    model_id: ModelId,
    inference_id: InferenceId,
    key: Annotated[str, typer.Argument(help="The key that goes with its value.")],
    as_json: AsJson = False,
) -> None:
    """Take a key and its value from an inference."""
    with client() as store:
        gone = store.metadata.delete_metadata(model_id, inference_id, key)
    if gone is None:
        raise NotFound(f"There is no key {key} of {inference_id}.")
    output.show_json({"key": gone}) if as_json else print(output.plain(gone))


def _show(values: list[Metadata], as_json: bool) -> None:
    if as_json:
        for each in values:
            output.show_json(each)
        return
    rows = [(each.key, each.type, each.value) for each in values]
    output.show_rows(("key", "type", "value"), rows)
