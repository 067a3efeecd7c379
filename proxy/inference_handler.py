"""Carry one call to a model, from its first byte to its last.

The order of the steps is the promise: (1) authenticate the caller, check the size and reserve
memory; (2) forward the bytes as they came; (3) settle the ids of the copy, append it to the
spool and sync; (4) answer. The capture process does what follows. The store never fails an
inference: a request that only the copy cannot handle is forwarded all the same, and when no
copy can be kept, the answer leaves unchanged with the reason in a header. A call is carried to
its end even if the client leaves.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence

from inferences.store.notes import Failure
from istore.failpoints import failpoint
from proxy import counters, limits, timestamps, waiting
from proxy.answers import Send, not_found, send_whole, unauthenticated
from proxy.capture_process import open_spool
from proxy.exchange import Exchange
from proxy.http.headers import (
    CONTENT_ENCODING,
    HEADER_LENGTH,
    REQUEST_ID,
    Headers,
    header_of_ids,
)
from proxy.http.request_body import MemoryBudget, Reader
from proxy.http.upstream_pool import Upstreams
from proxy.lost_copies import LostCopies
from proxy.paths import Call
from proxy.record_ids import RecordIds
from proxy.request_parsing import ParsedRequest, parse_request, without_metadata
from proxy.response_reading import (
    STATUS,
    TOO_LARGE,
    UpstreamResponse,
    not_recorded,
    pass_on,
)
from proxy.spool.writer import FAILED, Spool
from proxy.targets import Admission, Target, Targets, find_target

REOPEN_SECONDS = 5.0  # between two attempts to open a spool that could not be opened
RECORDED = "recorded"

log = logging.getLogger(__name__)


class Proxy:
    """State that all calls of one process share: admission, memory budget, ids and spool."""

    def __init__(self) -> None:
        self.admission = Admission()
        self.targets = Targets(find_target, self.admission)
        self.permits = MemoryBudget(limits.PROXY_MAX_INFLIGHT_BYTES)
        self.lost = LostCopies()
        self.record_ids = RecordIds()
        self._upstreams: Upstreams | None = None
        self._spool: Spool | None = None
        self._open_at = 0.0
        self.open_spool()

    @property
    def upstreams(self) -> Upstreams:
        """The connection pool of the running event loop, made on first use."""
        if self._upstreams is None:  # made here: connections belong to the running loop
            self._upstreams = Upstreams()
        return self._upstreams

    def open_spool(self) -> Spool | None:
        """Return the spool, or None while its directory cannot be used.

        After a failure it is tried again every ``REOPEN_SECONDS`` at most, by the next call.
        """
        if self._spool is None and time.monotonic() >= self._open_at:
            self._open_at = time.monotonic() + REOPEN_SECONDS
            try:
                self._spool = open_spool()
            except OSError as error:
                log.error("The spool cannot be opened: %s", error)
        return self._spool

    async def find_target(
        self, calls: Sequence[Call], headers: Headers
    ) -> tuple[Call, Target]:
        """Return the first reading of the path whose model exists, and that model's target.

        Raises ``Refused`` unless the caller may call this model.
        """
        if headers.credential() is None:
            raise unauthenticated()
        if not calls:
            raise not_found()
        names = tuple([call.model_id for call in calls])
        target = await self.targets.find(headers, names)
        return next(c for c in calls if c.model_id == target.model_id), target

    async def forward(
        self, calls: Sequence[Call], headers: Headers, query: str, send: Send
    ) -> None:
        """Pass on what the server says about a model, such as its metadata or readiness."""
        call, target = await self.find_target(calls, headers)
        lines = headers.to_upstream({})
        async with self.upstreams.ask(target, call, query, lines) as upstream:
            await pass_on(upstream.response, send, (), upstream.patience)

    async def infer(
        self,
        calls: Sequence[Call],
        headers: Headers,
        query: str,
        reader: Reader,
        send: Send,
    ) -> None:
        """Carry an inference: forward it, keep a copy, and send the answer.

        Raises ``Refused`` for what is refused before the response begins.
        """
        received_at = timestamps.now()
        call, target = await self.find_target(calls, headers)
        with self.permits.allowance() as allowance:
            body = await reader.body(allowance)
            request = await parse_request(
                body, headers, target.task_type, allowance.take
            )
            given, body = await outgoing(target, request, headers, body)
            exchange = Exchange.begin(call, target, request, received_at)
            answered = await exchange.carry(
                self.upstreams,
                query,
                given,
                body,
                allowance,
                reader,
                send,
                self,
            )
            if answered is not None:
                await self.finish(exchange, answered, send)

    async def finish(
        self, exchange: Exchange, answered: UpstreamResponse, send: Send
    ) -> None:
        """Keep a whole answer if its model stores inferences, and send it."""
        disposition = "off"
        if exchange.target.is_stored:
            reason = await self.keep(exchange, answered)
            disposition = not_recorded(reason) or RECORDED
        counters.tell(answered.status, disposition)
        headers = [*answered.headers, *exchange.headers(disposition)]
        await send_whole(send, answered.status, headers, answered.body)
        exchange.tell_durations(answered.status)
        failpoint("proxy.answered")

    async def keep(self, exchange: Exchange, answered: UpstreamResponse) -> str:
        """Keep a durable copy; return "" once it is kept, or the reason why there is none.

        It raises nothing but a cancellation: the answer must leave whatever happens to the
        copy.
        """
        reason = FAILED
        try:
            reason = await self._keep(exchange, answered)
        except asyncio.CancelledError:
            # The entry may still be written, so its id stays reserved. If it is not written,
            # beat frees the reservation after ISTORE_RESERVATION_HOURS.
            reason = ""
            raise
        except Exception:  # the answer leaves without a copy
            log.exception("An inference was not recorded")
        finally:
            if reason:
                self.record_ids.give_back(exchange)
        return reason

    async def _keep(self, exchange: Exchange, answered: UpstreamResponse) -> str:
        failpoint("proxy.forwarded")
        if not 200 <= answered.status < 300:
            if not exchange.target.keeps_failures:
                return STATUS
            exchange.failure = exchange.failure or Failure.STATUS
        if len(exchange.request.body) > limits.CAPTURE_MAX_BYTES:
            return TOO_LARGE
        spool = self.open_spool()
        if spool is None:
            return FAILED
        if reason := await self.record_ids.settle(exchange, answered):
            return reason
        failpoint("proxy.ids_settled")
        entry = exchange.entry(answered)
        model = waiting.model_of(entry.facts.prefixes[0])
        return await spool.append(entry.pieces(), model)


def ids_for_upstream(
    request: ParsedRequest, headers: Headers
) -> dict[bytes, bytes | None]:
    """Return the headers that name the record's id, unless the body does."""
    if request.is_told:
        return {}
    ids = header_of_ids([request.request_id])
    named: dict[bytes, bytes | None] = {b"inference-id": ids}
    if headers.get(REQUEST_ID) is None:
        named[REQUEST_ID] = ids
    return named


async def outgoing(
    target: Target, request: ParsedRequest, headers: Headers, body: bytes
) -> tuple[list[bytes], bytes]:
    """Return the headers and the body to forward.

    They are as they came, but for an ``inference-id`` where the body names none, and for the
    request metadata that a model with ``strips_metadata`` does not get.
    """
    instead = ids_for_upstream(request, headers)
    if target.strips_metadata and request.is_read:
        try:
            stripped, header_length = await without_metadata(request)
        except ValueError:  # it cannot be parsed, so it is forwarded unchanged
            return headers.to_upstream(instead), body
        if stripped is not request.body:
            body, instead[CONTENT_ENCODING] = stripped, None
            if header_length is not None:
                instead[HEADER_LENGTH] = b"%d" % header_length
    return headers.to_upstream(instead), body
