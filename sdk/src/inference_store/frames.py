"""Inferences as a pandas data frame (``pip install 'inference-store[pandas]'``)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from inference_store.models import Inference, Metadata

if TYPE_CHECKING:
    import pandas

READERS: dict[str, Callable[[str], Any]] = {
    "int": int,
    "float": float,
    "json": json.loads,
}

UNDERSTOOD = {
    "detections",
    "probabilities",
    "entities",
    "prediction",
    "prompt",
    "response",
    "unread",
}


def to_pandas(inferences: Iterable[Inference]) -> pandas.DataFrame:
    """Return inferences as a data frame, one row each, in the given order.

    Parameters:
        inferences: from ``filter_inferences`` or ``iter_inferences``.

    Returns:
        A frame with the fields of an inference as columns, ``latitude`` and
        ``longitude``, and a column ``metadata.<key>`` for each key, its values as int,
        float, str or parsed JSON. Fields read from answers, such as ``detections``, are
        columns if the request named them. Example:
        ``to_pandas(iter_inferences("harbour-detector"))["metadata.camera"]``.

    Raises:
        ImportError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        message = "to_pandas needs pandas: pip install 'inference-store[pandas]'"
        raise ImportError(message) from error
    return pandas.DataFrame([_row(inference) for inference in inferences])


def _row(inference: Inference) -> dict[str, Any]:
    row = inference.model_dump(exclude={"metadata", "data_coordinates", *UNDERSTOOD})
    # Fields of answers that the request did not name are left out.
    row |= inference.model_dump(include=UNDERSTOOD, exclude_unset=True)
    point = inference.data_coordinates
    row["latitude"] = point.latitude if point else None
    row["longitude"] = point.longitude if point else None
    for metadata in inference.metadata or ():
        row[f"metadata.{metadata.key}"] = _value(metadata)
    return row


def _value(metadata: Metadata) -> Any:
    return READERS.get(metadata.type, str)(metadata.value)
