"""Store files as inferences, for ``istore upload``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from inference_store import Client, metadata
from inference_store.models import (
    Inference,
    InferenceAction,
    Model,
    NewInferenceAndMetadataCollection,
    NewMetadataCollectionRequest,
    NewStandardMetadataRequest,
    TaskType,
)


def store_file(
    client: Client, model: Model, path: Path, inference_id: str, values: dict[str, Any]
) -> Inference | None:
    """Store a file as the input of a new inference without an answer."""
    data = path.read_bytes()
    task = TaskType(model.task_type)
    items = metadata.map_to_inference_store_metadata(values)
    standard = NewStandardMetadataRequest(
        data_hash=metadata.get_data_hash(data),
        data_size=len(data),
        task_type=task,
        inference_action=_action(task),
        **items["standard_metadata"],
    )
    collection = NewInferenceAndMetadataCollection(
        metadata=NewMetadataCollectionRequest(
            standard_metadata=standard, extended_metadata=items["extended_metadata"]
        )
    )
    return client.inference.create_inference_storage_request(
        model.model_id, inference_id, data, collection
    )


def value_of(text: str) -> tuple[str, str | int | float | dict[str, Any] | list[Any]]:
    """Return ``camera=north`` or ``frame:int=13`` as key and value. Raises ``ValueError``."""
    name, equals, value = text.partition("=")
    key, _, type_ = name.rpartition(":")
    if not equals or not name:
        raise ValueError(f"{text!r} is not like camera=north or frame:int=13.")
    if key and type_ in READERS:
        try:
            return key, READERS[type_](value)
        except ValueError:
            raise ValueError(f"{text!r}: {value!r} is no {type_}.") from None
    if name in ("latitude", "longitude"):
        return name, float(value)
    return name, value


def _json(text: str) -> dict[str, Any] | list[Any]:
    value = json.loads(text)
    if not isinstance(value, dict | list):
        raise ValueError("JSON metadata is an object or a list.")
    return value


READERS: dict[str, Callable[[str], Any]] = {
    "int": int,
    "float": float,
    "string": str,
    "json": _json,
}


def _action(task: TaskType) -> InferenceAction:
    if "Detection" in task:
        return InferenceAction.DETECT
    if "Embedding" in task:
        return InferenceAction.EMBED
    return InferenceAction.PREDICT
