"""Turn a spool entry into inferences: of each its input, its answer, and its commit marker.

Nothing is uploaded here: ``packing.py`` puts the inferences of a window together. The marker
describes one inference whole, except for the keys of its own record: those are known only once
the record has its place in a pack.

A compressed answer is stored decompressed, with its encoding noted beside it as
``content_encoding``: readers want what the model said, not how it travelled. One that would be
larger than ``ISTORE_CAPTURE_MAX_BYTES`` then is stored as it came, with a warning.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import orjson
from django.conf import settings

from inferences.store.notes import FAILURE, Failure
from ingest.events import InferenceEvent, read_moment
from protocols.open_inference import (
    Part,
    V2Error,
    action_of,
    as_one,
    count_parts,
    merge,
    metadata_items,
    read_request,
    read_response,
    reserved,
    slices_of,
    sniff,
    split,
)
from protocols.streams import FACTS, assemble, facts_of
from proxy import timestamps
from proxy.http.encodings import Take, decode, decoded_beginning, take_any
from proxy.spool.entries import (
    BROKE_OFF,
    FORM_JSON,
    FORM_V2,
    Facts,
    SpoolEntry,
    noted_item,
)
from services.plain_batches import split_answer, split_inputs
from services.plain_requests import input_of

TENSORS_DESCRIBED = 64  # at most, in a marker
JSON = "application/json"
COLUMNS = ("latitude", "longitude", "data_source")
READING_CHARS = 4 * 2**20  # of the text read from a stream, kept in the row beside it

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of one part, and how its body is to be read."""

    body: bytes
    content_type: str
    header_length: int | None
    encoding: str = ""
    # For a stream that is kept as it came: the answer that was read from it, as JSON.
    reading: str | None = None


@dataclass(frozen=True, slots=True)
class Captured:
    """One inference, not uploaded yet. Its event has no storage keys, its marker no format and no event.

    ``prefix`` is ``<project>/<model>/<yyyy>/<mm>/<dd>/<hh>/<uuid>``: it was chosen when the
    call was spooled.
    """

    prefix: str
    part: Part
    answer: Answer
    event: InferenceEvent
    marker: dict[str, Any]

    @property
    def size(self) -> int:
        """The bytes of its input, its answer, and the text that was read from a stream."""
        answer = self.answer
        return len(self.part.data) + len(answer.body) + len(answer.reading or "")


def prepare(entry: SpoolEntry, take: Take = take_any) -> Iterator[Captured]:
    """Yield the inferences of a call, in the order of its parts.

    ``take`` reserves memory for each piece of a body that is decompressed.
    """
    facts = entry.facts
    parts, warnings = _parts(entry)
    if facts.stream is None:
        answers, more = _answers(entry, len(parts), take)
    else:
        answer, noted, more, failure = read_stream(entry, take)
        answers = [answer] * len(parts)
        facts = replace(
            facts, metadata=[*noted, *facts.metadata], failure=facts.failure or failure
        )
    warnings = [*facts.warnings, *warnings, *more]
    for part, answer in zip(parts, answers, strict=True):
        event = _event(facts, part.index)
        own = facts.part_warnings[part.index] if facts.part_warnings else []
        noted_part = _note(part, _facts_of_part(facts, answer, len(parts)))
        marker = _marker(facts, noted_part, answer, [*own, *warnings])
        yield Captured(facts.prefixes[part.index], part, answer, event, marker)


def _facts_of_part(facts: Facts, answer: Answer, count: int) -> Facts:
    """Return the facts with those of the part's own answer in place of the whole answer's.

    Token counts are those of the whole request. They stand with the first part alone, so that
    their sum is right.
    """
    if count == 1 or facts.form != FORM_JSON or not facts.metadata:
        return facts
    own = facts_of(orjson.loads(answer.body))
    kept = [each for each in facts.metadata if each["key"] not in FACTS]
    return replace(
        facts, metadata=[*kept, *(noted_item(*each) for each in own.items())]
    )


def _note(part: Part, facts: Facts) -> Part:
    """Return the part with the proxy's metadata items put before those of the request."""
    if not facts.metadata:
        return part
    parameters = merge({"metadata": facts.metadata}, part.parameters)
    return replace(part, parameters=parameters)


