"""Which price of tokens holds, and what an answer costs."""

from __future__ import annotations

import time
from datetime import date
from decimal import Decimal

import pytest

from inferences.models import TokenPrice
from inferences.store.token_prices import cost_of, fits, price_of, write_amount
from protocols.conversations import Usage


@pytest.mark.parametrize(
    ("pattern", "name", "is_fitting"),
    [
        ("gpt-4o", "gpt-4o", True),
        ("GPT-4o*", "gpt-4O-mini", True),
        ("gpt-4o", "gpt-4o-mini", False),
        ("*", "", True),
        ("*mini", "gpt-4o-mini", True),
        ("gpt*mini*", "gpt-4o-mini-2024", True),
        ("a*a", "a", False),
        ("a*b*c", "a-c-b", False),
        ("gpt.4o", "gpt-4o", False),
        ("**", "x", True),
    ],
)
def test_a_star_stands_for_any_characters(pattern, name, is_fitting):
    assert fits(pattern, name) is is_fitting


def test_a_pattern_of_many_stars_takes_no_time():
    began = time.process_time()
    assert not fits("a*" * 100 + "b", "a" * 10_000)
    assert time.process_time() - began < 0.5


def price(pattern, project=None, begins=date(2025, 1, 1), **fields):
    values = {"input_price": 1, "output_price": 2, **fields}
    return TokenPrice(
        model_pattern=pattern, project_id=project, valid_from=begins, **values
    )


def test_the_closest_price_holds():
    prices = [
        widest := price("*"),
        family := price("gpt-*"),
        earlier := price("gpt-4o*"),
        later := price("gpt-4o*", begins=date(2025, 6, 1)),
        own := price("claude*", project=7),
        price("claude-3*"),
    ]

    def found(*names, day=date(2025, 7, 1)):
        return price_of(prices, names, day)

    assert found("gpt-4o-mini") is later
    assert found("gpt-4o-mini", day=date(2025, 5, 31)) is earlier
    assert found("gpt-5") is family
    assert found("claude-3-opus") is own
    assert found("", "llama") is widest
    assert found("gpt-4o", day=date(2024, 1, 1)) is None
    assert price_of([family], ["llama", "gpt-5"], date(2025, 7, 1)) is family


def test_the_cost_is_that_of_input_cached_input_and_output():
    with_cache = price("*", input_price=Decimal(4), cached_input_price=Decimal(1))
    without = price("*", input_price=Decimal(4))

    assert cost_of(with_cache, Usage(1000, 500, cached_tokens=250)) == Decimal(
        "0.00425"
    )
    assert cost_of(without, Usage(1000, 500, cached_tokens=250)) == Decimal("0.005")
    assert cost_of(without, Usage(1000)) == Decimal("0.004")
    assert cost_of(without, Usage(total_tokens=3)) is None


@pytest.mark.parametrize(
    ("amount", "written"),
    [
        ("0", "0.0000"),
        ("0.00426", "0.0043"),
        ("0.0000123", "0.000012"),
        ("0.123456", "0.1235"),
        ("1234.5", "1,234.50"),
        ("1e-15", "0.000000000000"),
    ],
)
def test_small_amounts_keep_two_digits(amount, written):
    assert write_amount(Decimal(amount)) == written
