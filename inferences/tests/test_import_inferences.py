from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime

import duckdb
import pandas
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from django.core.management import CommandError, call_command

from inferences.models import InferencePayload
from inferences.tests.builders import body


def test_a_file_of_lines_is_stored_and_a_repeat_stores_nothing(model, tmp_path, capsys):
    lines = [body(f"{n}", created_at=f"2025-01-01T00:00:{n:02}Z") for n in range(25)]
    path = tmp_path / "old.ndjson"
    path.write_text("\n".join(json.dumps(line) for line in lines))

    call_command("import_inferences", "yolo-harbour", path, batch=10)
    call_command("import_inferences", "yolo-harbour", path)

    assert model.inferences.count() == 25
    assert capsys.readouterr().out.split("\n")[:2] == ["25 stored", "25 there before"]


def test_lines_that_cannot_be_read_are_named_and_the_rest_is_stored(
    model, tmp_path, capsys
):
    path = tmp_path / "old.ndjson"
    good, twice = json.dumps(body("a")), json.dumps(body("a", is_protected=True))
    path.write_text("\n".join([good, "{", twice, json.dumps(body("b", extra=1))]))

    with pytest.raises(CommandError, match="3 inferences were refused"):
        call_command("import_inferences", "yolo-harbour", path)

    output = capsys.readouterr().err
    assert "old.ndjson, line 2" in output
    assert "old.ndjson, line 4: extra" in output
    assert model.inferences.count() == 1


def test_a_table_is_stored(model, tmp_path):
    row = {
        "inference_id": "a",
        "created_at": datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=UTC),
        "inference_action": "detect",
        "data_hash": b"\x01" * 32,
        "data_size": 7,
        "latitude": 1.5,
        "longitude": 2.5,
        "metadata": [{"key": "frame", "type": "int", "value": "3"}],
        "object_detection": [
            {"label": "ship", "score": 0.5, "xmin": 1, "ymin": 2, "xmax": 3, "ymax": 4}
        ],
    }
    path = tmp_path / "old.parquet"
    pq.write_table(pa.Table.from_pylist([row]), path)

    call_command("import_inferences", "yolo-harbour", path)

    stored = model.inferences.get()
    assert stored.created_at == row["created_at"]
    assert stored.top_score == 0.5
    assert bytes(stored.data_hash) == b"\x01" * 32


def test_a_model_that_is_not_registered_is_named(db, tmp_path):
    with pytest.raises(CommandError, match="no registered model 'nobody'"):
        call_command("import_inferences", "nobody", tmp_path)


def test_what_a_record_has_a_column_for_is_no_metadata_of_an_imported_line(
    model, tmp_path
):
    def value(key: str, text: str, type_: str = "float") -> dict:
        return {"key": key, "type": type_, "value": text}

    common = {
        "record": 1,
        "created_at": "2025-01-01T00:00:00Z",
        "inference_action": "detect",
        "data_hash": "01" * 32,
        "data_size": 7,
    }
    placed = [value("latitude", "51.5"), value("longitude", "4"), value("gain", "1.50")]
    source = [
        value("data_source", "quay-3", "string"),
        value("latitude", "north", "string"),
    ]
    lines = [
        {**common, "inference_id": "a", "metadata": placed},
        {
            **common,
            "inference_id": "b",
            "metadata": placed,
            "latitude": 1.0,
            "longitude": 2.0,
        },
        {**common, "inference_id": "c", "metadata": source},
    ]
    path = tmp_path / "old.ndjson"
    path.write_text("\n".join(json.dumps(line) for line in lines))

    call_command("import_inferences", "yolo-harbour", path)

    stored = {
        row.inference_id: row for row in model.inferences.select_related("source")
    }
    assert (stored["a"].latitude, stored["a"].longitude) == (51.5, 4.0)
    assert (stored["b"].latitude, stored["b"].longitude) == (1.0, 2.0)
    assert (stored["c"].latitude, stored["c"].source.name) == (None, "quay-3")
    kept = {row.id: list(row.metadata) for row in InferencePayload.objects.all()}
    assert [kept[stored[name].id] for name in "abc"] == [["gain"], ["gain"], []]


def frame_columns() -> dict:
    return {
        "inference_id": ["a", "b"],
        "inference_action": ["predict", "predict"],
        "data_hash": ["00" * 32, "11" * 32],
        "data_size": [7.0, 8.0],  # of a column that had a gap
    }


def metadata_of(model) -> dict[str, dict]:
    rows = InferencePayload.objects.filter(registered_model=model)
    names = dict(model.inferences.values_list("id", "inference_id"))
    return {names[row.id]: row.metadata for row in rows}


