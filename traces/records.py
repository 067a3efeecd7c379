"""Make the record of a span: the metadata it is found by, its answer, and what is noted with it.

What cannot be stored as it is becomes a warning of the record, and the span is stored all the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from django.conf import settings

from inferences.models import InferenceAction, MetadataType, RegisteredModel
from inferences.models.metadata_values import (
    LEAVES_TOGETHER_MAX,
    RESERVED,
    MetadataValue,
)
from inferences.predictions.derived_metadata import derived_metadata
from inferences.predictions.parse import deconstructed
from inferences.predictions.parsers import Deconstructed
from inferences.real_numbers import fits, vector_problem
from inferences.store.notes import FAILURE, NOT_UNDERSTOOD, WARNINGS, Failure
from inferences.store.recording import NewInference
from protocols.otlp.draft import EMBEDDING
from protocols.otlp.readings import Reading
from protocols.otlp.spans import Span
from protocols.otlp.values import dump
from traces.models import inference_id_of

JSON = "application/json"
ORIGIN = datetime(1970, 1, 1, tzinfo=UTC)
SHORT = 200  # characters of values that are remembered: many spans share them
TEXT_CHARS = 4000  # of a fact that is kept as metadata

Fact = tuple[str, MetadataType, str]


def moment_of(nanoseconds: int) -> datetime:
    """Return a time of a span, to the microsecond. Raises ``OverflowError`` beyond the year 9999."""
    return ORIGIN + timedelta(microseconds=nanoseconds // 1000)


def compose(
    model: RegisteredModel, span: Span, reading: Reading, now: datetime
) -> tuple[NewInference, bytes]:
    """Return the record of a span, and its input; without a key of that, as it is not put yet."""
    warnings: list[str] = []
    request = dump(reading.request) if reading.request else ""
    content = request.encode()
    found = Deconstructed()
    if reading.answer is not None:
        found = deconstructed(model, reading.answer)
        warnings += found.warnings
    metadata = _metadata(span, reading, warnings)
    answer = "" if reading.answer is None else dump(reading.answer)
    action = InferenceAction.PREDICT
    if reading.kind == EMBEDDING:
        action = InferenceAction.EMBED
    return NewInference(
        inference_id=inference_id_of(span),
        inference_action=action,
        data_hash=hashlib.sha256(content).digest(),
        data_size=len(content),
        created_at=moment_of(span.start),
        metadata=metadata,
        detections=_detections(found, warnings),
        embedding=_embedding(model, found, warnings),
        data=answer,
        data_content_type=JSON if content else "",
        content=[answer, span.end, span.is_error],
        notes=_notes(span, reading, now, warnings, found),
        derived=derived_metadata(found, metadata),
        # A repeat of the span is a copy, even if a later release reads it in another way.
        reservation=span.digest,
        request=request,
    ), content


def _metadata(span: Span, reading: Reading, warnings: list[str]) -> list[MetadataValue]:
    """Return the facts of the span, and then the metadata that the application gave."""
    kept: dict[str, MetadataValue] = {}
    leaves = 0
    for key, type_, text in (*_facts(span, reading), *_given(reading.metadata)):
        if key in kept or key in RESERVED:
            continue
        try:
            value = _value(key, type_, text)
        except ValueError as error:
            warnings.append(f"Metadata was set aside: {error!s:.200}")
            continue
        if len(kept) >= settings.ISTORE_METADATA_MAX_ITEMS:
            warnings.append(
                f"The first {settings.ISTORE_METADATA_MAX_ITEMS} metadata are kept."
            )
            break
        leaves += len(value.comparable)
        if leaves > LEAVES_TOGETHER_MAX:
            warnings.append(f"Metadata was set aside: {key!r} has too many leaves.")
            break
        kept[key] = value
    return list(kept.values())


def _facts(span: Span, reading: Reading) -> Iterator[Fact]:
    """Yield the facts under the names that calls through the proxy have, too."""
    texts = {
        "span_kind": reading.kind,
        "span_name": span.name,
        "conversation_id": reading.session,
        "user_id": reading.user,
        "service": reading.service,
        "environment": reading.environment,
        "model_version": reading.version,
        "provider": reading.provider,
        "request_id": reading.request_id,
        "status_message": reading.message,
    }
    for name, text in texts.items():
        if text:
            yield name, MetadataType.STRING, text[:TEXT_CHARS]
    for name, count in reading.usage.items():
        yield name, MetadataType.INT, str(count)
    numbers = {
        "cost": reading.cost,
        "time_to_first_token": reading.time_to_first_token,
    }
    for name, number in numbers.items():
        if number is not None:
            yield name, MetadataType.FLOAT, repr(float(number))
    if parameters := {n: v for n, v in reading.parameters.items() if _is_plain(v)}:
        yield "parameters", MetadataType.JSON, dump(parameters)
    if reading.tags:
        yield "tags", MetadataType.JSON, dump(reading.tags)


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float | bool)


def _given(metadata: dict[str, Any]) -> Iterator[Fact]:
    """Yield metadata of the application, each value with the type that it has."""
    for name, value in metadata.items():
        if isinstance(value, bool):
            yield name, MetadataType.STRING, "true" if value else "false"
        elif isinstance(value, str):
            yield name, MetadataType.STRING, value
        elif isinstance(value, int):
            yield name, MetadataType.INT, str(value)
        elif isinstance(value, float):
            yield name, MetadataType.FLOAT, repr(value)
        elif value is not None:
            yield name, MetadataType.JSON, dump(value)


def _value(key: str, type_: MetadataType, text: str) -> MetadataValue:
    if len(text) <= SHORT:
        return _remembered(key, type_, text)
    return MetadataValue(key, type_, text)


@lru_cache(maxsize=8192)
def _remembered(key: str, type_: MetadataType, text: str) -> MetadataValue:
    return MetadataValue(key, type_, text)


def _detections(
    found: Deconstructed, warnings: list[str]
) -> list[tuple[str, float | None]] | None:
    """Return labels with scores; None instead of a score that does not fit into four bytes."""
    if found.pairs is None:
        return None
    return [(label, _score(score, warnings)) for label, score in found.pairs]


def _score(score: float | None, warnings: list[str]) -> float | None:
    if score is None or fits(score):
        return score
    warnings.append(f"The score {score!s:.40} was set aside.")
    return None


def _embedding(
    model: RegisteredModel, found: Deconstructed, warnings: list[str]
) -> list[float] | None:
    """Return the embedding if it has the size of the model's and can be stored."""
    vector = found.embedding
    if vector is None or len(vector) != model.embedding_size:
        return None
    if message := vector_problem(vector)[0]:
        warnings.append(f"The embedding was set aside: {message}")
        return None
    return vector


def _notes(
    span: Span,
    reading: Reading,
    now: datetime,
    warnings: Iterable[str],
    found: Deconstructed,
) -> dict[str, Any]:
    notes: dict[str, Any] = {
        "times": {
            "received": moment_of(span.start).isoformat(),
            "responded": moment_of(max(span.start, span.end)).isoformat(),
            "indexed": now.isoformat(),
        },
        "span": {"conventions": reading.conventions, **reading.rest},
        WARNINGS: list(dict.fromkeys(warnings)),
    }
    if reading.is_error:
        notes[FAILURE] = Failure.ERROR.value
    if reading.answer is not None and not found.understood:
        notes[NOT_UNDERSTOOD] = True
        notes[WARNINGS].append("The answer has none of the forms that are known.")
    return notes
