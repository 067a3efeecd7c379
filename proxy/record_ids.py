"""The ids of a call's records: they are settled before the answer names them.

A call whose caller gave no id gets one of ours, which nobody else can have. An id of the
caller's is a wish. It is reserved (``reservations.py``) for this very call, so that what the
answer says stays true whatever other calls, creates of the API and the listener do until the
copy is stored. An id that is taken by other content is replaced by ``<id>~<8 hex digits of the
content's hash>``, so that a repeat of that content gets the same id; if that is taken as well,
by one of ours. The record names the id that was wished for. What was removed for good is not
recorded again, nor are the other parts of its request.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from struct import Struct
from typing import TypeVar

import orjson

from inferences.store.reservations import Reservation, State, Wish
from ingest.reconciliation_state import id_of_other
from istore.uuids import uuid7
from proxy import limits
from proxy.content_hashes import (
    comes_in_parts,
    content_hashes_of,
    plain_comes_in_parts,
)
from proxy.counters import counts
from proxy.exchange import Exchange
from proxy.http.encodings import decode
from proxy.http.headers import header_of_ids
from proxy.parser_processes import is_light, parse, shared
from proxy.request_parsing import LARGE, part_ids
from proxy.reservations import Found, Reservations
from proxy.response_reading import UpstreamResponse
from proxy.spool.entries import FORM_JSON

REMOVED = "removed"
# The largest header that clients and gateways accept; aiohttp's limit is 8,190.
HEADER_BYTES = 8000
LENGTH = Struct("<Q")
TAKEN, UNKNOWN = "taken", "unknown"
WARNINGS = {
    TAKEN: "The caller wished for the id {!r:.300}, which is taken by other content.",
    UNKNOWN: "The caller wished for the id {!r:.300}, which could not be settled in time.",
}

Result = TypeVar("Result")

log = logging.getLogger(__name__)


class IdRemoved(Exception):
    """The record of a wished id was removed for good, or is hidden."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The id of one part. ``digest`` is what it is reserved with; None without a reservation."""

    id: str
    digest: bytes | None = None
    replaced: str = ""  # TAKEN or UNKNOWN, when it is not the one that was wished for


class RecordIds:
    """Settles the ids of all calls of one process."""

    def __init__(self) -> None:
        self._reservations = Reservations()

    async def settle(self, exchange: Exchange, answered: UpstreamResponse) -> str:
        """Give the exchange its ids; return "", or why no copy of it can be kept."""
        if exchange.ids:  # those of a stream were settled before it began
            return ""
        count = await _count_parts(exchange, answered)
        ids = part_ids(exchange.request.request_id, count)
        if not exchange.request.is_wish:
            exchange.ids = ids
            return ""
        size = len(exchange.request.body) + len(answered.body)
        digests = await _aside(size, lambda: _digests(exchange, answered, count))
        content_hashes = partial(_content_hashes, exchange, answered, ids)
        return await self._settle(exchange, ids, digests, content_hashes)

    async def settle_stream(self, exchange: Exchange) -> str:
        """Settle the id of a call whose answer is not known yet; see ``settle``.

        The digest is random, because the answer is unknown: so no other call can share the id.
        """
        ids = [exchange.request.request_id]
        if not exchange.request.is_wish:
            exchange.ids = ids
            return ""
        return await self._settle(exchange, ids, [os.urandom(32)], None)

    def give_back(self, exchange: Exchange) -> None:
        """Free what was reserved for a call of which no copy was kept after all."""
        held, exchange.reservations = exchange.reservations, []
        self._reservations.give_back(held)

    async def _settle(
        self,
        exchange: Exchange,
        ids: Sequence[str],
        digests: Sequence[bytes],
        content_hashes: Callable[[], Awaitable[list[bytes]]] | None,
    ) -> str:
        key = exchange.target.model_key
        wishes = [Wish(key, *each) for each in zip(ids, digests, strict=True)]
        # The exchange owns the list from here on, so that ``give_back`` frees what was
        # reserved however this ends.
        held = exchange.reservations
        try:
            chosen = await self._choose(wishes, content_hashes, held)
        except IdRemoved:
            self.give_back(exchange)
            return REMOVED
        exchange.ids = [choice.id for choice in chosen]
        exchange.digests = [
            None if choice.digest is None else choice.digest.hex() for choice in chosen
        ]
        for wish, each in zip(wishes, chosen, strict=True):
            warnings = []
            if each.replaced:
                warnings.append(WARNINGS[each.replaced].format(wish.inference_id))
                counts.replaced[each.replaced] += 1
            exchange.part_warnings.append(warnings)
        return ""

    async def _choose(
        self,
        wishes: Sequence[Wish],
        content_hashes: Callable[[], Awaitable[list[bytes]]] | None,
        held: list[Reservation],
    ) -> list[Chosen]:
        """Return an id for each wish, and add what was reserved to ``held``.

        Raises ``IdRemoved``.
        """
        found = await self._ask(wishes, held)
        chosen = [_chosen(*each) for each in zip(wishes, found, strict=True)]
        taken = [number for number, each in enumerate(chosen) if each is None]
        others: dict[int, Wish] = {}
        if taken and content_hashes is not None:
            try:
                hashes = await content_hashes()
            except ValueError:  # not comparable in time, so it gets an id of ours
                hashes, taken = [], []
            for number in taken:
                wish, content = wishes[number], hashes[number]
                chosen[number] = _chosen(wish, found[number], content)
                if chosen[number] is None:
                    name = id_of_other(wish.inference_id, content)
                    others[number] = replace(wish, inference_id=name)
            again = await self._ask(list(others.values()), held)
            for (number, wish), each in zip(others.items(), again, strict=True):
                other = _chosen(wish, each, hashes[number])
                if other is not None:
                    why = other.replaced or TAKEN
                    chosen[number] = replace(other, replaced=why)
        return [each or Chosen(uuid7(), replaced=TAKEN) for each in chosen]

    async def _ask(self, wishes: Sequence[Wish], held: list[Reservation]) -> Found:
        if not wishes:
            return []
        found = await self._reservations.ask(wishes)
        held += [each for each in found if each is not None and each.is_new]
        return found


