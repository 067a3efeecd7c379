"""SQL over the lake: one SELECT over the tables that one may see, within bounds."""

from __future__ import annotations

import pytest

from exports.lake.models import LakeTable
from exports.lake.query import worker
from exports.lake.query.running import query
from exports.tests.schedules import DAY
from istore.errors import Invalid, Unprocessable

pytestmark = pytest.mark.django_db(transaction=True)
URL = "/api/v1/lake/sql"


@pytest.fixture
def table(model, lake_schedule, make_inference, run_lake, blob_directory):
    for n in range(3):
        make_inference({"camera": "north" if n else "south"}, created_at=DAY)
    run_lake(lake_schedule(model))
    make_inference({"speed": 2.5}, created_at=DAY)
    run_lake(model.export_schedules.get())
    return LakeTable.objects.get()


REFUSED_BEFORE_IT_RUNS = [
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM read_parquet('a.parquet')",
    "SELECT * FROM yolo_harbour; SELECT 1",
    "DROP VIEW yolo_harbour",
    "ATTACH '/tmp/a.db'",
    "COPY yolo_harbour TO '/tmp/stolen.csv'",
    "INSTALL httpfs",
    "LOAD httpfs",
    "SET memory_limit = '100GB'",
    "PRAGMA database_list",
    "CREATE TABLE t AS SELECT 1",
    "WITH x AS (INSERT INTO yolo_harbour VALUES (1) RETURNING *) SELECT * FROM x",
    "SELECT * FROM duckdb_settings()",
    "SELECT * FROM query('SELECT 1')",
    "SELECT * FROM query_table('yolo_harbour')",
    "SELECT * FROM arrow_scan(1, 2, 3)",
    "SELECT * FROM glob('/*')",
    "EXPLAIN SELECT 1",
    "CALL pragma_version()",
    "SELECT (SELECT content FROM read_text('/etc/passwd'))",
    "SELECT 1 WHERE 1 IN (SELECT size FROM read_blob('/etc/passwd'))",
    "SELECT",
    "not sql",
    "SELECT " + "(" * 500,
]


def test_whatever_is_no_single_select_is_refused_before_it_runs():
    connection = worker.connect({"memory_bytes": 64 * 1024**2, "threads": 1})
    for sql in REFUSED_BEFORE_IT_RUNS:
        with pytest.raises(worker.Refused):
            worker.statement_of(connection, sql)
    assert worker.statement_of(connection, "FROM a UNION SELECT * FROM b")


def test_a_select_sees_neither_files_nor_the_process(table, project):
    for sql in (
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM '/etc/passwd.csv'",
        "SELECT * FROM job",
        "SELECT * FROM given",
        "SELECT getenv('HOME')",
        "",
        "SELECT \0",
    ):
        with pytest.raises(Invalid):
            print(sql, query([project], sql).rows)

    found = query(
        [project],
        "SELECT meta_camera, count(*) AS n, max(meta_speed) FROM yolo_harbour "
        "GROUP BY ALL ORDER BY n DESC, meta_camera",
    )
    assert [each["name"] for each in found.columns][:2] == ["meta_camera", "n"]
    assert found.rows == [["north", 2, None], ["south", 1, None], [None, 1, 2.5]]
    again = query([project], 'SELECT count(*) FROM "harbour".yolo_harbour')
    assert again.rows == [[4]]
    days = query([project], "SELECT DISTINCT timestamp FROM yolo_harbour")
    assert days.rows == [["2026-03-01T00:00:00Z"]]


def test_rows_time_and_memory_are_bounded(table, project, settings):
    few = query([project], "SELECT id FROM yolo_harbour ORDER BY id", limit=2)
    assert (few.rows, few.is_complete) == ([["inference-1"], ["inference-2"]], False)
    wide = query([project], "SELECT repeat('x', 1000000) FROM range(100)")
    assert not wide.is_complete
    assert len(wide.rows) < 20

    settings.ISTORE_LAKE_QUERY_BYTES = 64 * 1024**2
    with pytest.raises(Unprocessable):
        query(
            [project],
            "SELECT list(a.range || '-' || b.range) FROM range(100000) a, range(1000) b",
        )
    settings.ISTORE_LAKE_QUERY_SECONDS = 2
    with pytest.raises(Unprocessable):
        query(
            [project],
            "SELECT count(*) FROM range(10000000) a, range(1000000) b WHERE a.range + b.range = 7",
        )
