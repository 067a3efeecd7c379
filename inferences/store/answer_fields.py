"""The fields of answers (detections, prediction, …), parsed on demand, for one or for a page.

The store keeps answers as the models wrote them. The fields are parsed from the answers and
inputs each time, with the model's settings of today. All that is read for a page is bounded
in number and size. A field that was not read is None, and ``unread`` gives the reason.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from inferences.models import Inference
from inferences.predictions.columns import values_of
from inferences.predictions.geometry import geometry_of
from inferences.predictions.model_types import type_of
from inferences.predictions.model_types.named_entities import entity_value
from inferences.predictions.parse import deconstructed
from inferences.predictions.parsers import Deconstructed, Detection
from inferences.predictions.parsers.prompts import is_textual, read_prompt
from inferences.predictions.parsers.values import Entities, Text
from inferences.store.answer_text import named_text
from istore import blobs

OF_ANSWER = ("detections", "probabilities", "entities", "prediction", "response")
FIELDS = (*OF_ANSWER, "prompt")
READERS = 8  # blobs read at the same time: an object store answers slowly
PROMPT_MAX_BYTES = 4 * 1024**2
ANSWER_MAX_BYTES = 8 * 1024**2
TOO_LARGE, PAGE_TOO_LARGE, MISSING = "too-large", "page-too-large", "missing"


class UnknownField(ValueError):
    """A requested field that does not exist. The message names it and the fields there are."""


def read_names(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names of the fields, each once. Raises ``UnknownField``."""
    wanted = tuple(dict.fromkeys(names))
    if unknown := [name for name in wanted if name not in FIELDS]:
        named = ", ".join(f"{name[:40]!r}" for name in unknown[:5])
        raise UnknownField(f"No such field: {named}. There are {', '.join(FIELDS)}.")
    return wanted


@dataclass(frozen=True, slots=True)
class _Source:
    """Where a text is: at hand, in a blob, or missing for a reason."""

    text: str | None = None
    key: str = ""
    size: int = 0
    reason: str = ""


class Budget:
    """The number of bytes that the answers and inputs of one page may still take."""

    def __init__(self, most: int) -> None:
        self.left = most

    def take(self, source: _Source, most: int) -> _Source:
        """Take the size of a source off the budget, or return why it is too large."""
        if source.size > most:
            return _Source(reason=TOO_LARGE)
        if source.size > self.left:
            return _Source(reason=PAGE_TOO_LARGE)
        self.left -= source.size
        return source


def read_fields(
    inferences: Sequence[Inference], names: Collection[str]
) -> list[dict[str, Any]]:
    """Return the named fields of each inference; ``unread`` gives reasons for missing ones.

    Answers and inputs in blobs are read in parallel, within ``ISTORE_FIELDS_MAX_BYTES`` for
    all of them. The first inferences of a page are read first.
    """
    if not names:
        return [{} for _ in inferences]
    wants_answer = not set(names).isdisjoint(OF_ANSWER)
    wants_prompt = "prompt" in names
    budget = Budget(settings.ISTORE_FIELDS_MAX_BYTES)
    answers, inputs = [], []
    for each in inferences:
        # The prompt may be in the answer, as one of the named inputs of a collection.
        needs_answer = wants_answer or (wants_prompt and _asks_in_text(each))
        answer = _answer_source(each) if needs_answer else _Source()
        answers.append(budget.take(answer, ANSWER_MAX_BYTES))
        prompt = _input_source(each) if wants_prompt else _Source()
        inputs.append(budget.take(prompt, PROMPT_MAX_BYTES))
    texts = _read(
        [(each, ANSWER_MAX_BYTES) for each in answers]
        + [(each, PROMPT_MAX_BYTES) for each in inputs]
    )
    count = len(inferences)
    return [
        _fields(inference, names, texts[place], texts[count + place])
        for place, inference in enumerate(inferences)
    ]


def give_fields(inferences: Sequence[Inference], names: Collection[str]) -> None:
    """Set the ``answer_fields`` of each inference to its named fields."""
    read = read_fields(inferences, names)
    for inference, fields in zip(inferences, read, strict=True):
        inference.answer_fields = fields


