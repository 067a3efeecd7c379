"""Compute what a million inferences cost, by kind of model, and what to buy for more of them.

``python benchmarks/capacity.py`` prints the tables; ``--write`` writes them as the section
*What to buy* of ``docs/scale.md``. Bytes, WAL and the database's processor time were measured by
``capacity_fill.py`` (``capacity.json``); processor time of the processes comes from the newest run in
``history.jsonl`` that has it, else from the figures of ``benchmarks/README.md``, which ``STATED``
repeats. Prices are inputs: ``--price processor_hour=0.05``.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
MEASURED = ROOT / "benchmarks" / "capacity.json"
HISTORY = ROOT / "benchmarks" / "history.jsonl"
PAGE = ROOT / "docs" / "scale.md"
BEGIN = "<!-- Written by benchmarks/capacity.py --write; do not edit by hand. -->"
END = "<!-- End of what benchmarks/capacity.py wrote. -->"

MILLION, GB, MONTH_SECONDS = 1_000_000, 1e9, 30 * 86_400
NUMBERS = (10 * MILLION, 100 * MILLION, 1000 * MILLION)
# Microseconds of processor time a call, of benchmarks/README.md (Capture, Proxy; 2026-11-30).
STATED = {"proxy": 208.0, "capture": 112.0, "listener": 147.0}
# By process: the script of a run and what the name and the unit of its figure hold.
OF_HISTORY = {
    "proxy": ("proxy", "16 connections", "µs a call"),
    "listener": ("ingest", "listener", "µs an event"),
}
VECTOR_INDEX_BYTES = 1170.0  # of 384 numbers: benchmarks/README.md, Vectors
MEMBER_BYTES = 100  # that a pack holds beside an input or an answer
PACK_BYTES = 8 * 2**20
PUTS_A_SECOND = 1.91  # of a model that is called all the time, while packs are not full
PUTS_MOST = 2.0  # for one inference, when calls are rare
USED = 0.5  # of a processor, so that peaks and vacuum find the rest
FREE_DISK = 1.5  # bought for each byte that is used
HOT = 0.25  # of indexes and rows' newest part, which memory should hold
MOST = 1_000_000  # of a price or a peak
PRICES_OF = "2025-01-01"


@dataclass(frozen=True, slots=True)
class Prices:
    """What is paid, in one currency. The defaults are assumptions of the order of what large
    clouds asked, not quotes: give your own."""

    processor_hour: float = 0.04
    memory_gb_month: float = 3.0
    disk_gb_month: float = 0.1
    blob_gb_month: float = 0.023
    thousand_puts: float = 0.005
    thousand_gets: float = 0.0004


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of model, and the bytes of an input and of an answer as they are stored."""

    name: str
    input_bytes: int
    answer_bytes: int


KINDS = (
    Kind("detection", 150_000, 600),
    Kind("tabular", 1_000, 300),
    Kind("text", 4_000, 2_000),
    Kind("embedding", 2_000, 3_500),
)


@dataclass(frozen=True, slots=True)
class Need:
    """What one inference takes. Bytes of the database, of blobs and of WAL; microseconds."""

    kind: Kind
    rows: float
    indexes: float
    segments: float
    wal: float
    processors: Mapping[str, float] = field(default_factory=dict)

    @property
    def database(self) -> float:
        return self.rows + self.indexes + self.segments

    @property
    def blobs(self) -> float:
        return self.kind.input_bytes + self.kind.answer_bytes + 2 * MEMBER_BYTES

    @property
    def processor_us(self) -> float:
        return sum(self.processors.values())

    def puts(self, a_second: float) -> float:
        """Return the PUTs of an inference, of one model with so many calls a second.

        Packs are closed when they are full, or after a window of time.
        """
        by_window = min(PUTS_A_SECOND / a_second, PUTS_MOST)
        return max(self.blobs / PACK_BYTES, by_window)


