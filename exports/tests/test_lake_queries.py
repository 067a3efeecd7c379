"""SQL over the lake: one SELECT over the tables that one may see, within bounds."""

from __future__ import annotations

import sys
from contextlib import suppress
from datetime import timedelta

import duckdb
import pytest
from inference_store import cli

from exports.lake.doors import find_table, list_tables
from exports.lake.models import LakeTable, plain
from exports.lake.query import worker
from exports.lake.query.running import query
from exports.schedules import lifecycle
from exports.tests.schedules import DAY
from inferences.store import removal, soft_deletion
from istore import blobs
from istore.accounts.tokens import create_token
from istore.errors import Invalid, StoreError, Unprocessable
from istore.models import Project, Role

pytestmark = pytest.mark.django_db(transaction=True)
URL = "/api/v1/lake/sql"
LATER = DAY + timedelta(days=5)


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
    "SELECT pg_sleep(60)",
    "SELECT 1 WHERE SLEEP_MS(60000) IS NULL",
    "SELECT write_log('x')",
    "FROM duckdb_secrets()",
    "FROM which_secret('a', 's3')",
    "FROM parquet_metadata('a.parquet')",
    "FROM sniff_csv('/etc/passwd')",
    "FROM json_execute_serialized_sql('x')",
    "PIVOT a ON b",
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
        "SELECT * FROM memory.main._table_1",
        "SELECT file_exists('/etc/passwd')",
        "SELECT query('SELECT 1')",
        "SELECT read_text('/etc/passwd')",
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

    row = LakeTable.objects.get()
    stored = [each.key for each in blobs.walk(f"lake/{row.namespace}/")]
    blobs.delete(key for key in stored if key.endswith(".parquet"))
    with pytest.raises(StoreError) as raised:
        query([project], "SELECT id FROM yolo_harbour")
    assert raised.value.code != "query-too-expensive"

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


def test_the_api_answers_from_the_tables_that_a_caller_may_see(table, api_as):
    api = api_as(Role.VIEWER)
    (listed,) = api.get("/api/v1/lake/tables").json()["results"]
    assert (listed["name"], listed["row_count"]) == ("harbour.yolo_harbour", 4)
    assert {"name": "meta_camera", "type": "string", "key": "camera"} in listed[
        "columns"
    ]
    sql = "SELECT count(*) AS n FROM harbour.yolo_harbour"
    answer = api.post(URL, {"sql": sql})
    assert answer.json() == {
        "columns": [{"name": "n", "type": "BIGINT"}],
        "rows": [[4]],
        "is_complete": True,
    }

    other = api_as(Role.ADMINISTRATOR, Project.objects.create(project_id="other"))
    assert other.get("/api/v1/lake/tables").json()["results"] == []
    refused = other.post(URL, {"sql": sql})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (
        400,
        "/sql",
    )
    for body, name in (
        ({}, "sql"),
        ({"sql": 5}, "sql"),
        ({"sql": "SELECT 1", "limit": 0}, "limit"),
        ({"sql": "SELECT 1", "project_id": "other"}, "project_id"),
        ({"sql": "SELECT 1", "file": "x"}, "file"),
        ({"sql": "SELECT '" + "x" * 30_000 + "'"}, "sql"),
    ):
        refused = api.post(URL, body)
        assert refused.status_code == 400, body
        assert name in refused.content.decode()
    assert api.get("/api/v1/lake/tables?project_id=other").status_code == 400


def test_no_plain_name_is_a_word_of_sql():
    words = "SELECT DISTINCT keyword_name FROM duckdb_keywords()"
    config = {"python_enable_replacements": "false"}
    with duckdb.connect(config=config) as database:
        for (word,) in database.execute(words).fetchall():
            name = plain(word)
            with pytest.raises(
                (duckdb.CatalogException, duckdb.IOException)
            ):  # understood
                database.execute(f"SELECT * FROM {name}.{name}, {name}")
    assert plain("Default") == "t_default"


def test_a_table_that_is_called_by_a_word_of_sql_is_listed_as_sql_names_it(
    table, project
):
    LakeTable.objects.filter(pk=table.pk).update(namespace="default")
    (listed,) = list_tables([project])
    assert listed.name == f'"default".{table.name}'
    for each in (listed.name, f"default.{table.name}"):
        assert find_table([project], each) == table


def test_the_page_shows_rows_and_what_is_wrong(table, person):
    viewer = person(Role.VIEWER)
    shown = viewer.get("/exports/lake").content.decode()
    assert "harbour.yolo_harbour" in shown
    sql = "SELECT meta_camera, '<b>' AS x FROM yolo_harbour ORDER BY id"
    answer = viewer.post("/exports/lake", {"sql": sql}).content.decode()
    assert "4 rows" in answer
    assert "<b>" not in answer
    wrong = viewer.post("/exports/lake", {"sql": "SELECT * FROM read_text('/etc/x')"})
    assert wrong.status_code == 400
    assert "not allowed" in wrong.content.decode()