def _chosen(
    wish: Wish, found: Reservation | None, content_hash: bytes | None = None
) -> Chosen | None:
    """Return the wished id, or one of ours if the database could not be asked in time.

    It is None when the wished id is taken: by other content than that of ``content_hash``, or by
    content that is not compared. Raises ``IdRemoved``.
    """
    if found is None:
        return Chosen(uuid7(), replaced=UNKNOWN)
    if found.state is State.REMOVED:
        raise IdRemoved
    if found.state is not State.TAKEN:
        return Chosen(wish.inference_id, wish.digest)
    if content_hash is None or found.content_hash != content_hash:
        return None
    if found.is_hidden:
        raise IdRemoved
    # The listener will drop this copy as a duplicate of the stored record.
    return Chosen(wish.inference_id)


async def _count_parts(exchange: Exchange, answered: UpstreamResponse) -> int:
    """Return how many inferences the call is: as many as its inputs, if the answer has as many."""
    count = exchange.request.parts
    if count == 1:
        return 1
    # An id with its comma has two characters at least, so more than HEADER_BYTES ids never
    # fit in the header and need not be made.
    ids = part_ids(exchange.request.request_id, min(count, HEADER_BYTES))
    why = ""
    if len(header_of_ids(ids)) > HEADER_BYTES:
        why = "too many to name one by one in a header"
    elif count > limits.REQUEST_PARTS_MAX:
        why = f"more than the {limits.REQUEST_PARTS_MAX} inferences a request may be"
    if why:
        exchange.warnings.append(f"The request has {count} inputs: {why}.")
        return 1
    plain = await _aside(len(answered.body), lambda: _plain(answered))
    request = exchange.request
    try:
        if exchange.form == FORM_JSON:
            task_type = exchange.target.task_type
            in_parts = await parse(
                plain_comes_in_parts, plain, request.body, task_type, count
            )
        else:
            in_parts = await parse(comes_in_parts, plain, answered.header_length, count)
    except ValueError:
        return 1
    return count if in_parts else 1


def _digests(exchange: Exchange, answered: UpstreamResponse, count: int) -> list[bytes]:
    """Return what tells this call from others: a hash of all that its records are made of."""
    facts = exchange.entry(answered).facts
    hashed = [
        facts.form,
        facts.task_type,
        facts.status,
        facts.request_encoding,
        facts.request_header_length,
        facts.answer_header_length,
        facts.metadata,
    ]
    digest = hashlib.sha256()
    # Decompressed, because a server may compress the same answer to other bytes.
    answer = _plain(answered)
    for piece in (orjson.dumps(hashed), exchange.request.body, answer):
        digest.update(LENGTH.pack(len(piece)))
        digest.update(piece)
    found = []
    for number in range(count):
        own = digest.copy()
        own.update(LENGTH.pack(number))
        found.append(own.digest())
    return found


def _plain(answered: UpstreamResponse) -> bytes:
    try:
        return decode(answered.body, answered.encoding, limits.CAPTURE_MAX_BYTES)
    except ValueError:
        return answered.body


async def _content_hashes(
    exchange: Exchange, answered: UpstreamResponse, ids: list[str]
) -> list[bytes]:
    """Return the content hashes of the records to be, one for each part.

    It is as much work as capturing the call.
    """
    entry = exchange.entry(answered, ids)
    payload = b"".join(entry.pieces())
    if is_light(payload) and not (entry.facts.request_encoding or answered.encoding):
        return await asyncio.to_thread(content_hashes_of, payload)
    return await shared().run(content_hashes_of, payload)


async def _aside(size: int, work: Callable[[], Result]) -> Result:
    """Do work on so many bytes, in a thread if they are many."""
    return await asyncio.to_thread(work) if size > LARGE else work()
