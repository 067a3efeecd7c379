"""Reservations: ids that the proxy names in an answer before the records are stored.

A reservation is a row of the key table without an inference row. The unique key of that
table alone decides between proxies, creates of the API and the listener. A reservation is
made for one call and holds its digest. The listener stores a call under the id only if it
brings that digest (``recording``); for every other call the id is taken. The same call
again, byte for byte, shares the reservation. ``reserved_at`` identifies the last caller
that shared it, so that a call whose copy was not kept releases the reservation only if
nobody else relies on it.

A process that dies between the reservation and the spool leaves a reservation behind. Beat
frees those after ``ISTORE_RESERVATION_HOURS``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from django.conf import settings
from django.db import connection, transaction

from inferences.models import (
    Inference,
    InferenceKey,
    InferencePayload,
    RegisteredModel,
)
from istore.json_text import write_json

KEYS = InferenceKey._meta.db_table
BEFORE_ALL = -2  # below every arrival number, so no reader of arrivals sees it
AT_ONCE = 10_000
ROUNDS = 3


class State(Enum):
    """The state of an id for the call that asks for it."""

    RESERVED = "reserved"  # for this call; every other call finds it taken
    STORED = "stored"  # this very call is stored under it
    TAKEN = "taken"  # by a record, or for another call
    REMOVED = "removed"  # its record was removed for good, or is being removed


@dataclass(frozen=True, slots=True)
class Wish:
    """A request for an id, with the digest that tells the call from others."""

    model_key: int
    inference_id: str
    digest: bytes


@dataclass(frozen=True, slots=True)
class Reservation:
    """The result of a wish.

    ``content_hash`` is that of the record that has the id. ``is_hidden`` means that this
    record is soft-deleted. ``is_new`` tells a reservation made now from one that another
    call made before.
    """

    wish: Wish
    state: State
    content_hash: bytes | None = None
    is_hidden: bool = False
    is_new: bool = False
    reserved_at: datetime | None = None


def reserve(wishes: Sequence[Wish]) -> list[Reservation]:
    """Return the state of each id, reserved where it was free.

    It takes one statement for each model and one commit. Of several wishes for one id only the
    first is sent. The others get their state from what it found, except a wish that already has the
    id: that one is sent next. A wish that is undecided after ``ROUNDS``, because other
    writers take and free the id meanwhile, is ``TAKEN``.
    """
    found: dict[int, Reservation] = {}
    for _ in range(ROUNDS):
        rest = [number for number in range(len(wishes)) if number not in found]
        if not rest:
            break
        by_id: dict[tuple[int, str], list[int]] = {}
        for number in rest:
            by_id.setdefault(_key(wishes[number]), []).append(number)
        asked = [wishes[numbers[0]] for numbers in by_id.values()]
        for wish, held in _reserve(asked):
            for number in by_id[_key(wish)]:
                outcome = _outcome(wishes[number], wish, held)
                if outcome is not None:
                    found[number] = outcome
                    if outcome.is_new:  # the next ones share the reservation
                        held = replace(held, is_new=False)
    taken = [Reservation(wish, State.TAKEN) for wish in wishes]
    return [found.get(number, taken[number]) for number in range(len(wishes))]


def release(reservations: Sequence[Reservation]) -> None:
    """Delete the reservations that were made now and that no other call has shared since."""
    by_model: dict[int, list[Reservation]] = {}
    for each in reservations:
        if each.is_new and each.reserved_at:
            by_model.setdefault(each.wish.model_key, []).append(each)
    for model_key, new in sorted(by_model.items()):
        given = write_json([_to_json(each) for each in new])
        with connection.cursor() as cursor:
            cursor.execute(RELEASE, {"model": model_key, "given": given})


def free_old(at: datetime, keep: Iterable[tuple[int, str]] = ()) -> int:
    """Delete reservations of calls that were never stored, and return how many there were.

    ``keep`` names ids of dead letters that may still be replayed, as pairs of model key and
    inference id.
    """
    limit = at - timedelta(hours=settings.ISTORE_RESERVATION_HOURS)
    kept: dict[int, list[str]] = {}
    for model_key, name in keep:
        kept.setdefault(model_key, []).append(name)
    models = RegisteredModel.objects.order_by("pk").values_list("pk", flat=True)
    return sum(_free_old(model, limit, kept.get(model, [])) for model in models)


def _free_old(model_key: int, limit: datetime, kept: list[str]) -> int:
    values: dict[str, Any] = {"model": model_key, "limit": limit, "kept": kept}
    freed = 0
    while True:
        with connection.cursor() as cursor:
            cursor.execute(FREE, values)
            count: int = cursor.rowcount
        freed += count
        if count < AT_ONCE:
            return freed


def _key(wish: Wish) -> tuple[int, str]:
    return wish.model_key, wish.inference_id


@dataclass(frozen=True, slots=True)
class _Held:
    """The key of an id, as one statement left or found it.

    ``reserved_at`` is set when the wish that was sent has the id. ``digest`` is that of the
    call that the id is reserved for or was stored by.
    """

    reserved_at: datetime | None
    is_new: bool
    has_row: bool
    digest: bytes | None
    removed_at: datetime | None
    content_hash: bytes | None
    is_hidden: bool


def _reserve(wishes: Sequence[Wish]) -> list[tuple[Wish, _Held]]:
    """Send wishes for different ids. Ids that met a concurrent writer are not in the result."""
    by_model: dict[int, dict[str, Wish]] = {}
    for each in wishes:
        by_model.setdefault(each.model_key, {})[each.inference_id] = each
    found = []
    # Wishes for several models share one transaction, so they cost one commit as well.
    with transaction.atomic() if len(by_model) > 1 else nullcontext():
        for model_key, by_name in sorted(by_model.items()):
            given = [
                {"name": name, "digest": wish.digest.hex()}
                for name, wish in by_name.items()
            ]
            values: dict[str, Any] = {"model": model_key, "given": write_json(given)}
            with connection.cursor() as cursor:
                cursor.execute(RESERVE, values)
                found += [(by_name[name], _Held(*state)) for name, *state in cursor]
    return found


def _outcome(wish: Wish, asked: Wish, held: _Held) -> Reservation | None:
    """Return the state of the key for this wish.

    Another wish for the same id may have been sent. None means that this wish already has
    the id and must be sent itself.
    """
    if held.reserved_at is not None:
        if wish.digest != asked.digest:
            return Reservation(wish, State.TAKEN)
        return Reservation(
            wish, State.RESERVED, is_new=held.is_new, reserved_at=held.reserved_at
        )
    is_same = held.digest is not None and bytes(held.digest) == wish.digest
    if not held.has_row:
        return None if is_same else Reservation(wish, State.TAKEN)
    # A key whose row is gone is being removed at this moment.
    if held.removed_at is not None or held.content_hash is None:
        return Reservation(wish, State.REMOVED)
    if is_same:
        return Reservation(wish, State.REMOVED if held.is_hidden else State.STORED)
    content_hash = bytes(held.content_hash)
    return Reservation(wish, State.TAKEN, content_hash, held.is_hidden)


def _to_json(each: Reservation) -> dict[str, object]:
    return {
        "name": each.wish.inference_id,
        "digest": each.wish.digest.hex(),
        "reserved_at": each.reserved_at.isoformat() if each.reserved_at else None,
    }


# Each statement is about one model, so that a database that spreads models over nodes sends it
# to one of them. Keys are inserted in sorted order, as ``recording`` does, and models come in
# sorted order, so that two callers cannot deadlock. A key that another transaction commits while this one runs is in neither part of
# the result; the caller runs another round. OFFSET 0 fences each lookup, so that the
# planner uses the unique key instead of reading all keys of a model (see ``lookup``).
RESERVE = f"""
WITH given AS MATERIALIZED (
    SELECT name AS inference_id, decode(digest, 'hex') AS digest
    FROM json_to_recordset(%(given)s) AS (name varchar, digest text)
), reserved AS (
    INSERT INTO {KEYS} AS held (
        model_key, inference_id, row_id, arrival, reservation, reserved_at)
    SELECT %(model)s, inference_id, NULL, {BEFORE_ALL}, digest, clock_timestamp()
    FROM given
    WHERE EXISTS (SELECT FROM {RegisteredModel._meta.db_table} WHERE id = %(model)s)
    ORDER BY inference_id
    ON CONFLICT (model_key, inference_id) DO UPDATE
    SET reserved_at = greatest(excluded.reserved_at, held.reserved_at + interval '1 us')
    WHERE held.row_id IS NULL AND held.reservation = excluded.reservation
    RETURNING inference_id, reserved_at, xmax = 0 AS is_new
)
SELECT inference_id, reserved_at, is_new, false, NULL, NULL, NULL, false
FROM reserved
UNION ALL
SELECT given.inference_id, NULL, false, met.row_id IS NOT NULL,
       met.reservation, coalesce(met.removed_at, cold.removal_at), cold.content_hash,
       hot.deleted IS NOT DISTINCT FROM true