def test_the_command_prints_the_rows(table, project, live_server, monkeypatch, capsys):
    _, secret = create_token("test", project, Role.VIEWER)
    monkeypatch.setenv("ISTORE_URL", live_server.url)
    monkeypatch.setenv("ISTORE_TOKEN", secret)
    sql = "SELECT id, meta_speed FROM yolo_harbour ORDER BY id DESC"
    monkeypatch.setattr(sys, "argv", ["istore", "lake", "sql", sql, "-n", "2"])
    with suppress(SystemExit):
        cli.main()
    told = capsys.readouterr()
    assert told.out == "inference-4\t2.5\ninference-3\t\n"
    assert "more rows" in told.err
    monkeypatch.setattr(sys, "argv", ["istore", "lake", "tables"])
    with suppress(SystemExit):
        cli.main()
    assert "harbour.yolo_harbour" in capsys.readouterr().out


def test_statistics_of_a_time_without_records_come_from_the_lake(
    table, model, make_inference, api, person
):
    address = "/api/v1/models/yolo-harbour/metadata/statistics"
    window = {"start": "2026-03-01T00:00:00Z", "end": "2026-03-02T00:00:00Z"}
    asked = [
        {"key": "camera", "type": "string", "filters": {"time_window_filter": window}},
        {"key": "speed", "type": "float", "filters": {"time_window_filter": window}},
        {
            "key": "speed",
            "type": "number",
            "distribution_bin_width": 1,
            "distribution_minimum_value": 0,
            "filters": {"time_window_filter": window},
        },
    ]
    make_inference({"camera": "later"}, created_at=DAY + timedelta(days=5))
    before = [api.post(address, body).json() for body in asked]
    for n in range(1, 5):
        removal.remove_one("test", model, f"inference-{n}")

    after = [api.post(address, body).json() for body in asked]

    assert [each.pop("source") for each in before] == ["records"] * 3
    assert [each.pop("source") for each in after] == ["lake"] * 3
    assert after == before
    assert after[0]["distribution"] == {"north": 2, "south": 1}
    page = person(Role.VIEWER).get(
        "/models/yolo-harbour/statistics?since=2026-03-01&until=2026-03-02"
        "&of=camera:string&part=key"
    )
    assert "3 values from the lake" in page.content.decode()
    later = api.post(address, {"key": "camera", "type": "string"}).json()
    assert later["source"] == "records"


@pytest.mark.parametrize("lack", ["begun later", "behind", "changed", "hidden"])
def test_statistics_come_from_records_where_the_lake_may_not_have_all(
    lack, table, model, api
):
    address = "/api/v1/models/yolo-harbour/metadata/statistics"
    window = {"start": "2026-03-01T00:00:00Z", "end": "2026-03-02T00:00:00Z"}
    asked = {
        **{"key": "camera", "type": "string"},
        "filters": {"time_window_filter": window},
    }
    if lack == "hidden":
        soft_deletion.hide_all("test", model, model.inferences.live)
    else:
        for n in range(1, 5):
            removal.remove_one("test", model, f"inference-{n}")
    if lack == "begun later":
        LakeTable.objects.update(
            is_whole=False
        )  # as of a schedule without its beginning
    if lack == "behind":
        model.export_schedules.update(exported_until=DAY - timedelta(days=1))
    if lack == "changed":
        schedule = model.export_schedules.get()
        lifecycle.change("test", schedule, keeps_removed=False)
        lifecycle.change("test", schedule, keeps_removed=True)

    assert api.post(address, asked).json()["source"] == "records"


def test_statistics_over_records_and_removed_ones_count_each_once(
    table, model, make_inference, api, person, run_lake
):
    address = "/api/v1/models/yolo-harbour/metadata/statistics"
    window = {"start": "2026-02-01T00:00:00Z", "end": "2026-04-02T00:00:00Z"}
    filters = {"time_window_filter": window}
    for n in range(4):
        make_inference({"camera": "later", "speed": n + 0.5}, created_at=LATER)
    run_lake(model.export_schedules.get())
    make_inference({"camera": "not exported", "speed": 9.5}, created_at=LATER)
    make_inference({"camera": "not exported", "speed": -1.5}, created_at=DAY)
    asked = [
        {"key": "camera", "type": "string", "filters": filters},
        {"key": "speed", "type": "float", "filters": filters},
        {"key": "speed", "type": "number", "filters": filters},
        {
            **{"key": "speed", "type": "number", "filters": filters},
            **{"distribution_bin_width": 2, "distribution_minimum_value": 0},
        },
    ]
    before = [api.post(address, body).json() for body in asked]
    # One whole day but one record, and every second of another.
    for n in (1, 2, 4, 6, 8):
        removal.remove_one("test", model, f"inference-{n}")

    after = [api.post(address, body).json() for body in asked]

    assert {each.pop("source") for each in before} == {"records"}
    assert {each.pop("source") for each in after} == {"records-and-lake"}
    assert after == before
    page = person(Role.VIEWER).get(
        "/models/yolo-harbour/statistics?since=2026-02-01&until=2026-04-02"
        "&of=camera:string&part=key"
    )
    assert "The lake has 4 values more" in page.content.decode()
