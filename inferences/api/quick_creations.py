"""Creates in the form that every client sends, read without the serializers' overhead.

A batch has a thousand lines, and declared fields cost ten times what the checks do. What
is read here is read as ``CreationSerializer`` reads it; at the first thing out of the
ordinary the answer is None, and the serializer reads the body or says what is wrong.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.conf import settings

from inferences.models import InferenceAction, MetadataType, RegisteredModel, TaskType
from inferences.models.metadata_values import MetadataValue
from inferences.store.creation import Creation
from istore.api.ordinary_bodies import Unusual, one_of, read_flag, require
from istore.outside_ids import is_outside_id

HASH = re.compile("[0-9a-fA-F]{64}")
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|\+00:00)", re.ASCII)
ACTIONS = dict(zip(InferenceAction.labels, InferenceAction, strict=True))
TASKS, TYPES = frozenset(TaskType.values), frozenset(MetadataType.values)
SIZE_MOST = 2**63 - 1
SOURCE_CHARS = 255
DETECTIONS_MAX: int = settings.ISTORE_DETECTIONS_MAX
EMBEDDING_MAX: int = settings.ISTORE_EMBEDDING_MAX
METADATA_MAX_ITEMS: int = settings.ISTORE_METADATA_MAX_ITEMS


def read_quickly(model: RegisteredModel, body: Any) -> Creation | None:
    """The create that a body says; None when it is not of the ordinary form."""
    try:
        whole = _members(body, BODY)
        if whole.pop("model_id", model.model_id) != model.model_id:
            return None
        collection = _members(whole.pop("data"), COLLECTION)
        metadata = _members(collection.pop("metadata"), METADATA)
        standard = metadata["standard_metadata"]
        del standard["task_type"]
        return Creation(
            parts=collection,
            metadata=tuple(metadata.get("extended_metadata", ())),
            **whole,
            **standard,
        )
    except (Unusual, LookupError, TypeError, ArithmeticError, ValueError):
        return None


def _members(value: Any, readers: dict[str, Callable[[Any], Any]]) -> dict[str, Any]:
    if type(value) is not dict:
        raise Unusual
    return {name: readers[name](each) for name, each in value.items()}


def _outside_id(value: Any) -> str:
    require(type(value) is str and is_outside_id(value))
    return str(value)


def _moment(value: Any) -> datetime:
    require(MOMENT.fullmatch(value) is not None)
    return datetime.fromisoformat(value)


def _hash(value: Any) -> bytes:
    require(HASH.fullmatch(value) is not None)
    return bytes.fromhex(value)


def _size(value: Any) -> int:
    require(type(value) is int and 0 <= value <= SIZE_MOST)
    return int(value)


def _text(value: Any, limit: int) -> str:
    require(type(value) is str and len(value) <= limit)
    return str(value)


def _source(value: Any) -> str:
    return _text(value, SOURCE_CHARS)


def _number(value: Any) -> float:
    require(type(value) in (int, float))
    number = float(value)
    require(math.isfinite(number))
    return number


def _degrees(most: float) -> Callable[[Any], float]:
    def read(value: Any) -> float:
        number = _number(value)
        require(-most <= number <= most)
        return number

    return read


def _items(value: Any) -> list[dict[str, Any]]:
    require(type(value) is list and len(value) <= DETECTIONS_MAX)
    require({dict}.issuperset(map(type, value)))
    return list(value)


def _vector(value: Any) -> list[float]:
    require(type(value) is list and len(value) <= EMBEDDING_MAX)
    return [_number(each) for each in value]


def _metadata(value: Any) -> list[MetadataValue]:
    require(type(value) is list and len(value) <= METADATA_MAX_ITEMS)
    return [_metadatum(each) for each in value]


def _metadatum(value: Any) -> MetadataValue:
    require(type(value) is dict and len(value) == 3)
    key, type_, text = value["key"], value["type"], value["value"]
    require(type(key) is str and type(text) is str and type_ in TYPES)
    return MetadataValue(key=key, type=type_, text=text)


def _standard(value: Any) -> dict[str, Any]:
    read = _members(value, STANDARD)
    require(read.keys() >= NEEDED)
    return read


STANDARD: dict[str, Callable[[Any], Any]] = {
    "data_hash": _hash,
    "data_size": _size,
    "task_type": one_of(TASKS),
    "inference_action": ACTIONS.__getitem__,
    "data_source": _source,
    "latitude": _degrees(90),
    "longitude": _degrees(180),
}
NEEDED = {"data_hash", "data_size", "task_type", "inference_action"}
METADATA: dict[str, Callable[[Any], Any]] = {
    "standard_metadata": _standard,
    "extended_metadata": _metadata,
}
COLLECTION: dict[str, Callable[[Any], Any]] = {
    "object_detection": _items,
    "oriented_object_detection": _items,
    "image_classification": _items,
    "image_segmentation": _items,
    "embedding": _vector,
    "metadata": lambda value: value,  # read by its own members
}
BODY: dict[str, Callable[[Any], Any]] = {
    "model_id": _outside_id,
    "inference_id": _outside_id,
    "data": lambda value: value,
    "is_protected": read_flag,
    "created_at": _moment,
}
