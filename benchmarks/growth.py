"""Measure whether pages, facets and counts take longer of 10,000,000 rows than of 2,000,000.

``python benchmarks/growth.py`` fills one model twice, beside small ones, on a PostgreSQL of its own,
and asks the questions of ``pages.py`` and the counts of ``query.py`` each time. The p95 of a list
or facet may grow by ``GROWTH_MOST``. A run needs 31 GB of disk for 10,000,000 rows.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import pages, query, query_data  # noqa: E402
from benchmarks.ingest import servers  # noqa: E402

if TYPE_CHECKING:
    from inferences.models import RegisteredModel

GIB = 1 << 30
ROW_BYTES = 2_800  # of tables and indexes
MAX_WAL = (
    "2GB"  # a larger one would take more disk, and makes little difference to a fill
)


def bound_the_wal() -> None:
    """Let PostgreSQL keep less WAL than on a disk of its own."""
    from supervisor.embedded import Postgres

    plain = Postgres.options
    Postgres.options = lambda self: plain(self) | {"max_wal_size": MAX_WAL}


def check_the_disk(directory: str | None, rows: int) -> None:
    """End the program if the rows would not fit."""
    needed = rows * ROW_BYTES + 3 * GIB
    free = shutil.disk_usage(directory or tempfile.gettempdir()).free
    if free < needed:
        raise SystemExit(
            f"{rows:,} rows take {needed / GIB:.0f} GB, and {free / GIB:.0f} GB are free. "
            "Give fewer --rows, or a --directory with more room."
        )


def fill(models: list[RegisteredModel], rows: int, stored: int) -> None:
    """Add rows to the first model up to this number, and a fortieth to each other one."""
    begun = time.perf_counter()
    large, *small = models
    for each in small:
        query_data.fill(each, (rows - stored) // 40, stored)
    query_data.fill(large, rows - stored, stored)
    filled = time.perf_counter()
    query_data.settle()
    print(
        f"\n{rows:,} rows, filled in {filled - begun:.0f} s and settled in "
        f"{time.perf_counter() - filled:.0f} s; load {os.getloadavg()[0]:.1f}",
        flush=True,
    )


def run(given: argparse.Namespace) -> None:
    session = pages.set_up()
    from istore.accounts.tokens import create_token
    from istore.models import Project, Role

    token = create_token("counts", Project.objects.get(), Role.EDITOR)[1]
    models = [query_data.register("large")]
    models += [query_data.register(f"small-{number}") for number in range(5)]
    shown = [each for each in pages.LISTS + pages.FACETS if given.only in each.name]
    counts = [each for each in query.COUNTS if given.only in each.name]
    of_pages: dict[str, pages.Row] = {}
    of_counts: dict[str, query.Row] = {}
    stored = 0
    for rows in (given.first, given.rows):
        fill(models, rows, stored)
        stored = rows
        with query.web(query_seconds=pages.QUERY_SECONDS) as process:
            bare = query.Bare()
            found = {
                each.name: pages.measure(session, bare, models[0], each, process)
                for each in shown
            }
            api = query.Api(token)
            counted = {
                each.name: query.measure(api, bare, models[0], each, process)
                for each in counts
            }
        pages.report(found, of_pages)
        query.report(counts, counted, of_counts)
        print(f"load {os.getloadavg()[0]:.1f}", flush=True)
        of_pages, of_counts = found, counted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--first", type=int, default=2_000_000, help="measured before")
    parser.add_argument("--only", default="", help="questions whose name holds this")
    parser.add_argument("--directory", help="on whose disk; a temporary one by default")
    given = parser.parse_args()
    if not 0 < given.first < given.rows:
        parser.error("--first has to be above 0 and below --rows.")
    check_the_disk(given.directory, given.rows)
    bound_the_wal()
    with servers(given.directory):
        run(given)


if __name__ == "__main__":
    main()
