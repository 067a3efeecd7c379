from __future__ import annotations

import json
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from django.core.management import CommandError, call_command

from inferences.models import InferencePayload
from inferences.tests.test_create_inference import body


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

    told = capsys.readouterr().err
    assert "old.ndjson, line 2" in told
    assert "old.ndjson, line 4: extra" in told
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
