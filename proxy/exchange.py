"""The exchange of one inference with its model server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from inferences.store.notes import Failure
from inferences.store.reservations import Reservation
from istore.uuids import uuid7
from proxy import call_context, counters, timestamps
from proxy.answers import Refused, Send
from proxy.error_forms import ErrorForm, in_v2
from proxy.http.headers import REQUEST_ID, header_of_ids
from proxy.http.http1_client import BrokeOff
from proxy.http.request_body import MemoryReservation, Reader
from proxy.http.upstream_pool import UpstreamRequest, Upstreams, too_large
from proxy.paths import Call
from proxy.request_parsing import ParsedRequest
from proxy.response_reading import (
    ResponseHead,
    UpstreamResponse,
    is_stream,
    pass_on,
    read_answer,
)
from proxy.spool.entries import FORM_RAW, FORM_V2, Facts, SpoolEntry, noted_item
from proxy.streaming import Keeper, carry_stream
from proxy.targets import Target

OF_UPSTREAM = "upstream-"  # how codes of errors begin for which a server is the reason
# What such a code is noted as; any other is an answer that could not be read.
FAILURES = {
    "upstream-timeout": Failure.TIMEOUT,
    "upstream-unavailable": Failure.UNAVAILABLE,
}


@dataclass(slots=True)
class Exchange:
    """A request that may be forwarded, with the times at which it came, left and was answered.

    ``received_at``, ``forwarded_at`` and ``responded_at`` are microseconds since 1970. Once
    they are settled, ``ids`` are the ids of its records, one for each part; ``digests`` are
    what the ids were reserved with, and ``part_warnings`` the warnings of each part. ``facts``
    become metadata of the records, before the caller's own ``items``. ``failure`` says why a
    call failed that is kept all the same.
    """

    call: Call
    target: Target
    request: ParsedRequest
    received_at: int
    forwarded_at: int
    responded_at: int
    form: str = FORM_V2
    ids: list[str] = field(default_factory=list)
    digests: list[str | None] = field(default_factory=list)
    part_warnings: list[list[str]] = field(default_factory=list)
    reservations: list[Reservation] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    stream: dict[str, Any] | None = field(default=None, kw_only=True)
    facts: dict[str, str | int | float] = field(default_factory=dict, kw_only=True)
    items: list[dict[str, Any]] = field(default_factory=list, kw_only=True)
    error_form: ErrorForm = field(default=in_v2, kw_only=True)
    request_id: str = field(default="", kw_only=True)  # the server's own
    x_request_id: str = field(
        default="", kw_only=True
    )  # that of the call: see ``begin``
    traceparent: str = field(default="", kw_only=True)  # the caller's
    is_named: bool = field(default=False, kw_only=True)  # the answer has a request id
    failure: str = field(default="", kw_only=True)
    is_begun: bool = field(default=False, kw_only=True)  # the answer leaves already

    @classmethod
    def begin(
        cls, call: Call, target: Target, request: ParsedRequest, received_at: int
    ) -> Exchange:
        """Return a new exchange; the other times begin as ``received_at``.

        The id of the call is the caller's ``X-Request-ID``, else the id of its record.
        """
        begun = cls(call, target, request, received_at, received_at, received_at)
        begun.x_request_id = call_context.request_id_or(
            request.request_id, is_wish=request.is_wish
        )
        begun.traceparent = call_context.traceparent()
        return begun

    async def carry(
        self,
        upstreams: Upstreams,
        query: str,
        headers: Sequence[bytes],
        body: bytes,
        allowance: MemoryReservation,
        reader: Reader,
        send: Send,
        keeper: Keeper,
    ) -> UpstreamResponse | None:
        """Forward the request and return the whole answer, to be kept and then sent.

        None means that the answer was passed on already (``take``). Raises ``Refused`` for an
        error of the upstream, unless the model keeps failures: then the answer is that error.
        """
        self.forwarded_at = timestamps.now()
        try:
            async with upstreams.ask(
                self.target, self.call, query, headers, body
            ) as upstream:
                return await self.take(upstream, allowance, reader, send, keeper)
        except Refused as refused:
            return self.failed(refused)

    async def take(
        self,
        upstream: UpstreamRequest,
        allowance: MemoryReservation,
        reader: Reader,
        send: Send,
        keeper: Keeper,
        *,
        must_read: bool = False,
    ) -> UpstreamResponse | None:
        """Return the whole answer of a server, to be kept and then sent.

        None means that it was passed on already: a stream, an answer that is too large to keep
        or for which no memory is left, or one of a model whose inferences are not stored. With
        ``must_read`` it is read in any case, and one that is too large is ``Refused``.
        """
        response, target = upstream.response, self.target
        self.note(response)
        self.is_named = bool(response.header(REQUEST_ID))
        is_failed = not 200 <= response.status < 300
        # An error is kept whole: it is no stream, in whatever form it comes.
        if is_stream(response) and not (is_failed and target.keeps_failures):
            self.is_begun = True
            await carry_stream(self, upstream, keeper, allowance, reader, send)
            return None
        if target.is_stored or must_read:
            answered = await read_answer(response, allowance, upstream.patience)
        else:
            answered = UpstreamResponse.beginning(response, "off")
        self.responded_at = timestamps.now()
        if not answered.disposition:
            return answered
        if must_read:
            raise too_large()
        self.is_begun = True
        lines = self.headers(answered.disposition)
        await pass_on(response, send, lines, upstream.patience, answered.chunks)
        counters.tell(answered.status, answered.disposition)
        self.tell_durations(answered.status)
        return None

    def tell_durations(self, status: int) -> None:
        """Tell the metrics how long this took that has been answered now."""
        total = timestamps.now() - self.received_at
        upstream = self.responded_at - self.forwarded_at
        counters.durations.observe(status, total, upstream)

    def note(self, response: ResponseHead) -> None:
        """Note what the head of an answer says beside its status; nothing by itself."""

    def failed(self, refused: Refused) -> UpstreamResponse:
        """Return the error of an upstream as the answer to keep, and note what failed.

        Raises the error itself if the model keeps no failures, or if the answer has begun.
        """
        keeps = self.target.is_stored and self.target.keeps_failures
        if self.is_begun or not (keeps and refused.code.startswith(OF_UPSTREAM)):
            raise refused
        self.responded_at, self.is_named = timestamps.now(), False
        is_cut = isinstance(refused.__cause__, BrokeOff)
        kind = FAILURES.get(refused.code, Failure.UNREADABLE)
        self.failure = Failure.BROKEN_OFF if is_cut else kind
        content_type, body = self.error_form(refused)
        headers = [(b"content-type", content_type.encode()), *refused.headers]
        return UpstreamResponse(
            refused.status, headers, content_type, "", None, chunks=[body]
        )

    def headers(self, disposition: str) -> list[tuple[bytes, bytes]]:
        """Return the headers that we add to the answer: the ids, and what became of our copy."""
        ids = self.ids or [self.request.request_id]
        headers = [
            (b"inference-id", header_of_ids(ids)),
            (b"inference-store", disposition.encode()),
        ]
        if not self.is_named:  # a server's own is what its clients report to it
            headers.append((REQUEST_ID, self.x_request_id.encode()))
        return headers

    def entry(
        self, answered: UpstreamResponse, ids: Sequence[str] | None = None
    ) -> SpoolEntry:
        """Return the spool entry of this exchange, under its settled ids or under ``ids``.

        Each call makes new names for the blobs.
        """
        target, request = self.target, self.request
        ids = list(self.ids if ids is None else ids)
        facts = Facts(
            model_id=target.model_id,
            task_type=target.task_type,
            inference_ids=ids,
            prefixes=[self._new_prefix() for _ in ids],
            request_received_at=timestamps.format_timestamp(self.received_at),
            request_forwarded_at=timestamps.format_timestamp(self.forwarded_at),
            request_responded_at=timestamps.format_timestamp(self.responded_at),
            status=answered.status,
            request_header_length=request.header_length,
            answer_header_length=answered.header_length,
            answer_content_type=answered.content_type,
            answer_encoding=answered.encoding,
            metadata=[*(noted_item(*each) for each in self.facts.items()), *self.items],
            stream=self.stream,
            request_id=self.request_id,
            x_request_id=self.x_request_id if ids != [self.x_request_id] else "",
            traceparent=self.traceparent,
            failure=self.failure,
            form=self.form if request.is_read else FORM_RAW,
            warnings=[*request.warnings, *self.warnings],
            request_encoding=request.encoding,
            reservations=self.digests,
            part_warnings=self.part_warnings,
            model_version=self.call.version,
        )
        return SpoolEntry(facts, request.body, answered.body)

    def _new_prefix(self) -> str:
        target = self.target
        return timestamps.prefix_for(
            target.project_key, target.model_key, self.received_at, uuid7()
        )
