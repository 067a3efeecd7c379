"""Measure how long the pages of a model take, and compare with the bare SQL of their lists.

``python benchmarks/pages.py`` starts its own PostgreSQL with one large model beside small
ones, and a web server as ``up`` starts it. Lists are requested as by a browser that opens
the page for the first time; the statements that find their rows are run again without Django,
in the same run. A second round requests lists while other clients request facets, which must
not delay them. ``--rows 2000000 --first 200000`` measures twice, and prints the growth.
"""

from __future__ import annotations

import argparse
import http.client
import os
import random
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import query, query_data  # noqa: E402
from benchmarks.figures import note  # noqa: E402
from benchmarks.ingest import servers  # noqa: E402
from benchmarks.query import PORT, Bare, Figure  # noqa: E402

if TYPE_CHECKING:
    from inferences.models import RegisteredModel

VARIANTS, ROUNDS = 6, 6
# Targets of a list's p95: at most RATIO times the bare SQL's plus PLUS_MS, and at most MOST_MS.
LIST_RATIO, LIST_PLUS_MS, LIST_MOST_MS = 2.0, 30.0, 300.0
GROWTH_MOST = 1.5
QUERY_SECONDS = 5  # the default timeout, up to which an exact count may take
PEOPLE = 2  # clients that request facets at the same time


@dataclass(frozen=True)
class Shown:
    """A page or a part of one, with a query string whose values vary."""

    name: str
    query: Callable[[random.Random], dict[str, Any]]
    address: str = "inferences"


def speed(chance: random.Random) -> dict[str, Any]:
    low = chance.randrange(900_000)
    wanted = [f"speed:int>={low}", f"speed:int<{low + 10_000}"]
    return {"view": "table", "metadata": wanted}


LISTS = [
    Shown("table", lambda c: {"view": "table"}),
    Shown("gallery", lambda c: {"view": "gallery"}),
    Shown("table, = 2 %", lambda c: {"view": "table", "metadata": "site=pier"}),
    Shown("table, range 1 %", speed),
    Shown("gallery, a label of 10 %", lambda c: {"label": "crane"}),
    Shown("gallery, a rare label", lambda c: {"label": "wreck"}),
    Shown("gallery, a window", lambda c: {"since": "24h"}),
    Shown("gallery, highest score first", lambda c: {"sort": "score"}),
]
FACETS = [
    Shown("facets", lambda c: {"view": "gallery"}, "facets"),
    Shown("facets, = 2 %", lambda c: {"metadata": "site=pier"}, "facets"),
    Shown("facets, a rare label", lambda c: {"label": "wreck"}, "facets"),
    Shown("facets, a window", lambda c: {"since": "24h"}, "facets"),
    Shown(
        "facet of a text", lambda c: {"of": "site", "of_type": "string"}, "facets/key"
    ),
    Shown(
        "facet of a number", lambda c: {"of": "speed", "of_type": "int"}, "facets/key"
    ),
    Shown(
        "facet of a key without a slot",
        lambda c: {"of": "tag", "of_type": "int"},
        "facets/key",
    ),
    Shown("count", lambda c: {"part": "count"}),
]


def written(asked: dict[str, Any]) -> str:
    return urlencode(asked, doseq=True)


class Browser:
    """A keep-alive connection of a logged-in person."""

    def __init__(self, session: str) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=60)
        self.headers = {"Cookie": f"sessionid={session}"}

    def ask(self, model: str, address: str, asked: dict[str, Any]) -> float:
        """Return the milliseconds until the whole response has arrived."""
        path = f"/models/{model}/{address}?{written(asked)}"
        begun = time.perf_counter()
        self.connection.request("GET", path, headers=self.headers)
        response = self.connection.getresponse()
        response.read()
        took = 1000 * (time.perf_counter() - begun)
        if response.status != 200:
            raise SystemExit(f"{response.status} for {path}")
        return took


def set_up() -> str:
    """Create the tables; return the session key of an editor."""
    query.set_up()
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from django.test import Client

    from istore.models import Membership, Project, Role

    call_command("collectstatic", interactive=False, verbosity=0)
    user = User.objects.create_user("benchmark")
    project = Project.objects.get()
    Membership.objects.create(user=user, project=project, role=Role.EDITOR)
    client = Client()
    client.force_login(user)
    return client.cookies["sessionid"].value


def statements_of(model: RegisteredModel, asked: dict[str, Any]) -> list[str]:
    """Return the SQL that finds the rows of a list, with its values filled in."""
    from django.db import connection, transaction
    from django.http import QueryDict

    from inferences.search.query import InferenceQuery
    from inferences.web.browsing import PAGE_SIZES
    from inferences.web.view_models.questions import Question

    question = Question(QueryDict(written(asked)))
    found: list[str] = []

    def keep(execute: Any, sql: str, values: Any, many: bool, context: Any) -> Any:
        result = execute(sql, values, many, context)
        found.append(connection.ops.last_executed_query(context["cursor"], sql, values))
        return result

    with transaction.atomic(), connection.execute_wrapper(keep):
        pagination = question.pagination(PAGE_SIZES[question.view])
        InferenceQuery(question.filters, pagination).page(model)
    return found