def _parts(entry: SpoolEntry) -> tuple[list[Part], list[str]]:
    """Return exactly as many parts as the caller was given ids, and warnings."""
    facts = entry.facts
    count = len(facts.inference_ids)
    if facts.form == FORM_JSON:
        bodies = [entry.request]
        if count > 1:
            bodies = split_inputs(entry.request, facts.task_type or "")
        inputs = [input_of(each) for each in bodies]
        return [Part(n, count, None, *each) for n, each in enumerate(inputs)], []
    warnings: list[str] = []
    if facts.form == FORM_V2:
        try:
            return _v2_parts(entry, count, warnings), warnings
        except V2Error as error:
            why = f": {error}"
        except Exception:
            log.exception("A request could not be taken apart")
            why = "."
        warnings = [f"The request could not be read, and is kept as it came{why}"]
    body, content_type = entry.request, sniff(entry.request)
    return [Part(n, count, None, body, content_type) for n in range(count)], warnings


def _v2_parts(entry: SpoolEntry, count: int, warnings: list[str]) -> list[Part]:
    """Return the parts of an open inference request. Raises ``V2Error``."""
    facts = entry.facts
    request = read_request(entry.request, facts.request_header_length, warnings)
    if count == 1 and count_parts(request, facts.task_type) > 1:
        return [as_one(request, facts.task_type)]  # the answer came in fewer parts
    parts = split(request, facts.task_type)
    if len(parts) == count:
        return parts
    raise V2Error("it does not come in as many parts as it was answered.")


def _answers(
    entry: SpoolEntry, count: int, take: Take
) -> tuple[list[Answer], list[str]]:
    """Return one answer for each part, and warnings."""
    facts = entry.facts
    limit = settings.ISTORE_CAPTURE_MAX_BYTES
    warnings: list[str] = []
    try:
        body = decode(entry.answer, facts.answer_encoding, limit, take)
    except ValueError as error:
        body, warnings = entry.answer, [f"The answer is kept as it came: {error}"]
    whole = Answer(
        body,
        facts.answer_content_type,
        facts.answer_header_length,
        facts.answer_encoding,
    )
    if count == 1 or warnings:
        return [whole] * count, warnings
    if facts.form == FORM_JSON:
        own = split_answer(entry.request, facts.task_type or "", body, count)
        if own is None:
            raise ValueError(
                "The answer was counted as parts, and does not come in them."
            )
        return [Answer(each, JSON, None) for each in own], warnings
    try:
        response = read_response(body, facts.answer_header_length)
        slices, warning = slices_of(response, count)
        bodies = [orjson.dumps(value) for value in slices]
    except Exception as error:
        if not isinstance(error, V2Error):
            log.exception("An answer could not be taken apart")
        return [whole] * count, [*warnings, "The answer could not be taken apart."]
    warnings += [warning] if warning else []
    return [Answer(each, JSON, None) for each in bodies], warnings


def read_stream(
    entry: SpoolEntry, take: Take = take_any
) -> tuple[Answer, list[dict[str, str]], list[str], str]:
    """Return the answer that a stream amounts to, metadata items, warnings, and why it failed.

    A stream that was not understood, or only in part, is kept as it came; the text that was
    read from it is kept beside it.
    """
    facts, stream = entry.facts, entry.facts.stream or {}
    end = stream.get("end") or ""
    body, problem = decoded_beginning(
        entry.answer, facts.answer_encoding, settings.ISTORE_CAPTURE_MAX_BYTES, take
    )
    found = assemble(body, facts.answer_content_type, is_whole=not end)
    if found.has_ended:
        # Clients close the connection once they have read the end mark of a stream, often
        # before the server closes it. Nothing of the answer is missing then.
        end = ""
    warnings: list[str] = []
    if problem:
        warnings.append(f"The answer is kept as far as it could be read: {problem}")
    if end:
        warnings.append(f"{end} The answer is what came until then.")
    warnings += found.warnings
    state = "error" if found.has_error else "partial" if end or problem else "complete"
    noted = {**found.facts, "stream": state}
    first = None if facts.answer_encoding else found.first_token_end
    for size, waited in stream.get("marks", ()) if first is not None else ():
        if size >= first:
            noted["time_to_first_token"] = waited / timestamps.SECOND
            break
    reading = found.text or None
    if reading and len(reading) > READING_CHARS and not found.is_understood:
        warnings.append(
            "What was read out of the stream is too large to keep beside it."
        )
        reading = None
    if found.is_understood and not problem:
        answer = Answer(found.text.encode(), JSON, None, facts.answer_encoding)
    else:
        answer = Answer(
            body,
            facts.answer_content_type,
            None if reading else facts.answer_header_length,
            facts.answer_encoding,
            reading,
        )
    failure = Failure.BROKEN_OFF if end == BROKE_OFF else ""
    failure = Failure.ERROR if found.has_error else failure
    return answer, [noted_item(*each) for each in noted.items()], warnings, failure


