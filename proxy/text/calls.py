"""Calls of models by text APIs, and the lists of the models that a token may call.

They have the same steps and the same promises as calls by the open inference protocol. Where the
body names the model, the token is looked up first, so that nobody unknown sends a large body.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from inferences.models import RegisteredModel
from protocols.text_requests import SESSION, USER, RequestFacts
from proxy import timestamps
from proxy.answer_facts import note_facts
from proxy.answers import Refused, Send, not_found, send_json
from proxy.exchange import Exchange
from proxy.http.headers import REQUEST_ID, Headers, ask_uncompressed
from proxy.http.request_body import MemoryReservation, Reader
from proxy.inference_handler import Proxy, ids_for_upstream
from proxy.paths import Call, PathCall, is_id
from proxy.request_parsing import (
    ParsedRequest,
    count_plain_inputs,
    read_plain_request,
)
from proxy.response_reading import ResponseHead
from proxy.spool.entries import FORM_JSON
from proxy.targets import Target, Targets, find_project
from proxy.text.endpoints import TAGS, Listing, Route
from proxy.text.request_facts import read_facts, rewrite

LISTED = 1000  # models in one list, by their ids
REQUEST_IDS = (REQUEST_ID, b"request-id")  # of OpenAI and of Anthropic


@dataclass(slots=True)
class TextExchange(Exchange):
    """An exchange whose records name the server's own id of the request."""

    def note(self, response: ResponseHead) -> None:
        self.request_id = _request_id(response)


class TextCalls:
    """State that all calls by text APIs share, beside that of all calls."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self.projects: Targets[int] = Targets(find_project, proxy.admission)

    async def infer(
        self, route: Route, query: str, headers: Headers, reader: Reader, send: Send
    ) -> None:
        """Carry a call at an endpoint. Raises ``Refused`` before the response begins."""
        received_at = timestamps.now()
        endpoint, target = route.endpoint, None
        if route.model_id:
            target = await self._find(route.model_id, headers)
        else:
            await self.projects.find(headers, ())
        with self.proxy.permits.allowance() as allowance:
            body = await reader.body(allowance)
            request = await read_plain_request(body, headers, allowance.take)
            facts, warnings = await read_facts(request.body, headers)
            request.warnings += warnings
            if target is None:
                if not facts.model:
                    message = "The body names no model."
                    raise Refused(400, message, code="model-missing")
                target = await self._find(facts.model, headers, is_counted=False)
            if not endpoint.is_kept:
                target = replace(target, is_stored=False)
            path = endpoint.path_at(target)
            call = PathCall("infer", target.model_id, path=path)
            exchange = await _begin(call, target, request, facts, received_at)
            exchange.error_form = endpoint.error_form
            await self._carry(
                exchange, facts, body, query, headers, allowance, reader, send
            )

    async def generate(
        self,
        calls: Sequence[Call],
        query: str,
        headers: Headers,
        reader: Reader,
        send: Send,
    ) -> None:
        """Carry a call of Triton's ``generate`` or ``generate_stream``; raises ``Refused``."""
        received_at = timestamps.now()
        call, target = await self.proxy.find_target(calls, headers)
        with self.proxy.permits.allowance() as allowance:
            body = await reader.body(allowance)
            request = await read_plain_request(body, headers, allowance.take)
            facts, warnings = await read_facts(request.body, headers)
            request.warnings += warnings
            exchange = await _begin(call, target, request, facts, received_at)
            await self._carry(
                exchange, facts, body, query, headers, allowance, reader, send
            )

    async def list_models(self, listing: Listing, headers: Headers, send: Send) -> None:
        """Send the list of the models of the token's project, or one of them.

        The list has the members that OpenAI's, Anthropic's and KServe's clients read.
        """
        project = await self.projects.find(headers, ())

        def look() -> list[tuple[str, int, str]]:
            return _models_of(project, listing.model_id)

        found = await self.proxy.admission.in_thread(look)
        if listing.model_id and not found:
            raise not_found()
        entries = [_entry(*each) for each in found]
        if listing.path == TAGS:
            await send_json(send, 200, {"models": [_tag(*each) for each in found]})
        elif listing.is_one:
            await send_json(send, 200, entries[0])
        else:
            names = [each[0] for each in found]
            first, last = (names[0], names[-1]) if names else (None, None)
            value = {
                "object": "list",
                "data": entries,
                "has_more": False,
                "first_id": first,
                "last_id": last,
                "models": names,
            }
            await send_json(send, 200, value)

    async def _find(
        self, model_id: str, headers: Headers, *, is_counted: bool = True
    ) -> Target:
        if not is_id(model_id):
            raise not_found()
        return await self.proxy.targets.find(
            headers, (model_id,), is_counted=is_counted
        )

    async def _carry(
        self,
        exchange: Exchange,
        facts: RequestFacts,
        body: bytes,
        query: str,
        headers: Headers,
        allowance: MemoryReservation,
        reader: Reader,
        send: Send,
    ) -> None:
        lines, body = await _outgoing(exchange, facts, headers, body)
        answered = await exchange.carry(
            self.proxy.upstreams,
            query,
            lines,
            body,
            allowance,
            reader,
            send,
            self.proxy,
        )
        if answered is not None:
            if exchange.target.is_stored and 200 <= answered.status < 300:
                await note_facts(exchange, answered)
            await self.proxy.finish(exchange, answered, send)


