"""Store the spans of a request: each becomes an inference of its model, and a row of its trace.

The inputs are put first. Then one transaction for each model writes the inferences, the rows of
the spans and the audit entry. A span is named by its trace and itself, so that one that was sent
again is a copy: what was stored before a crash, or before a connection broke off, is found there
by the repeat. Spans come in any order; a parent that is not there yet is only a number.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from django.db import DataError

from inferences.models import RegisteredModel
from inferences.models.row_ids import EARLIEST
from inferences.store.creation import AHEAD
from inferences.store.recording import NewInference, Outcome, met_before, record
from istore import blobs
from istore.failpoints import failpoint
from istore.models import AuditEntry, Project
from protocols.otlp.readings import Reading, read_plainly, read_span
from protocols.otlp.spans import Span, Spans
from traces import rows
from traces.inputs import Pair, put_inputs
from traces.models import inference_id_of
from traces.models_of_spans import NEW_MAX, find_models, model_id_of
from traces.records import compose, moment_of

log = logging.getLogger(__name__)

Work = tuple[Span, Reading]
GROUP_BYTES = 8 * 2**20  # of the spans that are read and written together


@dataclass(slots=True)
class Receipt:
    """What became of the spans of a request."""

    stored: int = 0
    copies: int = 0
    registered: int = 0  # models
    refused: list[str] = field(default_factory=list)


def store_spans(
    caller: object, project: Project, sent: Spans, now: datetime
) -> Receipt:
    """Store the spans durably, and return which of them were refused, and why.

    Raises what the database and the blob store raise; a repeat of the request does the rest then.
    """
    receipt = Receipt(refused=list(sent.refused))
    for some in _groups(sent.read):
        _store_some(caller, project, some, now, receipt)
    return receipt


def _groups(spans: list[Span]) -> Iterator[list[Span]]:
    """Split the spans at ``GROUP_BYTES``: what is read of a group is held at a time."""
    some: list[Span] = []
    size = 0
    for span in spans:
        if some and size + span.size > GROUP_BYTES:
            yield some
            some, size = [], 0
        some.append(span)
        size += span.size
    if some:
        yield some


def _store_some(
    caller: object, project: Project, some: list[Span], now: datetime, receipt: Receipt
) -> None:
    by_model: dict[str, list[Work]] = {}
    for span in some:
        if why := _refusal(span, now):
            receipt.refused.append(why)
            continue
        reading = _read(span)
        by_model.setdefault(model_id_of(reading), []).append((span, reading))
    firsts = {name: _telling(work) for name, work in by_model.items()}
    models, new = find_models(caller, project, firsts, NEW_MAX - receipt.registered)
    receipt.registered += new
    for name, work in by_model.items():
        if name in models:
            _store(caller, models[name], work, now, receipt)
        else:
            why = f"{name!r:.100}: a request registers {NEW_MAX} new models at most."
            receipt.refused += [why] * len(work)


def _refusal(span: Span, now: datetime) -> str:
    """Return why the time of a span cannot be stored; "" if it can."""
    try:
        start = moment_of(span.start)
        moment_of(span.end)
    except OverflowError:
        return f"The span {span.span_id.hex()} has a time beyond the year 9999."
    if start < EARLIEST:
        return f"The span {span.span_id.hex()} began before 1949."
    if start > now + AHEAD:
        return f"The span {span.span_id.hex()} began more than 300 s ahead of now."
    return ""


def _read(span: Span) -> Reading:
    try:
        return read_span(span)
    except Exception:  # a convention as nobody foresaw it must not cost the other spans
        log.exception("A span could not be read by its conventions")
        return read_plainly(span)


def _telling(work: list[Work]) -> Reading:
    """Return the span that says most of its model: one with an embedding, or the first."""
    readings = [reading for _, reading in work]
    return next((each for each in readings if each.vector_size), readings[0])


def _store(
    caller: object,
    model: RegisteredModel,
    work: list[Work],
    now: datetime,
    receipt: Receipt,
) -> None:
    spans: dict[str, Work] = {}
    for span, reading in work:
        name = inference_id_of(span)
        first, _ = spans.setdefault(name, (span, reading))
        if first.digest != span.digest:
            receipt.refused.append(_is_other(name, model))
        elif first is not span:
            receipt.copies += 1
    pairs = {name: _compose(model, *given, now) for name, given in spans.items()}
    known = met_before(model, [new for new, _ in pairs.values()])
    _count(model, known, receipt)
    rest = [pair for name, pair in pairs.items() if name not in known]
    if rest:
        found = {name: rows.row_of(*spans[name]) for name in spans if name not in known}
        _record(caller, model, rest, found, receipt)


def _compose(
    model: RegisteredModel, span: Span, reading: Reading, now: datetime
) -> Pair:
    try:
        return compose(model, span, reading, now)
    except Exception:  # what one span says must not cost the others
        log.exception("The reading of a span could not be written")
        return compose(model, span, read_plainly(span), now)


def _record(
    caller: object,
    model: RegisteredModel,
    pairs: list[Pair],
    rows_of: dict[str, dict[str, object]],
    receipt: Receipt,
) -> None:
    """Put the inputs and write the records; halve a batch that has a value out of range."""
    batch = put_inputs(model, pairs)

    def also(stored: set[str]) -> None:
        if stored:
            rows.write(model, [rows_of[name] for name in sorted(stored)])
            AuditEntry.write(
                caller,
                "inference.spans",
                model.model_id,
                model.project,
                count=len(stored),
            )

    try:
        outcomes = record(model, batch, also)
    except (DataError, ValueError) as error:
        _drop(batch)
        if len(pairs) == 1:
            log.warning("A span was refused: %s", error)
            name = batch[0].inference_id
            receipt.refused.append(
                f"The span {name} has a value that cannot be stored."
            )
            return
        half = len(pairs) // 2
        _record(caller, model, pairs[:half], rows_of, receipt)
        _record(caller, model, pairs[half:], rows_of, receipt)
        return
    failpoint("traces.recorded")
    _drop(each for each in batch if outcomes[each.inference_id] is not Outcome.NEW)
    _count(model, outcomes, receipt)


def _drop(batch: Iterable[NewInference]) -> None:
    """Delete inputs that no record names."""
    keys = [each.data_storage_key for each in batch if each.data_storage_key]
    if keys:
        blobs.delete(keys)


def _count(
    model: RegisteredModel, outcomes: dict[str, Outcome], receipt: Receipt
) -> None:
    for name, outcome in outcomes.items():
        if outcome is Outcome.NEW:
            receipt.stored += 1
        elif outcome is Outcome.COPY:
            receipt.copies += 1
        elif outcome is Outcome.REMOVED:
            receipt.refused.append(f"The span {name} of {model} was removed.")
        else:
            receipt.refused.append(_is_other(name, model))


def _is_other(name: str, model: RegisteredModel) -> str:
    return f"The span {name} of {model} is stored with other content."