FROM given CROSS JOIN LATERAL (
    SELECT row_id, reservation, removed_at FROM {KEYS} AS key
    WHERE key.model_key = %(model)s AND key.inference_id = given.inference_id
    OFFSET 0
) AS met
LEFT JOIN LATERAL (
    SELECT content_hash, removal_at FROM {InferencePayload._meta.db_table} AS cold
    WHERE cold.model_key = %(model)s AND cold.id = met.row_id OFFSET 0
) AS cold ON met.removed_at IS NULL
LEFT JOIN LATERAL (
    SELECT deleted FROM {Inference._meta.db_table} AS hot
    WHERE hot.model_key = %(model)s AND hot.id = met.row_id OFFSET 0
) AS hot ON met.removed_at IS NULL
WHERE NOT EXISTS (
    SELECT FROM reserved WHERE reserved.inference_id = given.inference_id)
"""
# ``reserved_at`` is compared, because a call that shared the reservation since has raised it.
RELEASE = f"""
DELETE FROM {KEYS} AS held
USING json_to_recordset(%(given)s)
      AS given (name varchar, digest text, reserved_at timestamptz)
WHERE held.model_key = %(model)s AND held.inference_id = given.name
  AND held.row_id IS NULL AND held.reservation = decode(given.digest, 'hex')
  AND held.reserved_at = given.reserved_at
"""
# Served by the partial index reservation_by_model_and_age. SKIP LOCKED: a reservation that is
# being stored or shared at this moment is left alone.
FREE = f"""
DELETE FROM {KEYS} WHERE model_key = %(model)s AND inference_id IN (
    SELECT held.inference_id FROM {KEYS} AS held
    WHERE held.model_key = %(model)s AND held.row_id IS NULL
      AND held.reserved_at < %(limit)s
      AND held.inference_id <> ALL(%(kept)s::varchar[])
    LIMIT {AT_ONCE} FOR UPDATE OF held SKIP LOCKED)
  AND row_id IS NULL
"""
