"""Lenient parsing of a marker: keep the valid parts, and a warning for each that is not.

A value that cannot be parsed, a NUL in a text, an embedding of the wrong length: each becomes a
warning of the record, and the inference itself is stored.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, cast

import orjson
from django.conf import settings

from inferences.models import MetadataType, RegisteredModel
from inferences.models.metadata_values import (
    LEAVES_TOGETHER_MAX,
    READERS,
    UNSTORABLE,
    MetadataValue,
)
from inferences.predictions.parse import deconstructed
from inferences.predictions.parsers import Deconstructed
from inferences.real_numbers import fits, vector_problem
from ingest.markers import Marker
from protocols import open_inference

# Characters of texts that are cached: a camera's name comes with every picture.
SHORT = 128


class LenientReader:
    """Parses the parts one by one. ``warnings`` are those of the marker, and its own."""

    def __init__(self, warnings: Any) -> None:
        given = warnings if isinstance(warnings, list) else []
        self.warnings = [each for each in given if isinstance(each, str)]
        self.is_not_understood = False
        self.model_version = ""

    def metadata(self, items: Any) -> list[MetadataValue]:
        """Return the valid metadata values, the first of each key."""
        if not isinstance(items, list):
            if items is not None:
                self.warnings.append("metadata is not a list.")
            return []
        found: dict[str, MetadataValue] = {}
        leaves, limit = 0, settings.ISTORE_METADATA_MAX_ITEMS
        for item in items[:limit]:
            try:
                value = _metadata_value(item)
            except ValueError as error:
                self.warnings.append(f"Metadata was set aside: {error}")
                continue
            leaves += len(value.comparable)
            if leaves > LEAVES_TOGETHER_MAX:
                self.warnings.append(
                    f"Metadata was set aside: with {value.key!r} it has more than "
                    f"{LEAVES_TOGETHER_MAX} leaves together."
                )
                leaves -= len(value.comparable)
                continue
            if found.setdefault(value.key, value) is not value:
                self.warnings.append(f"Metadata was set aside: {value.key!r} again.")
        if len(items) > limit:
            self.warnings.append(
                f"Of {len(items)} metadata the first {limit} are kept."
            )
        return list(found.values())

    def degrees(self, name: str, value: Any, limit: int) -> float | None:
        """Return the coordinate if it is a finite number within ±``limit`` degrees, else None."""
        if value is None:
            return None
        if type(value) in (int, float) and math.isfinite(value) and abs(value) <= limit:
            return float(value)
        self.warnings.append(f"{name} was set aside: {value!r:.60}.")
        return None

    def text(self, name: str, value: Any) -> str:
        """Return the text if it can be stored, else ""."""
        if value is None:
            return ""
        if not isinstance(value, str) or UNSTORABLE.search(value):
            self.warnings.append(f"{name} was set aside: it cannot be stored as text.")
            return ""
        return value

    def answer(
        self, model: RegisteredModel, marker: Marker
    ) -> tuple[str, Deconstructed]:
        """Return the answer's text and the parsed answer.

        The text is "" where it must not be kept in the row, or cannot be stored.
        """
        body, header_length = marker.answer, marker.answer_facts.get("header_length")
        text = body if header_length is None else b""
        if marker.is_of_an_error:
            return self._text_of_answer(body, marker), Deconstructed()
        before = len(self.warnings)
        try:
            if header_length is None:
                outputs = open_inference.read_json(body)
            else:
                response = open_inference.read_response(body, header_length)
                outputs = [
                    open_inference.tensor_value(tensor) for tensor in response.outputs
                ]
                text = orjson.dumps(_as_json(response, outputs))
        except (ValueError, TypeError) as error:
            self.warnings.append(f"The answer could not be read: {error!s:.200}")
            found = Deconstructed()
        else:
            found = deconstructed(model, outputs)
            self.model_version = _version(
                outputs if header_length is None else response
            )
        self.warnings += found.warnings
        self.is_not_understood = bool(body) and not found.understood
        if self.is_not_understood and len(self.warnings) == before:
            self.warnings.append(
                f"The answer has none of the forms known of the task {model.task_type}."
            )
        return self._text_of_answer(text, marker), found

    def _text_of_answer(self, text: bytes, marker: Marker) -> str:
        """Return the answer's text to keep in the row; "" if it is too large or is no text."""
        # The text that was read from a stream is in no blob, so the row keeps all of it.
        is_large = len(text) > settings.ISTORE_ANSWER_INLINE_BYTES
        if is_large and not marker.is_read_out:
            return ""
        try:
            return self.text("The answer's text", text.decode())
        except UnicodeDecodeError:
            return ""

    def embedding(
        self, model: RegisteredModel, found: Deconstructed
    ) -> list[float] | None:
        """Return the embedding if it has the size of the model's and can be stored, else None."""
        vector, wanted = found.embedding, model.embedding_size
        if vector is None or wanted == 0:
            return None
        if len(vector) != wanted:
            self.warnings.append(
                f"The embedding has {len(vector)} numbers, those of the model {wanted}."
            )
            return None
        if message := vector_problem(vector)[0]:
            self.warnings.append(f"The embedding was set aside: {message}")
            return None
        return vector

    def detections(
        self, found: Deconstructed
    ) -> Sequence[tuple[str, float | None]] | None:
        """Return labels with scores; None instead of a score that does not fit into four bytes."""
        if found.pairs is None:
            return None
        kept = []
        for label, score in found.pairs:
            if score is not None and not fits(score):
                self.warnings.append(f"The score {score!s:.40} was set aside.")
                score = None
            kept.append((label, score))
        return kept


def _version(answer: Any) -> str:
    """Return the model version that the answer names; "" if it names none."""
    if isinstance(answer, open_inference.InferResponse):
        return answer.model_version or ""
    named = answer.get("model_version") if isinstance(answer, dict) else None
    return str(named) if isinstance(named, str | int) else ""


def _metadata_value(item: Any) -> MetadataValue:
    if not isinstance(item, dict):
        raise ValueError(f"{item!r:.60} is not an object.")
    key, type_, text = item.get("key"), item.get("type"), item.get("value")
    if not (isinstance(key, str) and isinstance(type_, str) and isinstance(text, str)):
        raise ValueError(f"{key!r:.60} has a key, type or value that is not a text.")
    if type_ not in READERS:
        raise ValueError(f"{key!r:.60} has the unknown type {type_!r:.20}.")
    if len(text) <= SHORT:
        return _remembered(key, type_, text)
    return _check(key, type_, text)


@lru_cache(maxsize=8192)
def _remembered(key: str, type_: str, text: str) -> MetadataValue:
    return _check(key, type_, text)


def _check(key: str, type_: str, text: str) -> MetadataValue:
    # One of ``READERS``, whose keys compare as texts.
    value = MetadataValue(key, cast(MetadataType, type_), text)
    _ = value.comparable
    return value


def _as_json(
    response: open_inference.InferResponse, outputs: list[Any]
) -> dict[str, Any]:
    named = {
        "model_name": response.model_name,
        "model_version": response.model_version,
        "id": response.id,
        "parameters": response.parameters or None,
    }
    present = {name: value for name, value in named.items() if value is not None}
    return {**present, "outputs": outputs}
