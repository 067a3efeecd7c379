"""Add, change or remove metadata after an inference was stored.

An edit is one value of one key, for any number of inferences, with one transaction a batch.
It writes the slots or side rows that filters read, the payload that pages show, the counts
of the key, and a row of history for each inference that changed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models.functions import Now

from inferences.models import (
    InferencePayload,
    InferenceQuerySet,
    MetadataChange,
    MetadataKeyCount,
    OverflowNumber,
    OverflowText,
    RegisteredModel,
)
from inferences.models.metadata_values import RESERVED, MetadataValue, metadata_type
from inferences.store import metadata_slots, segment_touches
from inferences.store.reading import find_inference
from istore.errors import BadInput, Conflict, NotFound

Given = list[str]  # [type, text], as payloads hold it


class Unchecked:
    """In place of the value that a key is expected to have: whatever it has is replaced."""


UNCHECKED = Unchecked()
Expected = Given | None | Unchecked


def put_value(
    actor: object,
    model: RegisteredModel,
    inference_id: str,
    value: MetadataValue,
    *,
    replace: bool,
    expected: Expected = UNCHECKED,
) -> None:
    """Set the value of a key on one inference.

    Raises ``NotFound`` if there is no such inference, and ``Conflict`` if it has the key already,
    unless ``replace`` is set. With ``expected``, the value that the key was seen with (None for
    none), it raises ``Conflict`` if somebody has changed that meanwhile.
    """
    inference = find_inference(model, inference_id)
    if inference is None:
        raise NotFound("not-found")
    chosen = model.inferences.live().filter(id=inference.id)
    if not _put(actor, model, chosen, value, replace=replace, expected=expected):
        raise Conflict("metadata-exists", f"The inference has {value.key!r} already.")


def put_values(
    actor: object,
    model: RegisteredModel,
    chosen: Callable[[], InferenceQuerySet],
    values: Sequence[MetadataValue],
    *,
    replace: bool,
) -> dict[str, int]:
    """Set values on all chosen inferences; return how many changed, by key.

    Inferences that have a key keep their value, unless ``replace`` is set. The ids of a
    batch are read once for all its values, because the first value may change which rows
    match.
    """
    changed, above = dict.fromkeys((value.key for value in values), 0), None
    while True:
        rows = chosen().order_by("id")
        if above is not None:
            rows = rows.filter(id__gt=above)
        ids = list(rows.values_list("id", flat=True)[: settings.ISTORE_REMOVAL_BATCH])
        if not ids:
            return changed
        batch = model.inferences.live_among(ids)
        for value in values:
            changed[value.key] += _put(actor, model, batch, value, replace=replace)
        above = ids[-1]


def remove_value(
    actor: object,
    model: RegisteredModel,
    inference_id: str,
    key: str,
    expected: Expected = UNCHECKED,
) -> bool:
    """Remove a key from an inference. Returns False if the inference has no such key.

    Raises ``Conflict`` as ``put_value`` does.
    """
    inference = find_inference(model, inference_id)
    if inference is None or key not in inference.payload.metadata:
        return False
    chosen = model.inferences.live().filter(id=inference.id)
    with transaction.atomic():
        before = _lock(model, chosen)
        for given in before.values():
            _check_expected(given.get(key), expected, key)
        changed = {row_id: given for row_id, given in before.items() if key in given}
        _write(actor, model, {i: given[key] for i, given in changed.items()}, key, None)
    return bool(changed)


@dataclass(frozen=True, slots=True)
class TakenBack:
    """How many inferences got their former value back, and how many were changed meanwhile."""

    count: int = 0
    kept: int = 0


def latest_change(model: RegisteredModel) -> int:
    """Return the number of the model's newest change; later changes have higher numbers."""
    changes = MetadataChange.objects.filter(registered_model=model)
    newest = changes.order_by("-id").values_list("id", flat=True)
    return newest.first() or 0


def take_back(
    actor: object,
    model: RegisteredModel,
    value: MetadataValue,
    numbers: tuple[int, int],
) -> TakenBack:
    """Undo an edit: give inferences the value they had before this actor set the new one.

    ``numbers`` are those of the changes: above the first, up to the second. An inference
    whose value was changed again since keeps it.
    """
    above, until = numbers
    done = MetadataChange.objects.filter(
        registered_model=model,
        key=value.key,
        after=[str(value.type), value.text],
        actor=str(actor)[:300],
        id__lte=until,
    )
    count = kept = 0
    while True:
        batch = list(
            done.filter(id__gt=above).order_by("id")[: settings.ISTORE_REMOVAL_BATCH]
        )
        if not batch:
            return TakenBack(count, kept)
        above = batch[-1].id
        had = {change.row_id: change.before for change in batch}
        put_back = _put_back(actor, model, value, had)
        count, kept = count + put_back, kept + len(had) - put_back