@dataclass(frozen=True, slots=True)
class Purchase:
    """What to buy for a number of inferences that come within a month and are kept."""

    need: Need
    number: int
    peak: float
    prices: Prices

    @property
    def a_second(self) -> float:
        """Calls a second, on average."""
        return self.number / MONTH_SECONDS

    def processors_of(self, *names: str) -> int:
        used = sum(self.need.processors[name] for name in names) / 1e6
        return max(math.ceil(self.a_second * self.peak * used / USED), 1)

    @property
    def memory_gb(self) -> float:
        hot = HOT * self.number * (self.need.indexes + self.need.rows / 4) / GB
        return float(max(math.ceil(hot + 2), 4))

    @property
    def disk_gb(self) -> float:
        return FREE_DISK * self.number * self.need.database / GB

    @property
    def blob_gb(self) -> float:
        return self.number * self.need.blobs / GB

    @property
    def puts(self) -> float:
        return self.number * self.need.puts(self.a_second)

    @property
    def money(self) -> float:
        """The money of a month."""
        prices = self.prices
        processors = self.processors_of("proxy", "capture", "listener")
        processors += self.processors_of("database")
        return (
            processors * 720 * prices.processor_hour
            + self.memory_gb * prices.memory_gb_month
            + self.disk_gb * prices.disk_gb_month
            + self.blob_gb * prices.blob_gb_month
            + self.puts / 1000 * (prices.thousand_puts + prices.thousand_gets)
        )


def from_history(history: Path = HISTORY) -> tuple[dict[str, float], dict[str, str]]:
    """Return the processor time of each process, and where each figure comes from."""
    found = dict(STATED)
    sources = dict.fromkeys(STATED, "`benchmarks/README.md`")
    lines = history.read_text().splitlines() if history.exists() else []
    for line in lines:
        run: dict[str, Any] = json.loads(line)
        if run["busy"]:
            continue
        for process, (script, named, unit) in OF_HISTORY.items():
            for figure in run["figures"].get(script, []):
                if named in figure["name"] and figure["unit"] == unit:
                    found[process] = figure["value"]
                    sources[process] = f"run of {run['commit']}"
    return found, sources


def needs(
    measured: Mapping[str, Any], processes: Mapping[str, float]
) -> dict[str, Need]:
    """Return what an inference of each measured kind takes."""
    plain = measured["kinds"]["detection"]["python_us"]
    found = {}
    for kind in KINDS:
        figures = measured["kinds"][kind.name]
        vectors = figures["vector_index_bytes"]
        if kind.name == "embedding" and not vectors:  # too few rows for an index
            vectors = VECTOR_INDEX_BYTES
        # A listener was measured with detections: other kinds differ by their rows.
        listener = processes["listener"] + figures["python_us"] - plain
        found[kind.name] = Need(
            kind,
            figures["rows_bytes"],
            figures["index_bytes"] + vectors,
            figures["segment_bytes"],
            figures["wal_bytes"],
            {
                "proxy": processes["proxy"],
                "capture": processes["capture"],
                "listener": max(listener, 0.0),
                "database": figures["database_us"],
            },
        )
    return found


