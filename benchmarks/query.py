"""Measure how long queries take through the API, and compare with their bare SQL.

``python benchmarks/query.py`` starts its own PostgreSQL, durable and tuned as in production,
with one large model beside small ones, and a web server as ``up`` starts it. Every query is
sent over HTTP. Its statements are run again without Django in the same run, to get the time
of the database alone. The unit of comparison is one bare statement for a page without a
filter. ``--rows 2000000 --first 200000`` measures twice, and prints the growth. For vectors
it measures recall and speed of the index against the exact search.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import query_data  # noqa: E402
from benchmarks.figures import note  # noqa: E402
from benchmarks.ingest import servers  # noqa: E402

if TYPE_CHECKING:
    from inferences.models import RegisteredModel

VARIANTS, ROUNDS = 12, 8
PORT = int(os.environ.get("ISTORE_BENCHMARK_PORT", "8765"))  # of the web server
# Target: p95 through the API is at most SLOWER times the SQL's p95 plus PLUS_MS.
SLOWER, PLUS_MS = 1.5, 8.0
GROWTH_MOST, RECALL_LEAST = 1.5, 0.98
EXACT_SHARE_MOST = 0.05  # of the exact search without a filter
BARE_PAGE = """
SELECT i.*, p.* FROM (
    SELECT id FROM inferences_inference WHERE model_key = {model} AND NOT deleted
    ORDER BY id DESC LIMIT 50
) x JOIN inferences_inference i ON i.model_key = {model} AND i.id = x.id
  JOIN inferences_inferencepayload p ON p.model_key = {model} AND p.id = x.id
