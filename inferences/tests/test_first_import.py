"""A first import costs what a later one does: no statement of the way in, or out, bets on
statistics that are not there, or were made when the tables were small.

Rows that a statement reads are counted by the database, those of its triggers included.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection

from inferences.ground_truth.joining import Actual, join
from inferences.ground_truth.references import Reference
from inferences.models import (
    ClassProbability,
    InferenceAction,
    RegisteredModel,
    TaskType,
)
from inferences.models.metadata_values import MetadataValue
from inferences.store import removal, reservations
from inferences.store.lookup import row_ids_of
from inferences.store.recording import MET, NewInference, record
from inferences.store.reservations import Wish
from ingest.reconciliation_state import already_processed

# PostgreSQL 16 cannot be told what ANALYZE found once.
pytestmark = pytest.mark.skipif(
    os.environ.get("ISTORE_TEST_POSTGRES", "18") < "18",
    reason="It sets statistics, which needs PostgreSQL 18.",
)
BATCH = 1000
STORED = 20_000
MOST = 2.5 * BATCH  # rows of one table, or entries of one index, that a statement reads
AT = datetime(2026, 6, 1, tzinfo=UTC)
# A block range of 128 pages, however many rows are deleted: what BRIN reads of detections.
RANGES = "inferences_detection_"

TABLES = """
SELECT relname, coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)
FROM pg_stat_xact_user_tables
"""
INDEXES = """
SELECT indexrelid::regclass::text, pg_stat_get_xact_tuples_returned(indexrelid)
FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
WHERE relnamespace = 'public'::regnamespace
"""
# As ANALYZE says it of one row. ANALYZE itself would leave its counts to other tests.
REMEMBER = """
SELECT count(pg_restore_relation_stats('schemaname', 'public', 'relname',
           relname::text, 'relpages', 1, 'reltuples', 1::real)),
       count(pg_restore_attribute_stats('schemaname', 'public', 'relname',
           relname::text, 'attname', attname::text, 'inherited', false,
           'null_frac', 0::real, 'avg_width', 8, 'n_distinct', (-1)::real))
FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND attnum > 0
  AND NOT attisdropped AND relname LIKE 'inferences%'
