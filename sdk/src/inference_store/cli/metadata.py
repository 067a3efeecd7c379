"""``istore metadata``: the metadata of one inference."""

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

metadata = typer.Typer(help="The metadata of one inference.", no_args_is_help=True)
app.add_typer(metadata, name="metadata")


@metadata.command()
def show(model_id: ModelId, inference_id: InferenceId, as_json: AsJson = False) -> None:
    """List the metadata of an inference: keys, types and values."""
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
        bool, typer.Option("--replace", help="Replace values that exist.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Set metadata of an inference; the types are string, int, float and json."""
    items = [metadata_text.item(*value_of(text)) for text in values]
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
    key: Annotated[str, typer.Argument(help="The metadata key to delete.")],
    as_json: AsJson = False,
) -> None:
    """Delete a metadata key and its value from an inference."""
    with client() as store:
        deleted = store.metadata.delete_metadata(model_id, inference_id, key)
    if deleted is None:
        raise NotFound(f"There is no key {key} of {inference_id}.")
    output.show_json({"key": deleted}) if as_json else print(output.plain(deleted))


def _show(values: list[Metadata], as_json: bool) -> None:
    columns = ("key", "type", "value")
    output.show_list(values, columns, lambda m: (m.key, m.type, m.value), as_json)