ORDER BY x.id DESC"""


@dataclass(frozen=True)
class Shape:
    """A query with varying values; ``most`` is its target, as a multiple of a bare page."""

    name: str
    body: Callable[[random.Random], dict[str, Any]]
    most: float | None = None
    address: str = "filter"


def compared(key: str, operator: str, value: object, kind: str = "int") -> dict:
    return {"key": key, "type": kind, "operator": operator, "value": str(value)}


def page(*metadata: dict, **filters: Any) -> dict[str, Any]:
    if metadata:
        filters["metadata_filter"] = list(metadata)
    return {"filters": filters, "pagination": {"direction": "desc"}}


def sorted_by(sort: str, direction: str = "desc", **filters: Any) -> dict[str, Any]:
    return {"filters": filters, "pagination": {"sort": sort, "direction": direction}}


def window(chance: random.Random, days: float) -> dict[str, str]:
    begin = query_data.START + timedelta(days=chance.uniform(1, 29 - days))
    end = begin + timedelta(days=days)
    return {"start": begin.isoformat(), "end": end.isoformat()}


def between(chance: random.Random, key: str, whole: int, share: float) -> list[dict]:
    low = int(chance.random() * (1 - share) * whole)
    high = low + int(whole * share)
    return [compared(key, ">=", low), compared(key, "<", high)]


def circle(chance: random.Random, metres: float) -> dict[str, Any]:
    center = {
        "latitude": 51 + chance.random(),
        "longitude": 4 + chance.random(),
    }
    return {"gps_coordinates_circle": {"center": center, "radius": metres}}


SECONDS = query_data.DAYS * 86_400
SITE = {
    share: compared("site", "=", site, "string")
    for share, site in ((60, "main"), (20, "east"), (2, "pier"))
}
LABEL = {label: {"labels": [label]} for label in query_data.LABELS}
PAGES = [
    Shape("page, no filter", lambda c: page(), 2),
    Shape("page, oldest first", lambda c: {}, 2),
    Shape(
        "page, a window of a day", lambda c: page(time_window_filter=window(c, 1)), 2
    ),
    *[
        Shape(f"page, = {share} %", lambda c, s=share: page(SITE[s]), 2)
        for share in SITE
    ],
    Shape("page, = one of 500", lambda c: page(operator(c)), 2),
    Shape("page, !=", lambda c: page(compared("site", "!=", "main", "string")), 2),
    Shape(
        "page, in 3",
        lambda c: page(compared("site", "in", "[pier, other-1, other-2]", "string")),
        2,
    ),
    Shape("page, source", lambda c: page(data_source_filter="quay-3"), 2),
    Shape(
        "page, JSON text =",
        lambda c: page(compared("pose.site", "=", "c", "json.string")),
        2,
    ),
    *[
        Shape(
            f"page, range {100 * share:g} %",
            lambda c, s=share: page(*between(c, "speed", 1_000_000, s)),
            4,
        )
        for share in (0.5, 0.01, 0.0001)
    ],
    *[
        Shape(
            f"page, range {100 * share:g} % of a counter",
            lambda c, s=share: page(*between(c, "frame", SECONDS, s)),
            None if share > 0.005 else 20,
        )
        for share in (0.5, 0.1, 0.005)
    ],
    Shape(
        "page, range and an hour",
        lambda c: page(
            *between(c, "speed", 1_000_000, 0.1), time_window_filter=window(c, 1 / 24)
        ),
        4,
    ),
    Shape(
        "page, JSON number range 1 %",
        lambda c: page(compared("pose.angle", "<", 0.01, "json.float")),
        4,
    ),
    Shape(
        "page, key without a slot =",
        lambda c: page(compared("tag", "=", c.randrange(1000))),
        4,
    ),
    Shape("page, key without a slot <", lambda c: page(compared("tag", "<", 20)), 4),
    Shape("page, circle 1 km", lambda c: page(location_filter=circle(c, 1000)), 4),
    Shape("page, circle 50 km", lambda c: page(location_filter=circle(c, 50_000)), 4),
    *[
        Shape(
            f"page, label {name}",
            lambda c, n=name: page(deconstructed_inference_filter=LABEL[n]),
            2,
        )
        for name in ("ship", "crane", "wreck")
    ],
    Shape(
        "page, label and score >= 0.99",
        lambda c: page(
            deconstructed_inference_filter={"labels": ["ship"], "minimum_score": 0.99}
        ),
        4,
    ),
    Shape(
        "page, score >= 0.999",
        lambda c: page(deconstructed_inference_filter={"minimum_score": 0.999}),
        4,
    ),
    Shape(
        "page, = 20 %, range 10 %, label",
        lambda c: page(
            SITE[20],
            *between(c, "speed", 1_000_000, 0.1),
            deconstructed_inference_filter=LABEL["boat"],
        ),
        4,
    ),
    Shape(
        "page, = 2 %, = one of 500",
        lambda c: page(SITE[2], operator(c)),
        4,
    ),
    Shape("page, offset 100,000", lambda c: {"pagination": {"offset": 100_000}}),
    Shape("page, by score", lambda c: sorted_by("score"), 4),
    Shape(
        "page, by score of a label 2 %",
        lambda c: sorted_by("score", deconstructed_inference_filter=LABEL["wreck"]),
    ),
    Shape("page, by label", lambda c: sorted_by("label", "asc")),
]
COUNTS = [
    Shape("count, all", lambda c: {}, address="count"),
    *[
        Shape(f"count, = {share} %", lambda c, s=share: page(SITE[s]), address="count")
        for share in SITE
    ],
    Shape(
        "count, range 1 %",
        lambda c: page(*between(c, "speed", 1_000_000, 0.01)),
        address="count",
    ),
    Shape(
        "count, label ship",
        lambda c: page(deconstructed_inference_filter=LABEL["ship"]),
        address="count",
    ),
    Shape(
        "count, a window of a day",
        lambda c: page(time_window_filter=window(c, 1)),
        address="count",
    ),
    Shape(
        "count, = 60 % in ten days",
        lambda c: page(SITE[60], time_window_filter=window(c, 10)),
        address="count",
    ),
    Shape(
        "count, counter above an edge",
        lambda c: page(compared("frame", ">=", c.randrange(SECONDS))),
        address="count",
    ),
    Shape(
        "count, number above an edge",
        lambda c: page(compared("speed", ">=", c.randrange(1_000_000))),
        address="count",
    ),
    Shape(
        "count, source",
        lambda c: page(data_source_filter="quay-3"),
        address="count",
    ),
    Shape(
        "count, = 60 %, label ship",
        lambda c: page(SITE[60], deconstructed_inference_filter=LABEL["ship"]),
        address="count",
    ),
    Shape(
        "count, = 60 %, source, label",
        lambda c: page(
            SITE[60],
            data_source_filter="quay-3",
            deconstructed_inference_filter=LABEL["boat"],
        ),
        address="count",
    ),
    Shape(
        "count, = 20 %, label ship",
        lambda c: page(SITE[20], deconstructed_inference_filter=LABEL["ship"]),
        address="count",
    ),
    Shape(
        "count, = 60 %, half of a counter",
        lambda c: page(SITE[60], *between(c, "frame", SECONDS, 0.5)),
        address="count",
    ),
    Shape(
        "count, three filters",
        lambda c: page(SITE[20], *between(c, "speed", 1_000_000, 0.1), operator(c)),
        address="count",
    ),
    Shape(
        "count, = 60 %, to 10,000",
        lambda c: {**page(SITE[60]), "limit": 10_000},
        address="count",
    ),
]


def operator(chance: random.Random) -> dict:
    return compared("operator", "=", f"operator-{chance.randrange(500)}", "string")


class Api:
    """A keep-alive connection to the web server."""

    def __init__(self, token: str) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=60)
        self.headers = {
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/json",
        }

    def ask(self, model: str, address: str, body: dict) -> tuple[float, dict]:
        """Return the milliseconds of the request, and the parsed response."""
        sent = json.dumps(body)
        path = f"/api/v1/models/{model}/inferences/{address}"
        begun = time.perf_counter()
        self.connection.request("POST", path, sent, self.headers)
        response = self.connection.getresponse()
        content = response.read()
        took = 1000 * (time.perf_counter() - begun)
        answer = json.loads(content)
        if response.status != 200:
            raise SystemExit(f"{response.status} for {sent[:300]}: {answer}")
        return took, answer


class Bare:
    """A connection to the database without Django."""

    def __init__(self) -> None:
        import psycopg
        from django.conf import settings
        from django.db import connection

        from istore.db.postgresql.base import configure

        values = connection.get_connection_params()
        known = ("dbname", "host", "user", "password", "port")
        given = {name: values[name] for name in known if values.get(name)}
        # The API's statements differ each time, so each is planned. Without prepared
        # statements that is so here, too.
        self.connection = psycopg.connect(
            **given, autocommit=True, prepare_threshold=None
        )
        statement = configure(self.connection.info.server_version)
        self.connection.execute(statement, [settings.ISTORE_DATABASE_SEARCH_PATH])

    def run(self, statements: list[str]) -> float:
        begun = time.perf_counter()
        with self.connection.transaction(), self.connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
                if cursor.description:
                    cursor.fetchall()
        return 1000 * (time.perf_counter() - begun)


@contextmanager
def web(workers: int = 1, query_seconds: int = 60) -> Iterator[subprocess.Popen]:
    """Run the web server as ``up`` starts it, until the block ends."""
    options = [
        "--host=127.0.0.1",
        f"--port={PORT}",
        "--interface=asginl",
        f"--workers={workers}",
        "--no-access-log",
    ]
    env = {**os.environ, "ISTORE_DATABASE_STAYS": "true", "ISTORE_LOG_LEVEL": "ERROR"}
    env |= {
        "ISTORE_RATE_PER_MINUTE": "0",
        "ISTORE_QUERY_SECONDS": str(query_seconds),
    }
    argv = [sys.executable, "-m", "granian", *options, "istore.asgi:application"]
    process = subprocess.Popen(argv, cwd=ROOT, env=env, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                http.client.HTTPConnection("127.0.0.1", PORT).connect()
                break
            except OSError:
                if time.monotonic() > deadline or process.poll() is not None:
                    raise
                time.sleep(0.1)
        yield process
    finally:
        process.terminate()
        process.wait(30)


def memory(process: subprocess.Popen) -> int:
    """Return the memory of the web server and its worker in bytes, counting shared pages once."""
    total = 0
    for pid in _all(process):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += 1024 * int(line.split()[1])
    return total


def statements_of(model: RegisteredModel, shape: Shape, body: dict) -> list[str]:
    """Return the SQL statements of a query, with their values filled in."""
    from inferences.search.api.filter_serializers import (
        CountQuerySerializer,
        InferenceQuerySerializer,
    )
    from inferences.search.counting import count_matching

    def ask() -> None:
        if shape.address == "count":
            asked = CountQuerySerializer.parse(body)
            count_matching(model, asked.filters, asked.limit)
        else:
            InferenceQuerySerializer.parse(body).page(model)

    return captured(ask)


def captured(act: Callable[[], object]) -> list[str]:
    """Return the SQL statements that a call runs, with their values filled in."""
    from django.db import connection, transaction

    found: list[str] = []

    def keep(execute: Any, sql: str, values: Any, many: bool, context: Any) -> Any:
        result = execute(sql, values, many, context)
        found.append(connection.ops.last_executed_query(context["cursor"], sql, values))
        return result

    with transaction.atomic(), connection.execute_wrapper(keep):
        act()
    return found


def panels(model: RegisteredModel) -> dict[str, Callable[[], object]]:
    """Return the calls that fill the panel and the statistics."""
    from django.http import QueryDict

    from inferences.search.filters import InferenceFilter
    from inferences.search.statistics import StatisticsQuery
    from inferences.search.statistics import statistics as of_key
    from inferences.web.view_models import facets, sampling, summaries, volume
    from inferences.web.view_models.questions import Question

    question, everything = Question(QueryDict("")), InferenceFilter()
    labelled = Question(QueryDict("label=ship"))
    drawn = sampling.sample(model, everything)
    return {
        "facets of the panel": lambda: facets.count_facets(model, question),
        "the same beside a label": lambda: facets.count_facets(model, labelled),
        "volume": lambda: volume.volume(model, question, drawn),
        "labels of the statistics": lambda: summaries.labels(model, everything),
        "scores of the statistics": lambda: summaries.scores(model, everything),
        "statistics of a text": lambda: of_key(
            model, StatisticsQuery("site", "string")
        ),
    }


@dataclass(frozen=True)
class Figure:
    """Percentiles in milliseconds."""

    p50: float
    p95: float

    @classmethod
    def of(cls, times: list[float]) -> Figure:
        parts = statistics.quantiles(times, n=20, method="inclusive")
        return cls(statistics.median(times), parts[-1])


@dataclass(frozen=True)
class Row:
    sql: Figure
    api: Figure
    pages: float  # the SQL's p50 as a multiple of a bare page
    cpu: float  # CPU milliseconds of the web process per call


def cpu(process: subprocess.Popen) -> float:
    """Return the CPU milliseconds that the web server has used so far."""
    ticks = 0
    for pid in _all(process):
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return 1000 * ticks / os.sysconf("SC_CLK_TCK")


def _all(process: subprocess.Popen) -> list[int]:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    return [process.pid, *map(int, children.split())]


def measure(
    api: Api,
    bare: Bare,
    model: RegisteredModel,
    shape: Shape,
    process: subprocess.Popen,
) -> Row:
    chance = random.Random(shape.name)
    bodies = [shape.body(chance) for _ in range(VARIANTS)]
    asked = [statements_of(model, shape, body) for body in bodies]
    rounds = ROUNDS if shape.address == "filter" else ROUNDS // 2
    plain, sql, through = [], [], []
    one_page = [BARE_PAGE.format(model=model.pk)]
    before = cpu(process)
    for number in range(rounds + 1):
        for body, statements in zip(bodies, asked, strict=True):
            times = (
                bare.run(one_page),
                bare.run(statements),
                api.ask(model.model_id, shape.address, body)[0],
            )
            if number:  # the first round only warms up
                for kept, took in zip((plain, sql, through), times, strict=True):
                    kept.append(took)
    pages = statistics.median(sql) / statistics.median(plain)
    used = (cpu(process) - before) / (len(bodies) * (rounds + 1))
    return Row(Figure.of(sql), Figure.of(through), pages, used)


def without_summaries(bare: Bare, model: RegisteredModel) -> None:
    """Compare the statements of counts with those without summaries, in turns."""
    from unittest.mock import patch

    from inferences.search.zone_maps.counts import SegmentSum

    print(
        f"{'SQL p50 / p95 in ms':34} {'rows read':>18} {'summaries':>18} {'share':>6}"
    )
    calls = {
        shape.name: [
            partial(statements_of, model, shape, shape.body(chance))
            for chance in [random.Random(shape.name)]
            for _ in range(VARIANTS)
        ]
        for shape in COUNTS
    }
    calls |= {name: [partial(captured, act)] for name, act in panels(model).items()}
    for name, asked in calls.items():
        with patch.object(SegmentSum, "_tells", lambda self, *_: False):
            before = [statements() for statements in asked]
        after = [statements() for statements in asked]
        took: tuple[list[float], list[float]] = ([], [])
        for _ in range(ROUNDS // 2):
            for statements in zip(before, after, strict=True):
                for kept, each in zip(took, statements, strict=True):
                    kept.append(bare.run(each))
        figures = [Figure.of(each) for each in took]
        shown = " ".join(f"{each.p50:9.2f} {each.p95:8.2f}" for each in figures)
        share = figures[1].p50 / figures[0].p50
        print(f"{name:34} {shown} {share:6.2f}", flush=True)


def report(shapes: list[Shape], rows: dict[str, Row], before: dict[str, Row]) -> None:
    print(
        f"{'':34} {'SQL p50':>8} {'p95':>7} {'pages':>6} {'API p50':>8} {'p95':>7} {'CPU':>5} {'grew':>5}"
    )
    for shape in shapes:
        row = rows[shape.name]
        missed = []
        if shape.most and row.pages > shape.most:
            missed.append(f"more than {shape.most:g} pages")
        if row.api.p95 > SLOWER * row.sql.p95 + PLUS_MS:
            missed.append("slow API")
        grew = ""
        if shape.name in before:
            growth = row.sql.p50 / before[shape.name].sql.p50
            grew = f"{growth:.1f}"
            if growth > GROWTH_MOST and shape.most:
                missed.append("grows")
        note(f"{shape.name}, SQL p50", row.sql.p50, "ms", fewer=True)
        note(f"{shape.name}, API p95", row.api.p95, "ms", fewer=True)
        print(
            f"{shape.name:34} {row.sql.p50:8.2f} {row.sql.p95:7.2f} {row.pages:6.1f} "
            f"{row.api.p50:8.2f} {row.api.p95:7.2f} {row.cpu:5.1f} {grew:>5} {', '.join(missed)}"
        )


def search(token: str, model: RegisteredModel, queries: int = 30) -> None:
    """Measure vector search, exact and by an index: speed, and recall of the index.

    Shares are of the exact search with the same filter, and of the one without a filter.
    """
    from inferences.search.vectors import indexing

    asked = query_data.Embeddings(seed=2).draw(queries)
    filters = {
        "none": {},
        "= 60 %": {"metadata_filter": [SITE[60]]},
        "= 20 %": {"metadata_filter": [SITE[20]]},
        "= 2 %": {"metadata_filter": [SITE[2]]},
    }
    metrics = ("cosine", "l2", "negative_dot_product")
    kinds = [(metric, name) for metric in metrics for name in filters]

    def ask(metric: str, name: str) -> tuple[list[float], list[list[str]], str]:
        times, found, way = [], [], ""
        api = Api(token)  # new, because the server closes idle connections
        for vector in asked:
            embedding = {"query_embedding": vector.tolist(), "distance_metric": metric}
            body = {"filters": filters[name], "embedding_filters": embedding}
            took, answer = api.ask(model.model_id, "filter", body)
            times.append(took)
            found.append([row["inference_id"] for row in answer["results"]])
            way = answer["vector_search"]
        return times, found, way

    exact = {kind: ask(*kind) for kind in kinds}
    begun = time.perf_counter()
    indexing.index(model)
    print(
        f"\nVectors: {indexing.count(model):,} of {query_data.DIMENSIONS}, indexed in "
        f"{time.perf_counter() - begun:.0f} s"
    )
    heads = ("exact", "now p50", "p95", "of exact", "of all", "recall")
    print(f"{'metric, filter':34}" + "".join(f"{head:>9}" for head in heads))
    for kind in kinds:
        times, found, way = ask(*kind)
        shares = [
            len(set(here) & set(true)) / len(true)
            for here, true in zip(found, exact[kind][1], strict=True)
        ]
        figure, recall = Figure.of(times), statistics.mean(shares)
        slow = statistics.median(exact[kind][0])
        of_all = figure.p50 / statistics.median(exact[kind[0], "none"][0])
        is_missed = recall < RECALL_LEAST or of_all > EXACT_SHARE_MOST
        note(f"recall, {', '.join(kind)}", recall, "", target=RECALL_LEAST)
        note(f"vectors, {', '.join(kind)}", figure.p50, "ms", limit=slow, fewer=True)
        print(
            f"{', '.join(kind):34}{slow:9.2f}{figure.p50:9.2f}{figure.p95:9.2f}"
            f"{figure.p50 / slow:9.3f}{of_all:9.3f}{recall:9.3f} {way}"
            f"{' missed' if is_missed else ''}"
        )


def set_up() -> str:
    """Create the tables; return the secret of a token."""
    import django

    os.environ["DJANGO_SETTINGS_MODULE"] = "istore.settings"
    django.setup()
    from django.core.management import call_command

    from istore.accounts.tokens import create_token
    from istore.models import Project, Role

    call_command("migrate", verbosity=0)
    project = Project.objects.create(project_id="benchmark")
    return create_token("benchmark", project, Role.EDITOR)[1]


def run(given: argparse.Namespace) -> None:
    token = set_up()
    model = query_data.register("large")
    small = [query_data.register(f"small-{number}") for number in range(5)]
    shapes = [s for s in PAGES + COUNTS if given.only in s.name]
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
        if given.counts:
            print(f"\n{stage:,} rows; load {os.getloadavg()[0]:.1f}")
            without_summaries(Bare(), model)
            continue
        print(
            f"\n{stage:,} rows, filled in {time.perf_counter() - begun:.0f} s; load "
            f"{os.getloadavg()[0]:.1f}"
        )
        with web() as process:
            api, bare = Api(token), Bare()
            at_first = memory(process)
            rows = {s.name: measure(api, bare, model, s, process) for s in shapes}
            used = memory(process)
        report(shapes, rows, before)
        print(
            f"Web process: {at_first / 2**20:.0f} MB at first, {used / 2**20:.0f} MB then; "
            f"load {os.getloadavg()[0]:.1f}"
        )
        before = rows
    if given.vectors and not given.counts:
        faces = query_data.register("faces", query_data.DIMENSIONS)
        query_data.fill(faces, given.vectors)
        query_data.fill_vectors(faces)
        query_data.settle()
        with web():
            search(token, faces)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=200_000, help="of the large model")
    parser.add_argument(
        "--first", type=int, default=0, help="measured before, for growth"
    )
    parser.add_argument(
        "--counts", action="store_true", help="only counts, with and without summaries"
    )
    parser.add_argument("--vectors", type=int, default=50_000, help="0: none")
    parser.add_argument("--only", default="", help="shapes whose name holds this")
    parser.add_argument("--directory", help="on whose disk; a temporary one by default")
    given = parser.parse_args()
    with servers(given.directory):
        run(given)


if __name__ == "__main__":
    main()
