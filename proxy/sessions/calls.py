"""Calls of inference sessions: ``POST /api/v1/inferencesessions/{id}/infer/{endpoint}``.

They have the same steps and the same promises as calls of models: authenticate and find the
target; forward the bytes as they came; append to the spool and sync; answer. Besides, a whole
answer is checked against the output schema of the service. Streams are passed on by
``proxy.streaming``.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, unquote_to_bytes

import orjson

from istore.uuids import uuid7
from protocols.open_inference import read_json
from proxy import counters, limits, timestamps
from proxy.answer_checks import facts_in, misfit_of
from proxy.answers import (
    Refused,
    Send,
    nothing_here,
    send_whole,
    unauthenticated,
)
from proxy.balancing import Balance
from proxy.exchange import Exchange
from proxy.http.encodings import Take
from proxy.http.headers import Headers
from proxy.http.request_body import MemoryReservation, Reader
from proxy.http.upstream_pool import INVALID, UpstreamRequest, too_large
from proxy.inference_handler import RECORDED, Proxy, outgoing
from proxy.parser_processes import parse
from proxy.paths import Call
from proxy.request_parsing import (
    ParsedRequest,
    as_it_came,
    inflate,
    parse_request,
    wish_of,
)
from proxy.response_reading import (
    UpstreamResponse,
    is_stream,
    not_recorded,
    pass_on,
    read_answer,
)
from proxy.sessions.openai_streams import Simulating
from proxy.sessions.targets import NOT_STORED, SessionTarget, find_session_target
from proxy.spool.entries import FORM_JSON, FORM_V2, SpoolEntry, noted_item
from proxy.streaming import Streaming, carry_stream
from proxy.targets import Targets
from services.plain_batches import count_inputs, may_be_several
from services.runners.mocks import MockFailure, Simulated, Stream
from services.runners.servers import OPENAI, V2

PREFIX = b"/api/v1/inferencesessions/"
PATH = re.compile(rb"([^/]+)/infer/(.+)", re.DOTALL)
MOCKS_REMEMBERED = 256  # the one that was asked longest ago goes first
MOCK_VALUES = 100_000  # JSON values that a request to a mock may hold
JSON = "application/json"
UNREACHED = "upstream-unavailable"
STREAMING = "streaming"


@dataclass(frozen=True, slots=True)
class SessionCall(Call):
    """A call with a path of its own, instead of one of the open inference protocol."""

    path: str = ""

    def upstream_path(self, name: str, version: str | None) -> str:
        """Return the session's own path; name and version do not matter."""
        return self.path


@dataclass(slots=True)
class SessionExchange(Exchange):
    """An exchange of a session, with facts that are noted as metadata of its records."""

    form: str = FORM_JSON
    facts: dict[str, str | int | float] = field(default_factory=dict)

    def entry(
        self, answered: UpstreamResponse, ids: Sequence[str] | None = None
    ) -> SpoolEntry:
        """Return the spool entry, with the facts as metadata items."""
        entry = Exchange.entry(self, answered, ids)
        entry.facts.metadata = [noted_item(*fact) for fact in self.facts.items()]
        return entry


