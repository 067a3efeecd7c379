"""Put the inferences of a window into packs, one of inputs and one of records for each hour.

The pack of inputs is put first and the pack of records last: its put is the commit of all its
members, because a record holds the marker that says where its input is. A repeat of a put writes
the same bytes under the same key. A repeat after a crash makes a new pack of the same
inferences; the listener recognises them as copies and releases them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import orjson
from django.conf import settings

from inferences.store.marker_form import marker_in_pack
from ingest.events import InferenceEvent
from istore import blobs
from istore.blobs import packs
from istore.failpoints import failpoint
from istore.uuids import uuid7
from proxy.capture.artifacts import Captured


@dataclass(frozen=True, slots=True)
class Packed:
    """Inferences of one model and hour as the objects to put, and the events to publish then.

    ``objects`` are the inputs that are too large for a pack, with their keys.
    """

    objects: list[tuple[str, Captured]]
    inputs: packs.Pack | None
    records: packs.Pack
    events: list[InferenceEvent]

    def put(self) -> None:
        """Put the objects; the last one commits all. Raises what the storage raises."""
        for key, captured in self.objects:
            blobs.put(key, captured.part.data, captured.part.content_type)
        if self.inputs is not None:
            blobs.put(self.inputs.key, self.inputs.body)
        failpoint("capture.inputs_put")
        blobs.put(self.records.key, self.records.body)
        failpoint("capture.records_put")


def pack(inferences: Iterable[Captured]) -> Iterator[Packed]:
    """Yield the packs of these inferences, which are of one model."""
    hours: dict[str, list[Captured]] = {}
    for each in inferences:
        hours.setdefault(each.prefix.rpartition("/")[0], []).append(each)
    for hour, group in hours.items():
        for some in _groups(group):
            yield _pack(hour, some)


def _groups(inferences: list[Captured]) -> Iterator[list[Captured]]:
    """Split the inferences at ``packs.MEMBERS_MAX`` and at the bytes of a pack."""
    most = settings.ISTORE_PACK_BYTES
    some: list[Captured] = []
    size = 0
    for each in inferences:
        if some and (len(some) == packs.MEMBERS_MAX or size >= most):
            yield some
            some, size = [], 0
        some.append(each)
        size += _size_in_pack(each)
    if some:
        yield some


def _size_in_pack(captured: Captured) -> int:
    size = len(captured.answer.body)
    return size if _is_large(captured) else size + len(captured.part.data)


def _is_large(captured: Captured) -> bool:
    return len(captured.part.data) > settings.ISTORE_PACK_MEMBER_BYTES


def _pack(hour: str, inferences: list[Captured]) -> Packed:
    # Each capture of a call is named anew, so that one can be dropped as a copy of another.
    named = [(uuid7(), each) for each in inferences]
    objects = [
        (f"{hour}/{unique}/{blobs.INPUT}", each)
        for unique, each in named
        if _is_large(each)
    ]
    inputs = _pack_inputs(hour, named)
    own = iter([key for key, _ in objects])
    packed = iter([m.content_key(inputs.key) for m in inputs.members] if inputs else ())
    keys = [next(own) if _is_large(each) else next(packed) for each in inferences]
    records = packs.build_records(
        packs.new_key(hour, packs.RECORDS),
        [
            (UUID(unique).bytes, orjson.dumps(_marker(each, key)), each.answer.body)
            for (unique, each), key in zip(named, keys, strict=True)
        ],
    )
    events = [
        replace(
            each.event,
            data_storage_key=key,
            inference_storage_key=member.content_key(records.key),
            metadata_storage_key=member.marker_key(records.key),
        )
        for each, key, member in zip(inferences, keys, records.members, strict=True)
    ]
    return Packed(objects, inputs, records, events)


def _pack_inputs(hour: str, named: list[tuple[str, Captured]]) -> packs.Pack | None:
    """Return the pack of the inputs that have no object of their own; None without any."""
    small = [
        (UUID(unique).bytes, each.part.data)
        for unique, each in named
        if not _is_large(each)
    ]
    if not small:
        return None
    return packs.build_inputs(packs.new_key(hour, packs.INPUTS), small)


def _marker(captured: Captured, input_key: str) -> dict[str, Any]:
    return marker_in_pack(captured.marker, captured.event.as_dict(), input_key)
