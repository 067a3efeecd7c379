"""What an answer took: tokens, cost, latency and the time to its first token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal, InvalidOperation

from inferences.models import Inference, TokenPrice
from inferences.store.token_prices import cost_of, price_of, write_amount
from inferences.web.view_models.timeline import timeline
from protocols.conversations import Conversation, Usage
from protocols.text_requests import SESSION_KEYS

# Metadata that calls, sessions and traces record.
COSTS = ("cost", "total_cost")
FIRST_TOKEN, MODEL_VERSION = "time_to_first_token", "model_version"
REASON = "finish_reason"


@dataclass(frozen=True, slots=True)
class Cost:
    """What an answer cost: by a price of the table, or as its caller stated."""

    amount: Decimal
    currency: str = ""
    price: TokenPrice | None = None

    def __str__(self) -> str:
        return f"{write_amount(self.amount)} {self.currency}".strip()


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of an answer; None or "" for what is not known."""

    usage: Usage
    cost: Cost | None
    stated: Cost | None
    latency: timedelta | None
    first_token: timedelta | None
    finish_reason: str
    model: str

    @property
    def tokens_per_second(self) -> float | None:
        """The generated tokens in a second: behind the first one, if its time is known."""
        made, latency = self.usage.completion_tokens, self.latency
        if not made or latency is None:
            return None
        took = (latency - (self.first_token or timedelta())).total_seconds()
        return made / took if took > 0 else None


def figures_of(
    inference: Inference,
    conversation: Conversation | None,
    prices: Sequence[TokenPrice],
) -> Figures:
    """Return the figures of an answer: as recorded, else as the answer reports them."""
    told = (conversation.usage if conversation else None) or Usage()
    usage = Usage(
        _first(told.prompt_tokens, _count(inference, "prompt_tokens")),
        _first(told.completion_tokens, _count(inference, "completion_tokens")),
        _first(told.total_tokens, _count(inference, "total_tokens")),
        _first(told.cached_tokens, _count(inference, "cached_tokens")),
        told.reasoning_tokens,
    )
    version = _text(inference, MODEL_VERSION)
    said = conversation.model if conversation else ""
    names = (version, said, inference.registered_model.model_id)
    price = price_of(prices, names, inference.created_at.date())
    amount = cost_of(price, usage) if price else None
    stated = next(filter(None, (_number(inference, key) for key in COSTS)), None)
    times = timeline(inference.payload.notes)
    latency = _seconds(inference, "latency")
    reasons = (
        each.finish_reason for each in (conversation.choices if conversation else ())
    )
    return Figures(
        usage,
        Cost(amount, price.currency, price) if price and amount is not None else None,
        Cost(stated) if stated is not None else None,
        times.model if times and times.model is not None else latency,
        _seconds(inference, FIRST_TOKEN),
        _text(inference, REASON) or next(filter(None, reasons), ""),
        version or said,
    )


def sessions_of(inference: Inference) -> list[tuple[str, str]]:
    """Return the key and the value of each session or conversation that it belongs to."""
    found = {_text(inference, key): key for key in reversed(SESSION_KEYS)}
    return [(key, value) for value, key in reversed(found.items()) if value]


def _first(*counts: int | None) -> int | None:
    return next((each for each in counts if each is not None), None)


def _text(inference: Inference, key: str) -> str:
    type_, value = inference.payload.metadata.get(key, ("", ""))
    return str(value) if type_ == "string" else ""


def _count(inference: Inference, key: str) -> int | None:
    number = _number(inference, key)
    return int(number) if number is not None and 0 <= number < 2**63 else None


def _number(inference: Inference, key: str) -> Decimal | None:
    type_, value = inference.payload.metadata.get(key, ("", ""))
    if type_ not in ("int", "float"):
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() and abs(number) < Decimal(10) ** 18 else None


def _seconds(inference: Inference, key: str) -> timedelta | None:
    seconds = _number(inference, key)
    if seconds is None or not 0 <= seconds < 10**7:
        return None
    return timedelta(seconds=float(seconds))