class SessionCalls:
    """State that all calls of sessions share, beside that of all calls."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self.targets: Targets[SessionTarget] = Targets(
            find_session_target, proxy.admission
        )
        self.balance = Balance()
        self._mocks: dict[str, Simulated] = {}

    async def infer(
        self, path: bytes, query: str, headers: Headers, reader: Reader, send: Send
    ) -> None:
        """Carry a call of a session. Raises ``Refused`` for what is refused before the response."""
        received_at = timestamps.now()
        target = await self._find(path, headers)
        with self.proxy.permits.allowance() as allowance:
            body = await reader.body(allowance)
            request = await _read(target, body, headers, allowance.take)
            exchange = _begin(target, request, received_at)
            if target.mock is not None:
                await self._simulate(target, exchange, allowance, reader, send)
                return
            lines, body = await outgoing(exchange.target, request, headers, body)
            if target.output_schema or target.dialect.protocol == OPENAI:
                lines = _uncompress(lines)

            async def carry(upstream: UpstreamRequest) -> None:
                await self._carry(target, exchange, upstream, allowance, reader, send)

            await self._ask(target, exchange, query, lines, body, carry)

    async def _find(self, path: bytes, headers: Headers) -> SessionTarget:
        if not headers.get(b"authorization"):
            raise unauthenticated()
        found = PATH.fullmatch(path.removeprefix(PREFIX))
        if found is None:
            raise nothing_here()
        session_id, endpoint = (
            unquote_to_bytes(group).decode(errors="replace") for group in found.groups()
        )
        target = await self.targets.find(headers, (session_id,))
        if target.endpoint != endpoint:
            raise nothing_here()
        return target

    async def _simulate(
        self,
        target: SessionTarget,
        exchange: SessionExchange,
        allowance: MemoryReservation,
        reader: Reader,
        send: Send,
    ) -> None:
        answer = await self._simulated(target, exchange.request)
        if isinstance(answer, Stream):
            upstream = Simulating.of(answer)
            await self._stream(exchange, upstream, allowance, reader, send)
            return
        exchange.responded_at = timestamps.now()
        await self._finish(target, exchange, answer, send)

    async def _simulated(
        self, target: SessionTarget, request: ParsedRequest
    ) -> UpstreamResponse | Stream:
        try:
            if request.encoding:
                raise Refused(
                    415, f"The encoding {request.encoding!r:.40} cannot be read."
                )
            # The mock runs in this process, so it must not be given a large request.
            depth, values = limits.JSON_MAX_DEPTH, MOCK_VALUES
            document = await asyncio.to_thread(read_json, request.body, depth, values)
        except ValueError as error:
            raise Refused(400, str(error), code="malformed-json") from None
        status = 200
        try:
            answer = await self._mock_of(target).answer(document)
        except MockFailure as failure:
            status, answer = failure.status, failure.body
            if answer is None:
                raise Refused(status, str(failure), code=failure.code) from None
        if isinstance(answer, Stream):
            return answer
        body = await asyncio.to_thread(orjson.dumps, answer)
        headers = [(b"content-type", JSON.encode())]
        return UpstreamResponse(status, headers, JSON, "", None, chunks=[body])

    def _mock_of(self, target: SessionTarget) -> Simulated:
        """Return the mock of the session, the same one for all its calls unless it was evicted."""
        found = self._mocks.pop(target.session_id, None)
        if found is None:
            assert target.mock is not None
            found = target.mock.begin(target.endpoint)
        self._mocks[target.session_id] = found  # in the order of their last use
        if len(self._mocks) > MOCKS_REMEMBERED:
            self._mocks.pop(next(iter(self._mocks)))
        return found

    async def _ask(
        self,
        target: SessionTarget,
        exchange: SessionExchange,
        query: str,
        lines: list[bytes],
        body: bytes,
        carry: Any,
    ) -> None:
        """Try one server after the other, as long as none could even be reached.

        A failure of a server that was reached is final.
        """
        path = target.dialect.path(target.endpoint)
        call = SessionCall("infer", "", path=path)
        servers = self.balance.in_order(target.servers)
        for server in servers:
            try:
                with self.balance.counted(server):
                    exchange.forwarded_at = timestamps.now()
                    upstream = self.proxy.upstreams.ask(
                        server, call, query, lines, body
                    )
                    async with upstream:
                        await carry(upstream)
                return
            except Refused as refused:
                if refused.code != UNREACHED or server is servers[-1]:
                    raise

    async def _carry(
        self,
        target: SessionTarget,
        exchange: SessionExchange,
        upstream: UpstreamRequest,
        allowance: MemoryReservation,
        reader: Reader,
        send: Send,
    ) -> None:
        response = upstream.response
        if is_stream(response):
            await self._stream(exchange, upstream, allowance, reader, send)
            return
        is_checked = bool(target.output_schema) and 200 <= response.status < 300
        if not target.stored and not is_checked:
            exchange.responded_at = timestamps.now()
            headers = exchange.headers(_describe(target))
            await pass_on(response, send, headers, upstream.patience)
            counters.tell(response.status, _describe(target))
            return
        answered = await read_answer(response, allowance, upstream.patience)
        exchange.responded_at = timestamps.now()
        if not answered.disposition:
            await self._finish(target, exchange, answered, send)
        elif is_checked:
            raise too_large()
        else:
            headers = exchange.headers(answered.disposition)
            await pass_on(response, send, headers, upstream.patience, answered.chunks)
            counters.tell(answered.status, answered.disposition)

    async def _stream(
        self,
        exchange: SessionExchange,
        upstream: Streaming,
        allowance: MemoryReservation,
        reader: Reader,
        send: Send,
    ) -> None:
        await carry_stream(exchange, upstream, self.proxy, allowance, reader, send)

    async def _finish(
        self,
        target: SessionTarget,
        exchange: SessionExchange,
        answered: UpstreamResponse,
        send: Send,
    ) -> None:
        """Check the whole answer, keep a copy if one is wanted, and send it."""
        if 200 <= answered.status < 300:
            if target.output_schema:
                await _check(answered, target.output_schema)
            if target.stored and target.dialect.protocol == OPENAI:
                exchange.facts |= await _facts(answered)
        disposition = _describe(target)
        if target.stored:
            disposition = (
                not_recorded(await self.proxy.keep(exchange, answered)) or RECORDED
            )
        counters.tell(answered.status, disposition)
        headers = [*answered.headers, *exchange.headers(disposition)]
        await send_whole(send, answered.status, headers, answered.body)


async def _read(
    target: SessionTarget, body: bytes, headers: Headers, take: Take
) -> ParsedRequest:
    """Return the parsed request, under an id of the caller's or of ours."""
    if target.dialect.protocol == V2:
        task_type = (target.stored or NOT_STORED).task_type
        return await parse_request(body, headers, task_type, take)
    encoding, most = headers.encoding(), limits.PROXY_MAX_REQUEST_BYTES
    try:
        plain = await inflate(body, encoding, most, take)
    except ValueError as error:
        request = as_it_came(body, error, encoding)
    else:
        request = ParsedRequest(plain, None, uuid7())
        if target.stored is not None:
            request.parts = await _count_inputs(plain, target.stored.task_type)
    given = unquote((headers.get(b"inference-id") or b"").decode("latin-1"))
    wish, warnings = wish_of(given)
    if wish:
        request.request_id, request.is_wish = wish, True
    request.warnings += warnings
    return request