def test_frames_of_pandas_are_stored_without_their_gaps(model, tmp_path):
    frame = pandas.DataFrame(
        {
            **frame_columns(),
            "created_at": pandas.to_datetime(
                ["2025-01-01T00:00:00.123456789Z", "2025-01-02T00:00:00Z"],
                format="ISO8601",
            ),
            "metadata.cost": [0.5, None],
            "metadata.frame": pandas.array([3, None], dtype="Int64"),
            "metadata.site": ["north", None],
            "metadata.night": [True, False],
        },
        index=[5, 9],
    )
    path = tmp_path / "frame.parquet"
    frame.to_parquet(path)

    call_command("import_inferences", "yolo-harbour", path)

    found = metadata_of(model)
    assert found["a"] == {
        "cost": ["float", "0.5"],
        "frame": ["int", "3"],
        "site": ["string", "north"],
        "night": ["string", "true"],
    }
    assert found["b"] == {"night": ["string", "false"]}
    moment = model.inferences.get(inference_id="a").created_at
    assert moment == datetime(2025, 1, 1, 0, 0, 0, 123456, tzinfo=UTC)


def test_a_cell_that_cannot_be_read_refuses_its_row_alone(model, tmp_path, capsys):
    columns = {
        **frame_columns(),
        "metadata.at": pa.array([2**62, 10**6], pa.timestamp("us", "UTC")),
        "metadata.took": pa.array([1, 1777629600123456789], pa.duration("ns")),
        "metadata.clock": pa.array([1, 2], pa.time64("ns")),
    }
    path = tmp_path / "odd.parquet"
    pq.write_table(pa.table(columns), path)

    with pytest.raises(CommandError, match="1 inferences were refused"):
        call_command("import_inferences", "yolo-harbour", path)

    assert "odd.parquet, row 1: metadata.at" in capsys.readouterr().err
    assert metadata_of(model) == {
        "b": {
            "at": ["string", "1970-01-01T00:00:01Z"],
            "took": ["float", "1777629600.1234567"],
            "clock": ["string", "00:00:00.000000002"],
        }
    }


def test_directories_of_spark_and_files_of_polars_and_duckdb_are_stored(
    model, tmp_path
):
    folder = tmp_path / "inferences.parquet"
    folder.mkdir()
    (folder / "_SUCCESS").write_bytes(b"")
    (folder / ".part-0.parquet.crc").write_bytes(b"crc")
    frame = polars.DataFrame(frame_columns())
    frame.slice(0, 1).write_parquet(folder / "part-00000.snappy.parquet")
    frame.slice(1, 1).write_parquet(folder / "part-00001.snappy.parquet")
    path = tmp_path / "duck.parquet"
    duckdb.sql(
        "COPY (SELECT 'c' AS inference_id, 'predict' AS inference_action, "
        "repeat('22', 32) AS data_hash, 3::HUGEINT AS data_size, "
        '0.25::DECIMAL(8, 4) AS "metadata.cost", uuid() AS "metadata.batch", '
        f"DATE '2025-01-01' AS \"metadata.day\") TO '{path}'"
    )

    call_command("import_inferences", "yolo-harbour", folder, path)

    found = metadata_of(model)
    assert found.keys() == {"a", "b", "c"}
    assert found["c"]["cost"] == ["float", "0.25"]
    assert found["c"]["day"] == ["string", "2025-01-01"]
    assert found["c"]["batch"][0] == "string"


def test_nan_in_the_metadata_of_a_line_is_missing(api, model, tmp_path):
    def line(name: str, *values: dict) -> str:
        made = body(name)
        made["data"]["metadata"]["extended_metadata"] = list(values)
        return json.dumps(made)

    lines = [
        line("a", {"key": "cost", "type": "float", "value": "nan"}),
        line("b", {"key": "cost", "type": "float", "value": float("nan")}),
        line("c", {"key": "n", "type": "int", "value": "7.0"}),
        line("d", {"key": "n", "type": "int", "value": 7.0}),
        line("e", {"key": "word", "type": "string", "value": "nan"}),
        line("f", {"key": "n", "type": "int", "value": "7.5"}),
    ]
    path = tmp_path / "lines.ndjson.gz"
    path.write_bytes(gzip.compress("\n".join(lines[:5]).encode()))

    batch = "/api/v1/models/yolo-harbour/inferences/batch"
    answer = api.post(batch, "\n".join(lines), content_type="application/x-ndjson")
    call_command("import_inferences", "yolo-harbour", path)

    status = [each["status"] for each in answer.json()["results"]]
    assert status == ["created"] * 5 + ["refused"]
    found = metadata_of(model)
    assert found["a"] == found["b"] == {}
    assert found["c"] == found["d"] == {"n": ["int", "7"]}
    assert found["e"] == {"word": ["string", "nan"]}