def _event(facts: Facts, index: int) -> InferenceEvent:
    return InferenceEvent(
        model_id=facts.model_id,
        inference_id=facts.inference_ids[index],
        request_received_at=read_moment(facts.request_received_at),
        request_forwarded_at=read_moment(facts.request_forwarded_at),
        request_responded_at=read_moment(facts.request_responded_at),
        event_published_at=datetime.now(UTC),
        data_storage_key="",
        inference_storage_key="",
        metadata_storage_key="",
        request_id=facts.x_request_id or facts.inference_ids[index],
        traceparent=facts.traceparent,
    )


def _marker(
    facts: Facts, part: Part, answer: Answer, warnings: list[str]
) -> dict[str, Any]:
    items, refused = metadata_items(
        part.parameters,
        max_items=settings.ISTORE_METADATA_MAX_ITEMS,
        max_key_chars=settings.ISTORE_METADATA_KEY_MAX_CHARS,
        max_value_bytes=settings.ISTORE_METADATA_VALUE_MAX_BYTES,
    )
    latitude, longitude, data_source, misplaced = reserved(items)
    tensor = part.tensor
    return {
        "model_version": facts.model_version,
        "inference_action": action_of(part.parameters, facts.task_type),
        "input": {
            **_describe(part.data, part.content_type),
            "name": tensor.name if tensor else None,
            "datatype": tensor.datatype if tensor else None,
            "shape": list(tensor.shape) if tensor else None,
            **_rarely(facts, part),
        },
        "answer": {
            **_describe(answer.body, answer.content_type),
            "content_encoding": answer.encoding or None,
            "header_length": answer.header_length,
            "status": facts.status,
            **({"reading": answer.reading} if answer.reading is not None else {}),
        },
        # As in creates of the API, only the record's own columns hold COLUMNS.
        "metadata": [item for item in items if item["key"] not in COLUMNS],
        "latitude": latitude,
        "longitude": longitude,
        "data_source": data_source,
        "request_part": [part.index, part.count],
        "reservation": (facts.reservations[part.index] if facts.reservations else None),
        "warnings": [*warnings, *refused, *misplaced],
        **({FAILURE: facts.failure} if facts.failure else {}),
        **({"request_id": facts.request_id} if facts.request_id else {}),
        **({"x_request_id": facts.x_request_id} if facts.x_request_id else {}),
        **({"traceparent": facts.traceparent} if facts.traceparent else {}),
    }


def _rarely(facts: Facts, part: Part) -> dict[str, Any]:
    """Return the marker's fields that few inputs have: encodings, and several tensors."""
    fields: dict[str, Any] = {}
    if facts.request_encoding:
        fields["content_encoding"] = facts.request_encoding
    if part.is_from_base64:
        fields["base64"] = "taken off, as parameters.action asks for"
    if part.tensors:
        fields["tensors"] = [
            {
                "name": tensor.name,
                "datatype": tensor.datatype,
                "shape": list(tensor.shape),
            }
            for tensor in part.tensors[:TENSORS_DESCRIBED]
        ]
    return fields


def _describe(body: bytes, content_type: str) -> dict[str, Any]:
    digest = hashlib.sha256(body).hexdigest()
    return {"sha256": digest, "size": len(body), "content_type": content_type}