async def _begin(
    call: Call,
    target: Target,
    request: ParsedRequest,
    facts: RequestFacts,
    received_at: int,
) -> Exchange:
    if target.is_stored and request.is_read:
        request.parts = await count_plain_inputs(request.body, target.task_type)
    exchange = TextExchange.begin(call, target, request, received_at)
    exchange.form = FORM_JSON
    named = {USER: facts.user, SESSION: facts.session}
    exchange.facts |= {name: given for name, given in named.items() if given}
    exchange.items = facts.metadata
    return exchange


async def _outgoing(
    exchange: Exchange, facts: RequestFacts, headers: Headers, body: bytes
) -> tuple[list[bytes], bytes]:
    """Return the headers and the body to forward.

    The body is as it came, unless it names the model by the store's id and the server has
    another name for it, or the model takes metadata out of what is forwarded.
    """
    target, request = exchange.target, exchange.request
    instead = ids_for_upstream(request, headers)
    is_ours = facts.model == target.model_id
    strips = target.strips_metadata
    if request.is_read and (strips or (is_ours and target.name != target.model_id)):
        name = target.name if is_ours else facts.model
        written = await rewrite(request.body, facts.model, name, strips=strips)
        if written is not request.body:
            body, instead[b"content-encoding"] = written, None
    lines = headers.to_upstream(instead)
    # The first token is found in a stream as it came, so it must not be compressed.
    return (ask_uncompressed(lines) if target.is_stored else lines), body


def _request_id(response: ResponseHead) -> str:
    """Return the id that the server gave the request; "" if it gave none that can be kept."""
    for name in REQUEST_IDS:
        if given := response.header(name).decode("latin-1"):
            return given if given.isprintable() and len(given) <= 255 else ""
    return ""


def _models_of(project: int, model_id: str) -> list[tuple[str, int, str]]:
    """Return the id, the time of registration, and the project's id of models of a project."""
    models = RegisteredModel.objects.filter(project=project).exclude(upstream_url="")
    if model_id:
        models = models.filter(model_id=model_id)
    rows = models.order_by("model_id").values_list(
        "model_id", "created_at", "project__project_id"
    )
    return [(name, int(at.timestamp()), owner) for name, at, owner in rows[:LISTED]]


def _entry(model_id: str, created_at: int, owner: str) -> dict[str, object]:
    """Return a model as OpenAI's, Anthropic's and KServe's clients read it."""
    return {
        "id": model_id,
        "object": "model",
        "created": created_at,
        "owned_by": owner,
        "type": "model",
        "display_name": model_id,
        "created_at": _written(created_at),
        "name": model_id,
        "ready": True,
    }


def _tag(model_id: str, created_at: int, owner: str) -> dict[str, object]:
    """Return a model as Ollama's clients read it."""
    return {
        "name": model_id,
        "model": model_id,
        "modified_at": _written(created_at),
        "size": 0,
        "digest": "",
        "details": {},
    }


def _written(seconds: int) -> str:
    return timestamps.format_timestamp(seconds * timestamps.SECOND)