"""
FORGET = """
SELECT count(pg_clear_relation_stats('public', relname)) FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
"""


def rows_read() -> Counter[str]:
    found: Counter[str] = Counter()
    with connection.cursor() as cursor:
        for statement in (TABLES, INDEXES):
            cursor.execute(statement)
            found.update(dict(cursor.fetchall()))
    return found


class Reads:
    """Collects the statements that read more than they should."""

    def __init__(self) -> None:
        self.is_busy = False
        self.excessive: list[tuple[str, Counter[str]]] = []

    def __call__(self, execute: Any, sql: str, *more: Any) -> Any:
        if self.is_busy:
            return execute(sql, *more)
        self.is_busy = True
        try:
            before = rows_read()
            answer = execute(sql, *more)
            read = rows_read() - before
        finally:
            self.is_busy = False
        many = {
            name: count
            for name, count in read.items()
            if count > MOST and not name.startswith(RANGES)
        }
        if many:
            self.excessive.append((sql, many))
        return answer


@contextmanager
def bounded(what: str) -> Iterator[None]:
    reads = Reads()
    with connection.execute_wrapper(reads):
        yield
    assert not reads.excessive, what


def new(number: int, **fields: Any) -> NewInference:
    given = {
        "inference_id": str(uuid4()),
        "inference_action": InferenceAction.DETECT,
        "data_hash": uuid4().bytes * 2,
        "created_at": AT + timedelta(seconds=number),
        "metadata": [MetadataValue("camera", "string", f"c{number % 7}")],
        "detections": [("ship", 0.5)],
        "data_source": "quay",
        "latitude": 51.9,
        "longitude": 4.1,
        "answer_storage_key": f"answers/{uuid4()}/answer",
    }
    return NewInference(**given | fields)


def batch_of(first: int, **fields: Any) -> list[NewInference]:
    return [new(first + number, **fields) for number in range(BATCH)]


KNOWN = ["never analysed", "analysed when almost empty"]


@pytest.fixture(params=KNOWN)
def filled(request, model) -> list[NewInference]:
    """20,000 inferences of which the planner knows nothing, or what was so before."""
    return fill(model, request.param, STORED)


def fill(model, known: str, number: int, **fields: Any) -> list[NewInference]:
    with connection.cursor() as cursor:
        cursor.execute(FORGET)
        # As the owner of the tables may do it, who is no superuser.
        cursor.execute(
            "SELECT pg_clear_attribute_stats(schemaname, tablename, attname, inherited) "
            "FROM pg_stats WHERE schemaname = 'public'"
        )
    stored: list[NewInference] = []
    if known != "never analysed":
        stored.append(new(0, **fields))
        record(model, stored)
        with connection.cursor() as cursor:
            cursor.execute(REMEMBER)
    for first in range(1, number, BATCH):
        batch = batch_of(first, **fields)
        with bounded(f"a batch after {first}"):
            record(model, batch)
        stored += batch
    return stored


def test_no_statement_reads_more_than_its_batch(filled, model, api):
    names = [each.inference_id for each in filled]
    with bounded("copies"):
        record(model, filled[-BATCH:])
    with bounded("what the store has dealt with"):
        prefixes = {
            each.answer_storage_key.rpartition("/")[0]: each.inference_id
            for each in filled[:BATCH]
        }
        assert already_processed(model, prefixes) == prefixes.keys()
    with bounded("keys of given ids"):
        assert len(row_ids_of(model, names[:BATCH])) == BATCH
    with bounded("reserved ids"):
        wishes = [f"r{number}" for number in range(BATCH // 2)]
        wishes += names[: BATCH // 2]
        digest = b"x" * 32
        reservations.reserve([Wish(model.pk, each, digest) for each in wishes])
    with bounded("one create"):
        address = f"/api/v1/models/{model.model_id}/inferences"
        standard = {"data_hash": "ab" * 32, "data_size": 1}
        standard |= {"task_type": "Object Detection", "inference_action": "detect"}
        metadata = {"standard_metadata": standard, "extended_metadata": []}
        body = {"inference_id": "one", "data": {"metadata": metadata}}
        assert api.post(address, body).status_code == 201
        lines = [
            json.dumps({**body, "inference_id": f"line {n}"}) for n in range(BATCH)
        ]
        told = api.generic(
            "POST",
            f"{address}/batch",
            "\n".join(lines),
            content_type="application/x-ndjson",
        )
        assert {each["status"] for each in told.json()["results"]} == {"created"}


def test_ground_truth_reads_no_more_than_its_batch(filled, model):
    names = [each.inference_id for each in filled[5000 : 5000 + BATCH]]

    def actuals(of: list[str]) -> list[Actual]:
        return [Actual(Reference("inference_id", n), {"labels": ["ship"]}) for n in of]

    with bounded("actuals of stored inferences"):
        assert join("test", model, actuals(names)).joined == BATCH
    late = [f"late {number}" for number in range(BATCH)]
    with bounded("actuals that wait"):
        assert join("test", model, actuals(late)).waiting == BATCH
    model.refresh_from_db()
    with bounded("inferences that were awaited"):
        first = STORED + 10
        record(
            model, [new(first + n, inference_id=name) for n, name in enumerate(late)]
        )
    assert join("test", model, actuals(late)).changed == 0


def test_removal_reads_no_more_than_its_batch(filled, model):
    rows = list(row_ids_of(model, [e.inference_id for e in filled[:BATCH]]).values())
    with bounded("one"):
        removal.remove_one("test", model, filled[-1].inference_id)
    with bounded("a batch"):
        chosen = lambda: model.inferences.live_among(rows)  # noqa: E731
        assert sum(map(len, removal.intend_all("test", model, chosen))) == BATCH
        removal.RECORDS.finish(model, rows)
    with bounded("copies of what was removed"):
        record(model, filled[:BATCH])
    assert model.inferences.count() == len(filled) - BATCH - 1


@pytest.mark.parametrize("known", KNOWN)
def test_removal_of_distributions_reads_no_more_than_its_batch(project, known):
    model = RegisteredModel.objects.create(
        model_id="two", project=project, task_type=TaskType.TEXT_CLASSIFICATION
    )
    said = [("spam", 0.9), ("ham", 0.1)]
    # Without an answer whose text would be looked for: that is not what is counted here.
    stored = fill(model, known, 10 * BATCH, detections=said, answer_storage_key="")
    half = [each.inference_id for each in stored[: BATCH // 2]]
    rows = list(row_ids_of(model, half).values())
    with bounded("one"):
        removal.remove_one("test", model, stored[-1].inference_id)
    with bounded("half a batch"):
        chosen = lambda: model.inferences.live_among(rows)  # noqa: E731
        assert sum(map(len, removal.intend_all("test", model, chosen))) == BATCH // 2
        removal.RECORDS.finish(model, rows)
    left = ClassProbability.objects.beside(model).count()
    assert left == 2 * (len(stored) - BATCH // 2 - 1)


def test_the_look_for_copies_has_one_index_to_take(filled, model):
    names = [each.inference_id for each in filled[:BATCH]]
    with connection.cursor() as cursor:
        cursor.execute(
            f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {MET}",
            {"model": model.pk, "names": names},
        )
        (plan,) = cursor.fetchone()
    text = json.dumps(plan)
    assert "inferences_inferencekey_pkey" in text
    assert "key_by_arrival" not in text
    top = plan[0]["Plan"]
    assert top["Shared Hit Blocks"] + top["Shared Read Blocks"] < 30 * BATCH