def _fields(
    inference: Inference, names: Collection[str], answer: _Source, asked: _Source
) -> dict[str, Any]:
    fields: dict[str, Any] = dict.fromkeys(names)
    text = answer.text or ""
    if not set(names).isdisjoint(OF_ANSWER):
        model = inference.registered_model
        said = understood_fields(model.task_type, deconstructed(model, text))
        fields |= {name: said[name] for name in names if name in said}
    if "prompt" in names and not _is_input_gone(inference):
        fields["prompt"] = named_text(text)
        if fields["prompt"] is None and asked.text is not None:
            fields["prompt"] = read_prompt(asked.text)
    reasons = {
        name: reason
        for name in names
        if (reason := asked.reason if name == "prompt" else answer.reason)
        and fields[name] is None
    }
    if reasons:
        fields["unread"] = reasons
    return fields


def understood_fields(task_type: str, found: Deconstructed) -> dict[str, Any]:
    """Return the fields of a parsed answer; a field that the answer does not have is None."""
    fields: dict[str, Any] = dict.fromkeys(OF_ANSWER)
    if not found.understood:
        return fields
    # Only some kinds of answers have labels: a generated text or a number has none.
    if found.kind.has_labels or found.detections:
        rows = sorted(found.detections, key=_by_score)
        if type_of(task_type).is_one_class:
            fields["probabilities"] = [_detection(one) for one in rows]
            rows = found.meant
        fields["detections"] = [_detection(one) for one in rows]
    if isinstance(found.content, Entities):
        whole = found.content.text
        fields["entities"] = [
            entity_value(each)
            | {"text": whole[each.start : each.end] if whole else None}
            for each in found.content.entities
        ]
    if isinstance(found.content, Text):
        fields["response"] = found.content.answer.text
    fields["prediction"] = values_of(task_type, found) or None
    return fields


def _by_score(one: Detection) -> float:
    return -(one.score or 0)


def _detection(one: Detection) -> dict[str, Any]:
    return {"label": one.label, "score": one.score, **geometry_of(one.shape)}


def _answer_source(inference: Inference) -> _Source:
    payload = inference.payload
    facts = (payload.notes or {}).get("answer") or {}
    if payload.data or not payload.answer_storage_key or facts.get("header_length"):
        # The length in characters stands for the size in bytes: a character has four bytes
        # at most, and most answers are far from the limit.
        return _Source(payload.data, size=len(payload.data))
    size = facts.get("size")
    if not isinstance(size, int):
        return _Source(reason=TOO_LARGE)
    return _Source(key=payload.answer_storage_key, size=size)


def _input_source(inference: Inference) -> _Source:
    payload = inference.payload
    if not payload.input_key or not is_textual(payload.data_content_type):
        return _Source()
    if not _asks_in_text(inference):
        return _Source()
    return _Source(key=payload.input_key, size=inference.data_size)


def _asks_in_text(inference: Inference) -> bool:
    """Return whether the model's input is text: a row of numbers is no prompt."""
    return type_of(inference.registered_model.task_type).has_prompt


def _is_input_gone(inference: Inference) -> bool:
    payload = inference.payload
    return bool(payload.input_removal_at or payload.input_expired_at)


def _read(sources: Sequence[tuple[_Source, int]]) -> list[_Source]:
    """Return the sources with their texts. Blobs are read in parallel."""
    stored = [place for place, (each, _) in enumerate(sources) if each.key]
    read = [each for each, _ in sources]
    if not stored:
        return read
    with ThreadPoolExecutor(min(READERS, len(stored))) as readers:
        texts = readers.map(lambda place: _from_blob(*sources[place]), stored)
        for place, text in zip(stored, texts, strict=True):
            read[place] = text
    return read


def _from_blob(source: _Source, most: int) -> _Source:
    """Return the text of a blob. Never raises: an unreadable blob counts as missing."""
    try:
        with blobs.open_blob(source.key) as file:
            content = file.read(most + 1)
    except Exception:
        return _Source(reason=MISSING)
    if len(content) > most:
        return _Source(reason=TOO_LARGE)
    with suppress(UnicodeDecodeError):
        return _Source(content.decode())
    return _Source()