def _put_back(
    actor: object,
    model: RegisteredModel,
    value: MetadataValue,
    had: dict[int, Given | None],
) -> int:
    """Give these rows their former values, if they still have the given one; return how many."""
    formers = {
        (type_, text): MetadataValue(value.key, metadata_type(type_), text)
        for type_, text in filter(None, had.values())
    }
    places = {
        pair: metadata_slots.places_for(model, set(former.comparable))
        for pair, former in formers.items()
    }
    given = [str(value.type), value.text]
    rows: dict[tuple[str, str] | None, dict[int, Given | None]] = {}
    with transaction.atomic():
        now = _lock(model, model.inferences.live_among(had))
        for row_id, has in now.items():
            if has.get(value.key) == given:
                before = had[row_id]
                pair = (before[0], before[1]) if before else None
                rows.setdefault(pair, {})[row_id] = given
        for pair, changed in rows.items():
            former = formers[pair] if pair else None
            slots = places[pair] if pair else None
            _write(actor, model, changed, value.key, former, slots)
    return sum(map(len, rows.values()))


def _put(
    actor: object,
    model: RegisteredModel,
    chosen: InferenceQuerySet,
    value: MetadataValue,
    *,
    replace: bool,
    expected: Expected = UNCHECKED,
) -> int:
    """Set the value on the chosen rows, in one transaction; return how many changed.

    With ``replace``, rows that all have the value already count as changed: it is a repeat.
    """
    if value.key in RESERVED:
        message = f"{value.key} is standard metadata: it is set when storing."
        raise BadInput("reserved-key", message)
    # A new key gets its place before, in a transaction of its own that is committed.
    places = metadata_slots.places_for(model, set(value.comparable))
    with transaction.atomic():
        before = {i: given.get(value.key) for i, given in _lock(model, chosen).items()}
        for given in before.values():
            _check_expected(given, expected, value.key)
        same = [str(value.type), value.text]
        changed = {
            row_id: given
            for row_id, given in before.items()
            if given is None or (replace and given != same)
        }
        if replace and before and not changed:
            return len(before)  # a repeat: nothing to write
        _write(actor, model, changed, value.key, value, places)
    return len(changed)


def _check_expected(given: Given | None, expected: Expected, key: str) -> None:
    """Raise ``Conflict`` if a locked row has another value than somebody has seen."""
    if isinstance(expected, Unchecked) or given == expected:
        return
    now = f"is {given[1][:80]!r} now" if given else "was removed"
    raise Conflict("metadata-changed", f"Somebody else was first: {key} {now}.")


def _lock(
    model: RegisteredModel, chosen: InferenceQuerySet
) -> dict[int, dict[str, Given]]:
    """Lock the chosen rows in the order of ids; return the metadata of each."""
    ids = list(
        chosen.order_by("id")
        .select_for_update(of=("self",))
        .values_list("id", flat=True)
    )
    rows = InferencePayload.objects.beside(model).filter(id__in=ids)
    return dict(rows.values_list("id", "metadata"))


def _write(
    actor: object,
    model: RegisteredModel,
    before: dict[int, Given | None],
    key: str,
    value: MetadataValue | None,
    places: metadata_slots.Places | None = None,
) -> None:
    """Write rows, payloads, counts and history of a change. The rows must be locked."""
    ids = list(before)
    if not ids:
        return
    stored = {}
    if value is not None and places is not None:
        stored = {places[name]: item for name, item in value.comparable.items()}
    old = metadata_slots.places_under(model, key)
    slots: dict[str, Any] = {place.slot: None for place in old if place.slot}
    slots |= {place.slot: each for place, each in stored.items() if place.slot}
    model.inferences.filter(id__in=ids).update(**slots, updated_at=Now())
    if slots:
        segment_touches.touch(model, ids, keep_bounds=False)
    key_ids = [place.key_id for place in old]
    for table, side in ((OverflowText, "text"), (OverflowNumber, "number")):
        table.objects.beside(model).filter(id__in=ids, key__in=key_ids).delete()
        rows: list[Any] = [
            table(id=i, registered_model=model, key_id=place.key_id, value=each)
            for place, each in stored.items()
            if not place.slot and place.side == side
            for i in ids
        ]
        table.objects.bulk_create(rows)
    after = [str(value.type), value.text] if value else None
    _write_payloads(model, ids, key, after)
    _write_history(actor, model, before, key, after)


def _write_payloads(
    model: RegisteredModel, ids: list[int], key: str, after: Given | None
) -> None:
    table = InferencePayload._meta.db_table
    change = "metadata - %s" if after is None else "metadata || %s::jsonb"
    given = key if after is None else json.dumps({key: after})
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {table} SET metadata = {change} WHERE model_key = %s AND id = ANY(%s)",
            [given, model.pk, ids],
        )


def _write_history(
    actor: object,
    model: RegisteredModel,
    before: dict[int, Given | None],
    key: str,
    after: Given | None,
) -> None:
    """Write a change for each row, and the deltas of the key's counts by type."""
    MetadataChange.objects.bulk_create(
        MetadataChange(
            registered_model=model,
            row_id=row_id,
            key=key,
            before=given,
            after=after,
            actor=str(actor)[:300],
        )
        for row_id, given in before.items()
    )
    deltas: dict[str, int] = {}
    for given in before.values():
        if given is not None:
            deltas[given[0]] = deltas.get(given[0], 0) - 1
        if after is not None:
            deltas[after[0]] = deltas.get(after[0], 0) + 1
    MetadataKeyCount.objects.bulk_create(
        MetadataKeyCount(registered_model=model, key=key, type=type_, delta=delta)
        for type_, delta in deltas.items()
        if delta
    )
