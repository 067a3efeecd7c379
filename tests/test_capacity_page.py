"""What the docs say of capacity is computed from the figures that are checked in."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace

import pytest

from benchmarks import capacity

MEASURED = json.loads(capacity.MEASURED.read_text())


def test_the_page_is_fresh():
    """After a new measurement: ``.venv/bin/python benchmarks/capacity.py --write``."""
    page = capacity.PAGE.read_text()
    assert capacity.section(MEASURED, capacity.Prices()) in page
    assert page.count("## What to buy") == 1


def test_a_page_keeps_what_stands_around_the_section():
    written = f"## What to buy\n{capacity.END}\n"
    page = capacity.with_section("# Scale\n\ntext\n", written)
    assert page == f"# Scale\n\ntext\n\n{written}"
    more = f"{page}\n## Nodes\n"
    assert capacity.with_section(more, written) == more


def test_more_of_everything_costs_more():
    found = capacity.needs(MEASURED, capacity.STATED)
    prices = capacity.Prices()
    for need in found.values():
        money = [capacity.Purchase(need, n, 3, prices).money for n in capacity.NUMBERS]
        assert money == sorted(money)
        assert need.puts(1) >= need.puts(100) >= need.blobs / capacity.PACK_BYTES
    dear = replace(prices, blob_gb_month=1.0)
    of_pictures = found["detection"], capacity.NUMBERS[0], 3
    assert (
        capacity.Purchase(*of_pictures, dear).money
        > 2 * capacity.Purchase(*of_pictures, prices).money
    )


def test_processor_time_is_of_the_newest_idle_run_that_has_it(tmp_path):
    figure = {"name": "listener", "value": 99.0, "unit": "µs an event"}
    runs = [
        {
            "busy": busy,
            "commit": name,
            "figures": {"ingest": [figure | {"value": value}]},
        }
        for busy, name, value in (
            (False, "a", 5.0),
            (False, "b", 7.0),
            (True, "c", 9.0),
        )
    ]
    history = tmp_path / "history.jsonl"
    history.write_text("\n".join(map(json.dumps, runs)))
    found, sources = capacity.from_history(history)
    assert (found["listener"], sources["listener"]) == (7.0, "run of b")
    assert found["proxy"] == capacity.STATED["proxy"]


@pytest.mark.parametrize(
    "text",
    [
        "nothing=1",
        "disk_gb_month=-1",
        "disk_gb_month=nan",
        "disk_gb_month",
        "disk_gb_month=1e308",
    ],
)
def test_prices_that_are_none_are_named(text):
    with pytest.raises(argparse.ArgumentTypeError, match=text.partition("=")[0]):
        capacity.price(text)
