"""Measure the search of texts: pages and counts of rare, frequent and clumped words.

``python benchmarks/text_search.py`` starts its own PostgreSQL and stores ``--texts`` (100,000)
texts in the way of all inferences: each a prompt and an answer of some 60 words of a vocabulary
that is as uneven as language is. Pages and counts are asked of the planner, without HTTP, first
without any statistics of the tables and then with fresh ones. ``--texts 2000000`` is the size of
the promise. The price of writing is measured beside a model whose texts are not indexed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.figures import note  # noqa: E402
from benchmarks.ingest import servers  # noqa: E402

if TYPE_CHECKING:
    from inferences.models import RegisteredModel

BATCH, ROUNDS, LIMIT, COUNTED = 1_000, 7, 50, 10_000
DAYS = 30
VOCABULARY, WORDS = 50_000, 60
MOST_MS = 250.0  # of a page, at 2,000,000 texts
QUERIES = {
    "in all": "text:always",
    "in half": "text:half",
    "in a tenth": "prompt:tenth",
    "in a hundredth": "text:hundredth",
    "in one of 1,000": "answer:thousandth",
    "in one": "text:once7",
    "in none": "text:never",
    "in half of the older half": "text:former",
    "in one of 1,000 of the oldest tenth": "text:ancient",
    "frequent and rare": "text:(always thousandth)",
    "frequent without half": "text:(always -half)",
    "a phrase": 'text:"half way"',
    "a rare phrase": 'text:"thousandth part"',
    "a prefix": "text:thousandt*",
    "one or the other": "text:(once7 OR thousandth)",
    "frequent, with a label": "text:always label:ship",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=100_000)
    parser.add_argument("--directory", help="where the database is; a temporary one")
    given = parser.parse_args()
    with servers(given.directory):
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "istore.settings")
        import django

        django.setup()
        _prepare()
        model, plain = _register("searched", True), _register("plain", False)
        per_second = {
            each.model_id: _fill(each, number, given.texts)
            for each, number in (
                (plain, min(given.texts, 20_000)),
                (model, given.texts),
            )
        }
        print(
            f"{per_second['searched']:,.0f} texts a second with the index, "
            f"{per_second['plain']:,.0f} without"
        )
        note(
            "texts written a second",
            per_second["searched"],
            "/s",
            limit=per_second["plain"],
        )
        _measure(model, "without statistics")
        _run("ANALYZE")
        _measure(model, "with statistics")
        _run("VACUUM")
        _measure(model, "vacuumed")
        _sizes()


def _prepare() -> None:
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    partitions = (
        "SELECT inhrelid::regclass FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid "
        "WHERE relkind = 'r'"
    )
    for (partition,) in _run(partitions):  # statistics come when they are asked for
        _run(f"ALTER TABLE {partition} SET (autovacuum_enabled = false)")


def _run(sql: str) -> list[Any]:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall() if cursor.description else []


def _register(model_id: str, text_search: bool) -> RegisteredModel:
    from inferences.models import RegisteredModel, TaskType
    from istore.models import Project

    project, _ = Project.objects.get_or_create(project_id="benchmark")
    return RegisteredModel.objects.create(
        model_id=model_id,
        project=project,
        task_type=TaskType.TEXT_GENERATION,
        text_search=text_search,
    )


def _fill(model: RegisteredModel, number: int, whole: int) -> float:
    """Store so many texts, and return how many a second."""
    from inferences.store.recording import record

    chance, taken, batch = random.Random(1), 0.0, []
    for new in _texts(chance, number, whole):
        batch.append(new)
        if len(batch) == BATCH:
            begun = time.perf_counter()
            record(model, batch)
            taken += time.perf_counter() - begun
            batch = []
    return number / taken


def _texts(chance: random.Random, number: int, whole: int) -> Iterator[Any]:
    from inferences.models import InferenceAction
    from inferences.store.recording import NewInference

    start = datetime.now(UTC) - timedelta(days=DAYS)
    for place in range(number):
        prompt = _words(chance)
        answer = _words(chance)
        prompt.append("always")
        if place % 2:
            prompt += ["half", chance.choice(["way", "time"])]
        if place % 10 == 3:
            prompt.append("tenth")
        if place % 100 == 7:
            answer.append("hundredth")
        if place % 1_000 == 11:
            answer += ["thousandth", "part"]
        if place < 10:
            answer.append(f"once{place}")
        if place < number / 2 and place % 2:
            prompt.append("former")
        if place < number / 10 and place % 1_000 == 5:
            prompt.append("ancient")
        yield NewInference(
            inference_id=f"text-{place}",
            inference_action=InferenceAction.PREDICT,
            data_hash=hashlib.sha256(b"").digest(),
            created_at=start + timedelta(days=DAYS) / whole * place,
            detections=[("ship", 0.5)] if place % 500 == 0 else None,
            data=json.dumps(
                {"inputs": {"text": " ".join(prompt)}, "text": " ".join(answer)}
            ),
        )


def _words(chance: random.Random) -> list[str]:
    """Return words, of which the n-th of the vocabulary comes about 1 / n as often as the first."""
    return [f"w{int(VOCABULARY ** chance.random())}" for _ in range(WORDS)]


def _measure(model: RegisteredModel, state: str) -> None:
    from inferences.search import text
    from inferences.search.counting import count_matching

    print(
        f"\n{state}: milliseconds, p50 and most\n{'':36} newest        oldest      count"
    )
    for name, query in QUERIES.items():
        filters = text.parse(query)
        told = [
            _timed(partial(_page, model, filters, direction))
            for direction in ("desc", "asc")
        ]
        told.append(_timed(partial(count_matching, model, filters, COUNTED)))
        columns = "  ".join(f"{middle:6.1f} {most:6.1f}" for middle, most in told)
        print(f"{name:36} {columns}", flush=True)
        note(f"{name}, {state}", told[0][0], "ms", target=MOST_MS, fewer=True)


def _page(model: RegisteredModel, filters: Any, direction: Any) -> Any:
    from inferences.search.pagination import Pagination
    from inferences.search.query import InferenceQuery

    return InferenceQuery(filters, Pagination(direction, LIMIT)).page(model)


def _timed(ask: Callable[[], Any]) -> tuple[float, float]:
    taken = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        ask()
        taken.append(1_000 * (time.perf_counter() - begun))
    return statistics.median(taken), max(taken)


def _sizes() -> None:
    rows = _run(
        "SELECT c.relname, pg_table_size(c.oid), pg_indexes_size(c.oid), c.reltuples "
        "FROM pg_class c WHERE relname ~ '^inferences_inferencetext_' AND reltuples > 0 "
        "AND relkind = 'r'"
    )
    for name, table, indexes, tuples in rows:
        print(
            f"\n{name}: {table / tuples:,.0f} bytes a row, {indexes / tuples:,.0f} of indexes"
        )


if __name__ == "__main__":
    main()
