"""The price of tokens: which one holds for a model on a day, and what an answer cost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal

from django.db import IntegrityError, transaction
from django.db.models import Q

from inferences.models import TokenPrice
from istore.errors import Conflict
from istore.models import AuditEntry, Project
from protocols.conversations import Usage

PRICES_MAX = 1000  # of a project, with those of all projects; each page that shows costs reads them
MILLION = Decimal(1_000_000)
CENT = Decimal("0.01")
TAKEN = "There is a price of this model from this day on. Remove it first."


def prices_for(project: Project) -> list[TokenPrice]:
    """Return the prices that hold in a project: its own, and those of all projects."""
    rows = TokenPrice.objects.filter(Q(project=project) | Q(project=None))
    return list(rows.order_by("model_pattern", "-valid_from", "id")[:PRICES_MAX])


def price_of(
    prices: Iterable[TokenPrice], names: Sequence[str], day: date
) -> TokenPrice | None:
    """Return the price of the first of these names that has one on a day.

    The project's own stand above those of all projects, then the pattern with the most characters
    of its own, then the latest.
    """
    begun = [price for price in prices if price.valid_from <= day]
    for name in filter(None, names):
        fitting = [price for price in begun if fits(price.model_pattern, name)]
        if fitting:
            return max(fitting, key=_rank)
    return None


def _rank(price: TokenPrice) -> tuple[bool, int, date]:
    letters = len(price.model_pattern.replace("*", ""))
    return price.project_id is not None, letters, price.valid_from


def fits(pattern: str, name: str) -> bool:
    """Return whether a model's name fits a pattern; upper and lower case are alike.

    The parts between stars are looked for one behind the other, which takes linear time.
    """
    first, *others = pattern.casefold().split("*")
    name = name.casefold()
    if not others:
        return name == first
    *inner, last = others
    if not name.startswith(first) or len(name) < len(first) + len(last):
        return False
    place, end = len(first), len(name) - len(last)
    for part in inner:
        found = name.find(part, place, end)
        if found < 0:
            return False
        place = found + len(part)
    return name.endswith(last)


def cost_of(price: TokenPrice, usage: Usage) -> Decimal | None:
    """Return what the tokens of an answer cost; None if it does not report them."""
    if usage.prompt_tokens is None and usage.completion_tokens is None:
        return None
    asked, made = usage.prompt_tokens or 0, usage.completion_tokens or 0
    cached = min(usage.cached_tokens or 0, asked)
    of_cached = price.cached_input_price
    if of_cached is None:
        of_cached = price.input_price
    total = (
        (asked - cached) * price.input_price
        + cached * of_cached
        + made * price.output_price
    )
    return total / MILLION


def write_amount(amount: Decimal) -> str:
    """Return an amount with two decimals, or two significant digits if it is below a cent."""
    if amount == 0 or abs(amount) >= CENT:
        return f"{amount:,.4f}" if abs(amount) < 1 else f"{amount:,.2f}"
    places = min(1 - amount.adjusted(), 12)
    return f"{amount:.{places}f}"


def add_price(actor: object, price: TokenPrice) -> None:
    """Store a new price. Raises ``Conflict`` ``price-exists``."""
    price.created_by = str(actor)
    try:
        with transaction.atomic():
            price.save(force_insert=True)
            _audit(actor, "price.add", price)
    except IntegrityError:
        raise Conflict("price-exists", TAKEN) from None


@transaction.atomic
def remove_price(actor: object, price: TokenPrice) -> None:
    """Remove a price: what it was the price of has none, or an earlier one."""
    _audit(actor, "price.remove", price)
    price.delete()


def _audit(actor: object, action: str, price: TokenPrice) -> None:
    cached = price.cached_input_price
    AuditEntry.write(
        actor,
        action,
        price.model_pattern,
        price.project,
        input=str(price.input_price),
        cached_input=None if cached is None else str(cached),
        output=str(price.output_price),
        currency=price.currency,
        valid_from=price.valid_from.isoformat(),
    )