@dataclass(frozen=True)
class Row:
    page: Figure
    cpu: float  # CPU milliseconds of the web process per page
    sql: Figure | None = None
    beside: Figure | None = None  # the page, while other clients request facets


def variants(shown: Shown) -> list[dict[str, Any]]:
    chance = random.Random(shown.name)
    return [shown.query(chance) for _ in range(VARIANTS)]


def measure(
    session: str,
    bare: Bare,
    model: RegisteredModel,
    shown: Shown,
    process: subprocess.Popen,
) -> Row:
    browser, page, sql = Browser(session), [], []
    is_list = shown in LISTS
    asked = variants(shown)
    statements = [statements_of(model, each) if is_list else [] for each in asked]
    before = query.cpu(process)
    for number in range(ROUNDS + 1):
        for each, found in zip(asked, statements, strict=True):
            alone = bare.run(found) if is_list else 0.0
            took = browser.ask(model.model_id, shown.address, each)
            if number:  # the first round only warms up
                page.append(took)
                sql.append(alone)
    used = (query.cpu(process) - before) / (len(asked) * (ROUNDS + 1))
    if not is_list:
        return Row(Figure.of(page), used)
    with others(session, model):
        beside = [
            browser.ask(model.model_id, shown.address, each)
            for _ in range(ROUNDS)
            for each in asked
        ]
    return Row(Figure.of(page), used, Figure.of(sql), Figure.of(beside))


@contextmanager
def others(session: str, model: RegisteredModel) -> Iterator[None]:
    """Run clients that request one facet after the other, until the block ends."""
    is_over = threading.Event()

    def ask(number: int) -> None:
        browser, chance = Browser(session), random.Random(number)
        while not is_over.is_set():
            shown = chance.choice(FACETS)
            browser.ask(model.model_id, shown.address, shown.query(chance))

    people = [threading.Thread(target=ask, args=(n,)) for n in range(PEOPLE)]
    for each in people:
        each.start()
    try:
        yield
    finally:
        is_over.set()
        for each in people:
            each.join()


def report(rows: dict[str, Row], before: dict[str, Row]) -> None:
    print(
        f"{'':30} {'SQL p50':>8} {'p95':>7} {'page p50':>9} {'p95':>7} {'beside':>7} {'CPU':>5} {'grew':>5}"
    )
    for shown in LISTS + FACETS:
        if shown.name not in rows:
            continue
        row, missed, grew = rows[shown.name], [], ""
        if row.sql:
            target = min(LIST_MOST_MS, LIST_RATIO * row.sql.p95 + LIST_PLUS_MS)
            if row.page.p95 > target:
                missed.append(f"more than {target:.0f} ms")
        if shown.name in before:
            growth = row.page.p95 / before[shown.name].page.p95
            grew = f"{growth:.1f}"
            note(f"{shown.name}, growth of p95", growth, "", fewer=True)
            if growth > GROWTH_MOST:
                missed.append("grows")
        note(f"{shown.name}, processor", row.cpu, "ms", fewer=True)
        note(f"{shown.name}, p95", row.page.p95, "ms", fewer=True)
        sql = f"{row.sql.p50:8.2f} {row.sql.p95:7.2f}" if row.sql else f"{'':16}"
        beside = f"{row.beside.p95:7.1f}" if row.beside else f"{'':7}"
        print(
            f"{shown.name:30} {sql} {row.page.p50:9.1f} {row.page.p95:7.1f} "
            f"{beside} {row.cpu:5.1f} {grew:>5} {', '.join(missed)}"
        )
    lists = [rows[each.name] for each in LISTS if each.name in rows]
    if lists:
        held = statistics.median(each.beside.p50 / each.page.p50 for each in lists)
        print(
            f"While {PEOPLE} people ask for facets a list takes {held:.1f} times as long."
        )


def run(given: argparse.Namespace) -> None:
    session = set_up()
    model = query_data.register("large")
    small = [query_data.register(f"small-{number}") for number in range(5)]
    wanted = [each for each in LISTS + FACETS if given.only in each.name]
    before: dict[str, Row] = {}
    stages = [given.first, given.rows] if given.first else [given.rows]
    stored = 0
    for stage in stages:
        begun = time.perf_counter()
        for each in small:
            query_data.fill(each, (stage - stored) // 40, stored)
        query_data.fill(model, stage - stored, stored)
        query_data.settle()
        stored = stage
        took = time.perf_counter() - begun
        print(
            f"\n{stage:,} rows, filled in {took:.0f} s; load {os.getloadavg()[0]:.1f}"
        )
        with query.web(query_seconds=QUERY_SECONDS) as process:
            bare = Bare()
            rows = {s.name: measure(session, bare, model, s, process) for s in wanted}
        report(rows, before)
        print(f"load {os.getloadavg()[0]:.1f}")
        before = rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=200_000, help="of the large model")
    parser.add_argument(
        "--first", type=int, default=0, help="measured before, for growth"
    )
    parser.add_argument("--only", default="", help="pages whose name holds this")
    parser.add_argument("--directory", help="on whose disk; a temporary one by default")
    given = parser.parse_args()
    with servers(given.directory):
        run(given)


if __name__ == "__main__":
    main()
