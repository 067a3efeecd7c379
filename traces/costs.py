"""What the spans of a trace cost: by the prices of tokens, else as the application stated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from inferences.models import TokenPrice
from inferences.store import token_prices
from protocols.conversations import Usage
from traces.tree import Node, is_repeated


@dataclass(frozen=True, slots=True)
class Cost:
    """An amount; the currency of what was stated is not known."""

    amount: Decimal
    currency: str = ""


def costs_of(nodes: Iterable[Node], prices: Sequence[TokenPrice]) -> dict[int, Cost]:
    """Return the costs of spans by ``id(node)``; those without a known cost are left out."""
    costs: dict[int, Cost] = {}
    for node in nodes:
        if cost := _by_price(node, prices) or _stated(node):
            costs[id(node)] = cost
    return costs


def sums_of(nodes: Iterable[Node], costs: Mapping[int, Cost]) -> list[Cost]:
    """Return the sum of each currency, over the innermost spans that have a cost."""
    sums: dict[str, Decimal] = {}
    for node in nodes:
        cost = costs.get(id(node))
        if cost and not is_repeated(node, lambda each: id(each) in costs):
            sums[cost.currency] = sums.get(cost.currency, Decimal(0)) + cost.amount
    return [Cost(amount, currency) for currency, amount in sums.items()]


def _by_price(node: Node, prices: Sequence[TokenPrice]) -> Cost | None:
    usage = Usage(
        prompt_tokens=_count(node, "prompt_tokens"),
        completion_tokens=_count(node, "completion_tokens"),
        cached_tokens=_count(node, "cached_tokens"),
    )
    if usage.prompt_tokens is None and usage.completion_tokens is None:
        return None
    names = (node.fact("model_version"), node.model.model_id)
    price = token_prices.price_of(prices, names, node.span.started_at.date())
    amount = token_prices.cost_of(price, usage) if price else None
    return Cost(amount, price.currency) if price and amount is not None else None


def _stated(node: Node) -> Cost | None:
    amount = _number(node, "cost")
    return None if amount is None else Cost(amount)


def _count(node: Node, name: str) -> int | None:
    number = _number(node, name)
    return int(number) if number is not None and 0 <= number < 2**63 else None


def _number(node: Node, name: str) -> Decimal | None:
    try:
        number = Decimal(node.fact(name))
    except InvalidOperation:
        return None
    return number if number.is_finite() and abs(number) < Decimal(10) ** 18 else None
