"""Calls of inference sessions: ``POST /api/v1/inferencesessions/{id}/infer/{endpoint}``.

They have the same steps and the same promises as calls of models: authenticate and find the
target; forward the bytes as they came; append to the spool and sync; answer. Besides, a whole
answer is checked against the output schema of the service. Streams are passed on by
``proxy.streaming``.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import unquote_to_bytes

import orjson

from protocols.open_inference import read_json
from proxy import limits, timestamps
from proxy.answer_checks import misfit_of
from proxy.answer_facts import note_facts, plain_body
from proxy.answers import (
    Refused,
    Send,
    nothing_here,
    unauthenticated,
)
from proxy.balancing import Balance
from proxy.exchange import Exchange
from proxy.http.encodings import Take
from proxy.http.headers import Headers, ask_uncompressed
from proxy.http.request_body import MemoryReservation, Reader
from proxy.http.upstream_pool import INVALID, UpstreamRequest
from proxy.inference_handler import Proxy, outgoing
from proxy.parser_processes import parse
from proxy.paths import Call, PathCall
from proxy.problems import in_problem
from proxy.request_parsing import (
    ParsedRequest,
    count_plain_inputs,
    parse_request,
    read_plain_request,
)
from proxy.response_reading import UpstreamResponse
from proxy.sessions.openai_streams import Simulating
from proxy.sessions.targets import NOT_STORED, SessionTarget, find_session_target
from proxy.spool.entries import FORM_JSON, FORM_V2
from proxy.streaming import carry_stream
from proxy.targets import Targets
from services.runners.mocks import MockFailure, Simulated, Stream
from services.runners.servers import OPENAI, V2

PREFIX = b"/api/v1/inferencesessions/"
PATH = re.compile(rb"([^/]+)/infer/(.+)", re.DOTALL)
MOCKS_REMEMBERED = 256  # the one that was asked longest ago goes first
MOCK_VALUES = 100_000  # JSON values that a request to a mock may hold
JSON = "application/json"
UNREACHED = "upstream-unavailable"


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
                lines = ask_uncompressed(lines)

            async def carry(upstream: UpstreamRequest) -> UpstreamResponse | None:
                return await self._carry(
                    target, exchange, upstream, allowance, reader, send
                )

            try:
                answered = await self._ask(target, exchange, query, lines, body, carry)
            except Refused as refused:
                answered = exchange.failed(refused)
            if answered is not None:
                await self._finish(target, exchange, answered, send)

    async def _find(self, path: bytes, headers: Headers) -> SessionTarget:
        if headers.credential() is None:
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
        exchange: Exchange,
        allowance: MemoryReservation,
        reader: Reader,
        send: Send,
    ) -> None:
        answer = await self._simulated(target, exchange.request)
        if isinstance(answer, Stream):
            upstream = Simulating.of(answer)
            await carry_stream(exchange, upstream, self.proxy, allowance, reader, send)
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
        exchange: Exchange,
        query: str,
        lines: list[bytes],
        body: bytes,
        carry: Callable[[UpstreamRequest], Awaitable[UpstreamResponse | None]],
    ) -> UpstreamResponse | None:
        """Try one server after the other, as long as none could even be reached.

        A failure of a server that was reached is final.
        """
        path = target.dialect.path(target.endpoint)
        call = PathCall("infer", "", path=path)
        servers = self.balance.in_order(target.servers)
        for server in servers:
            try:
                with self.balance.counted(server):
                    exchange.forwarded_at = timestamps.now()
                    upstream = self.proxy.upstreams.ask(
                        server, call, query, lines, body
                    )
                    async with upstream:
                        return await carry(upstream)
            except Refused as refused:
                if refused.code != UNREACHED or server is servers[-1]:
                    raise
        raise nothing_here()  # a session that is ready has a server

    async def _carry(
        self,
        target: SessionTarget,
        exchange: Exchange,
        upstream: UpstreamRequest,
        allowance: MemoryReservation,
        reader: Reader,
        send: Send,
    ) -> UpstreamResponse | None:
        is_checked = (
            bool(target.output_schema) and 200 <= upstream.response.status < 300
        )
        return await exchange.take(
            upstream, allowance, reader, send, self.proxy, must_read=is_checked
        )

    async def _finish(
        self,
        target: SessionTarget,
        exchange: Exchange,
        answered: UpstreamResponse,
        send: Send,
    ) -> None:
        """Check the whole answer, keep a copy if one is wanted, and send it."""
        if 200 <= answered.status < 300:
            if target.output_schema:
                await _check(answered, target.output_schema)
            if target.stored and target.dialect.protocol == OPENAI:
                await note_facts(exchange, answered)
        await self.proxy.finish(exchange, answered, send)


async def _read(
    target: SessionTarget, body: bytes, headers: Headers, take: Take
) -> ParsedRequest:
    """Return the parsed request, under an id of the caller's or of ours."""
    if target.dialect.protocol == V2:
        task_type = (target.stored or NOT_STORED).task_type
        return await parse_request(body, headers, task_type, take)
    request = await read_plain_request(body, headers, take)
    if target.stored is not None and request.is_read:
        task_type = target.stored.task_type
        request.parts = await count_plain_inputs(request.body, task_type)
    return request


def _begin(target: SessionTarget, request: ParsedRequest, received_at: int) -> Exchange:
    is_v2 = target.dialect.protocol == V2
    exchange = Exchange.begin(
        Call("infer", ""), target.stored or NOT_STORED, request, received_at
    )
    exchange.form = FORM_V2 if is_v2 else FORM_JSON
    exchange.facts["inference_session"] = target.session_id
    exchange.error_form = in_problem
    return exchange


async def _check(answered: UpstreamResponse, schema: dict[str, Any]) -> None:
    """Raise ``Refused`` (502) unless the answer fits the output schema."""
    body = await plain_body(answered)
    problem = "It cannot be read."
    if body is not None:
        try:
            problem = await parse(misfit_of, body, schema)
        except ValueError as error:
            raise Refused(502, str(error), code="upstream-too-large") from None
    if problem:
        message = f"The answer does not fit the service's output schema. {problem}"
        raise Refused(502, message, code=INVALID)
