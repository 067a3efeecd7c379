"""Facts of a whole answer of a text API, such as its token counts, noted with its record."""

from __future__ import annotations

from proxy import limits
from proxy.answer_checks import facts_in
from proxy.exchange import Exchange
from proxy.parser_processes import parse
from proxy.request_parsing import inflate
from proxy.response_reading import UpstreamResponse


async def note_facts(exchange: Exchange, answered: UpstreamResponse) -> None:
    """Note the facts of the answer; none if it cannot be parsed, as it leaves all the same."""
    body = await plain_body(answered)
    try:
        facts = {} if body is None else await parse(facts_in, body)
    except ValueError:
        return
    exchange.facts |= facts


async def plain_body(answered: UpstreamResponse) -> bytes | None:
    """Return the answer's body without its content encoding; None if that cannot be decoded."""
    limit = limits.PROXY_MAX_RESPONSE_BYTES
    try:
        return await inflate(answered.body, answered.encoding, limit, lambda _: True)
    except ValueError:
        return None
