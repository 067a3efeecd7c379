"""Dead letters: events that will not become records, kept with their payload."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import orjson

from inferences.models.metadata_values import UNSTORABLE
from ingest.errors import Rejected
from ingest.events import InferenceEvent
from ingest.models import DeadLetter
from ingest.stream import Entry

# The storage keys in the payloads, for backups. A payload may be anything, so it is searched as
# text instead of parsed; keys are ASCII and need no escapes.
NAMED = f"""
SELECT (regexp_matches(
    encode(payload, 'escape'), '"(?:data|answer|metadata)_storage_key"\\s*:\\s*"([^"]+)"', 'g'
))[1] FROM {DeadLetter._meta.db_table} WHERE replayed_at IS NULL
"""
DETAIL_CHARS, KEY_CHARS = 2000, 1024  # the rest is cut off


def set_aside(refused: Iterable[tuple[Entry, Rejected]]) -> None:
    """Keep the events as dead letters.

    One that is kept already, for the same entry and reason, is skipped: the unique constraint
    ``set_aside_once`` decides.
    """
    DeadLetter.objects.bulk_create(
        [_row(entry, why) for entry, why in refused],
        batch_size=500,
        ignore_conflicts=True,
    )


def repoint(pack: str, moved: Mapping[str, str]) -> set[str]:
    """Point dead letters at the new keys of members of a pack; return the old keys found.

    ``moved`` has the keys of contents and of markers. Call it in the transaction of the move.
    A letter that is locked is not found. One that was replayed is pointed there as well, so that
    an erasure still finds it, but it does not wait any more: a row names its blobs, or nobody.
    """
    hour = f"{pack.rpartition('/')[0]}/"
    rows = DeadLetter.objects.filter(metadata_storage_key__startswith=hour)
    found: set[str] = set()
    for row in rows.select_for_update(skip_locked=True):
        event = _read(bytes(row.payload))
        named = {
            name: moved[key]
            for name in KEYS
            if isinstance(key := event.get(name), str) and key in moved
        }
        if named:
            if row.replayed_at is None:
                found |= {event[name] for name in named}
            row.payload = orjson.dumps(event | named)
            row.metadata_storage_key = named.get(
                "metadata_storage_key", row.metadata_storage_key
            )
            row.save(update_fields=["payload", "metadata_storage_key"])
    return found


def with_inputs_of_letters(events: list[InferenceEvent]) -> list[InferenceEvent]:
    """Return the events that markers say, with the inputs of the letters of these markers.

    Only a letter knows where an input went whose pack was rewritten before it had a record.
    """
    letters = DeadLetter.objects.filter(
        metadata_storage_key__in=[each.metadata_storage_key for each in events]
    )
    inputs: dict[str, str] = {}
    for row in letters.order_by("pk"):
        if isinstance(key := _read(bytes(row.payload)).get("data_storage_key"), str):
            inputs[row.metadata_storage_key] = key
    return [
        replace(each, data_storage_key=key)
        if (key := inputs.get(each.metadata_storage_key))
        and _hour(key) == _hour(each.data_storage_key)
        else each
        for each in events
    ]


def _hour(key: str) -> list[str]:
    return key.split("/")[:6]


KEYS = ("data_storage_key", "inference_storage_key", "metadata_storage_key")


def _row(entry: Entry, why: Rejected) -> DeadLetter:
    said = _read(entry.payload)
    return DeadLetter(
        stream_id=entry.id,
        reason=why.reason,
        detail=_text(str(why), DETAIL_CHARS),
        payload=entry.payload,
        model_id=_text(said.get("model_id"), 255),
        inference_id=_text(said.get("inference_id"), 300),
        metadata_storage_key=_text(said.get("metadata_storage_key"), KEY_CHARS),
    )


def _read(payload: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def _text(value: Any, most: int) -> str:
    return UNSTORABLE.sub("\ufffd", value)[:most] if isinstance(value, str) else ""
