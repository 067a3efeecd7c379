"""Put the inputs of spans: one pack for each hour of a model, and an object for each large one.

They are put before the records are written. Inputs that no record names, after a crash or
because the span was stored by somebody else meanwhile, are found and released as those of a
capture that broke off are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from uuid import UUID

from django.conf import settings

from inferences.models import RegisteredModel
from inferences.store.recording import NewInference
from istore import blobs
from istore.blobs import packs
from istore.failpoints import failpoint
from istore.uuids import uuid7

Pair = tuple[NewInference, bytes]


def put_inputs(model: RegisteredModel, pairs: Sequence[Pair]) -> list[NewInference]:
    """Put the inputs durably; return the records with the keys under which they are."""
    hours: dict[str, list[Pair]] = {}
    done: list[NewInference] = []
    for new, content in pairs:
        if not content:
            done.append(new)
            continue
        prefix = blobs.prefix_for(model.project_id, model.pk, new.created_at, uuid7())
        if len(content) > settings.ISTORE_PACK_MEMBER_BYTES:
            key = f"{prefix}/{blobs.INPUT}"
            blobs.put(key, content, new.data_content_type)
            done.append(replace(new, data_storage_key=key))
        else:
            hours.setdefault(prefix.rpartition("/")[0], []).append((new, content))
    for hour, group in hours.items():
        for some in _groups(group):
            pack = packs.build_inputs(
                packs.new_key(hour, packs.INPUTS),
                [(UUID(uuid7()).bytes, content) for _, content in some],
            )
            blobs.put(pack.key, pack.body)
            done += [
                replace(new, data_storage_key=member.content_key(pack.key))
                for (new, _), member in zip(some, pack.members, strict=True)
            ]
    failpoint("traces.inputs_put")
    return done


def _groups(pairs: list[Pair]) -> Iterator[list[Pair]]:
    """Split the inputs at ``packs.MEMBERS_MAX`` and at the bytes of a pack."""
    some: list[Pair] = []
    size = 0
    for pair in pairs:
        if some and (
            len(some) == packs.MEMBERS_MAX or size >= settings.ISTORE_PACK_BYTES
        ):
            yield some
            some, size = [], 0
        some.append(pair)
        size += len(pair[1])
    if some:
        yield some