async def _count_inputs(body: bytes, task_type: str) -> int:
    """Return the number of inputs; 1 if they cannot be parsed, which the server may refuse."""
    if not may_be_several(body, task_type):  # saves parsing of chats, which never are
        return 1
    try:
        return await parse(count_inputs, body, task_type)
    except ValueError:
        return 1


def _begin(
    target: SessionTarget, request: ParsedRequest, received_at: int
) -> SessionExchange:
    is_v2 = target.dialect.protocol == V2
    return SessionExchange(
        call=Call("infer", ""),
        target=target.stored or NOT_STORED,
        request=request,
        received_at=received_at,
        forwarded_at=received_at,
        responded_at=received_at,
        form=FORM_V2 if is_v2 else FORM_JSON,
        facts={"inference_session": target.session_id},
    )


async def _check(answered: UpstreamResponse, schema: dict[str, Any]) -> None:
    """Raise ``Refused`` (502) unless the answer fits the output schema."""
    body = await _plain(answered)
    problem = "It cannot be read."
    if body is not None:
        try:
            problem = await parse(misfit_of, body, schema)
        except ValueError as error:
            raise Refused(502, str(error), code="upstream-too-large") from None
    if problem:
        message = f"The answer does not fit the service's output schema. {problem}"
        raise Refused(502, message, code=INVALID)


async def _facts(answered: UpstreamResponse) -> dict[str, str | int | float]:
    """Return the facts in the answer; none if it cannot be parsed, as it leaves all the same."""
    body = await _plain(answered)
    try:
        return {} if body is None else await parse(facts_in, body)
    except ValueError:
        return {}


async def _plain(answered: UpstreamResponse) -> bytes | None:
    """Return the answer's body without its content encoding; None if that cannot be decoded."""
    most = limits.PROXY_MAX_RESPONSE_BYTES
    try:
        return await inflate(answered.body, answered.encoding, most, lambda _: True)
    except ValueError:
        return None


def _describe(target: SessionTarget) -> str:
    return STREAMING if target.stored else "off"


def _uncompress(lines: list[bytes]) -> list[bytes]:
    """Return the header lines with a request for an answer without compression."""
    kept = [line for line in lines if not line.startswith(b"accept-encoding:")]
    return [*kept, b"accept-encoding: identity\r\n"]