def section(
    measured: Mapping[str, Any],
    prices: Prices,
    peak: float = 3.0,
    history: Path = HISTORY,
) -> str:
    """Return the section of the page, from its heading to its end."""
    processes, sources = from_history(history)
    found = needs(measured, processes)
    of = ", ".join(f"{name} {sources[name]}" for name in sources)
    lines = [
        "## What to buy",
        "",
        BEGIN,
        "",
        "Computed by `benchmarks/capacity.py`; with your own prices and peak: "
        "`.venv/bin/python benchmarks/capacity.py --price disk_gb_month=0.08 --peak 5`.",
        "",
        f"Bytes, WAL and the database's processor time: {measured['rows']:,} rows of each kind by "
        f"`benchmarks/capacity_fill.py`, {measured['day']}, commit {measured['commit']}, load "
        f"{measured['load']}: a busy machine makes processor time up to twice as long. Five metadata "
        "in slots, one source. Vectors have 384 numbers. Processor time of processes: "
        f"{of}.",
        "",
        "**A million inferences**, as stored once, without copies, backups or the WAL that is kept:",
        "",
        "| kind | input; answer | rows | indexes | segments | blobs | WAL | processor time |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for need in found.values():
        kind = need.kind
        lines.append(
            f"| {kind.name} | {size(kind.input_bytes)}; {size(kind.answer_bytes)} "
            f"| {size(MILLION * need.rows)} | {size(MILLION * need.indexes)} "
            f"| {size(MILLION * need.segments)} | {size(MILLION * need.blobs)} "
            f"| {size(MILLION * need.wal)} | {need.processor_us:,.0f} s |"
        )
    split = ", ".join(
        f"{need.kind.name} "
        + " + ".join(f"{need.processors[p]:.0f}" for p in need.processors)
        for need in found.values()
    )
    lines += [
        "",
        f"Processor time, in microseconds an inference, of proxy, capture, listener and database: {split}. "
        "A page of a list takes some 20 ms beside, a page of the API 2 ms.",
        "",
        "Requests to the object store depend on the rate, since a pack waits for a window of time, or until it "
        f"has {PACK_BYTES // 2**20} MiB: PUTs of a million inferences of one model, and `verify` reads as many indexes.",
        "",
        "| kind | 1 a second | 10 | 100 | 1,000 |",
        "|---|--:|--:|--:|--:|",
        *(
            f"| {need.kind.name} | "
            + " | ".join(f"{MILLION * need.puts(r):,.0f}" for r in (1, 10, 100, 1000))
            + " |"
            for need in found.values()
        ),
        "",
        f"**What to buy** for inferences that come within 30 days, {peak:g} times as many in the busiest "
        f"seconds, and are kept: processors are used to {USED:.0%}, "
        f"the disk has {FREE_DISK:g} times the bytes, and memory holds a quarter of the indexes and of the newest rows. Money is "
        "that of the month in which the last one comes.",
        "",
        "| inferences | kind | a second, at most | processors of proxies, captures, listeners; database | memory | disk of the database | blobs | PUTs | money a month; a million |",
        "|--:|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for number in NUMBERS:
        for need in found.values():
            bought = Purchase(need, number, peak, prices)
            lines.append(
                f"| {number // MILLION:,} M | {need.kind.name} | {bought.a_second * peak:,.0f} "
                f"| {bought.processors_of('proxy', 'capture', 'listener')}; {bought.processors_of('database')} "
                f"| {size(GB * bought.memory_gb)} | {size(GB * bought.disk_gb)} | {size(GB * bought.blob_gb)} "
                f"| {bought.puts:,.0f} | {bought.money:,.0f}; {bought.money / number * MILLION:,.2f} |"
            )
    named = "; ".join(
        f"`{name}` {getattr(prices, name):g}" for name in Prices.__dataclass_fields__
    )
    lines += [
        "",
        f"Prices ({PRICES_OF}), which are assumptions and no quotes, in one currency: {named}. Traffic out of a cloud, "
        "backups, replicas and people are not in them.",
        "",
        END,
        "",
    ]
    return "\n".join(lines)


def size(count: float) -> str:
    """Return a number of bytes in decimal units."""
    for unit in ("bytes", "KB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            break
        count /= 1000
    return (
        f"{count:.0f} {unit}"
        if count >= 100 or unit == "bytes"
        else f"{count:.2g} {unit}"
    )


def with_section(page: str, written: str) -> str:
    """Return the page with the section in place of the one before, or at its end."""
    heading, _, _ = written.partition("\n")
    before, found, rest = page.partition(f"{heading}\n")
    if not found:
        return f"{page.rstrip()}\n\n{written}"
    _, found, after = rest.partition(f"{END}\n")
    if not found:
        raise SystemExit(f"{PAGE.name}: the section has no end line.")
    return f"{before}{written}{after}"


def price(text: str) -> tuple[str, float]:
    """Read ``name=number``. Raises an error of argparse that names what is wrong."""
    name, _, value = text.partition("=")
    if name not in Prices.__dataclass_fields__:
        names = ", ".join(Prices.__dataclass_fields__)
        raise argparse.ArgumentTypeError(
            f"no price is named {name!r}; there are {names}"
        )
    return name, positive(value, name)


def positive(text: str, name: str = "") -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= MOST:
        message = f"{name or 'it'} is a number from 0 to {MOST:,}: {text!r}"
        raise argparse.ArgumentTypeError(message)
    return value


def peak_of(text: str) -> float:
    value = positive(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"a peak is at least the average, 1: {text!r}")
    return value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--price", type=price, action="append", default=[], metavar="NAME=NUMBER"
    )
    parser.add_argument(
        "--peak",
        type=peak_of,
        default=3.0,
        help="calls of the busiest seconds, of the average",
    )
    parser.add_argument("--write", action="store_true", help=f"into {PAGE.name}")
    given = parser.parse_args()
    if given.write and (given.price or given.peak != 3.0):
        parser.error(
            "--write is for the default prices and peak: the page is the same for all"
        )
    if not MEASURED.exists():
        raise SystemExit("capacity_fill.py has measured nothing yet.")
    prices = replace(Prices(), **dict(given.price))
    written = section(json.loads(MEASURED.read_text()), prices, given.peak)
    if given.write:
        PAGE.write_text(with_section(PAGE.read_text(), written))
    else:
        sys.stdout.write(written)


if __name__ == "__main__":
    main()
