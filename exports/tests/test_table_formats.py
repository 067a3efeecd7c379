"""The same rows in Parquet, Avro, JSON lines, CSV and for Phoenix, read by foreign readers."""

from __future__ import annotations

import csv
import io
import json
from datetime import datetime

import fastavro
import pandas
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exports.formats.open_inference.avro import columns_of
from exports.formats.open_inference.csv import escape, plain
from exports.formats.open_inference.names import ColumnName
from exports.formats.open_inference.schema_json import FIELDS
from exports.tests.conftest import lines_of, opened
from exports.tests.tables import BOX, FOLDER, TUG, table_of

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def varied(model, answered):
    answered(
        model,
        {"object_detection": [BOX, TUG]},
        {"camera": '=HYPERLINK("x")', "note": "'quoted", "gain": -1.5, "frame": -7},
        inference_id="+1",
        data_source="",
    )
    answered(
        model,
        {"object_detection": []},
        {"camera": "", "note": 'line\nbreak, "q" ⚓', "gain": 1e300},
        inference_id="b",
    )
    return model


@pytest.fixture
def expected(varied, exported):
    return table_of(opened(exported("open_inference_parquet")), FOLDER)


def test_parquet_says_what_it_is_of(varied, exported):
    archive = opened(exported("open_inference_parquet"))

    file = io.BytesIO(archive.read(f"{FOLDER}/data.parquet"))
    about = pyarrow.parquet.read_metadata(file).metadata
    assert about[b"istore.model_id"] == b"yolo-harbour"
    assert about[b"istore.task_type"] == b"Object Detection"
    frame = pandas.read_parquet(file)
    assert frame[":timestamp.iso_8601:"].dt.tz is not None
    assert list(frame[":id.id:"]) == ["+1", "b"]


def test_avro_has_the_same_rows(varied, expected, exported):
    archive = opened(exported("open_inference_avro"))

    reader = fastavro.reader(io.BytesIO(archive.read(f"{FOLDER}/data.avro")))
    columns = columns_of(reader.writer_schema)
    rows = [{columns[name]: value for name, value in row.items()} for row in reader]
    assert rows == expected
    assert reader.metadata["istore.model_id"] == "yolo-harbour"


def test_json_lines_have_the_same_rows(varied, expected, exported):
    archive = opened(exported("open_inference_jsonl"))

    rows = lines_of(archive, f"{FOLDER}/data.jsonl")
    for row in rows:
        row[":timestamp.iso_8601:"] = datetime.fromisoformat(
            row[":timestamp.iso_8601:"]
        )
    assert rows == expected
    frame = pandas.read_json(
        io.BytesIO(archive.read(f"{FOLDER}/data.jsonl")), lines=True
    )
    assert len(frame) == 2


def test_csv_has_the_same_rows_and_no_formula(varied, expected, exported):
    archive = opened(exported("open_inference_csv"))

    text = archive.read(f"{FOLDER}/data.csv").decode()
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    texts = [
        cell
        for row in rows
        for name, cell in row.items()
        if ColumnName.parse(name).type not in ("float", "int")
    ]
    assert any("=" in cell[1:] for cell in texts)  # one was a formula
    assert not [cell for cell in texts if cell.startswith(tuple("=+-@\t\r"))]
    assert [_values(row) for row in rows] == expected
    assert len(pandas.read_csv(io.StringIO(text))) == 2


def _values(row: dict[str, str]) -> dict[str, object]:
    """A row of CSV by the rules of docs/tables.md."""

    def value(name: str, cell: str) -> object:
        kind = ColumnName.parse(name).type
        if cell == "":
            return None
        if kind == "int":
            return int(cell)
        if kind == "float":
            return float(cell)
        if kind == "bool":
            return cell == "true"
        if kind == "iso_8601":
            return datetime.fromisoformat(cell)
        return json.loads(cell) if kind.startswith("[") else plain(cell)

    return {name: value(name, cell) for name, cell in row.items()}


def test_phoenix_datasets_have_inputs_outputs_and_metadata(varied, exported):
    archive = opened(exported("phoenix_jsonl"))

    first, second = lines_of(archive, f"{FOLDER}/data.jsonl")
    assert first.keys() == {"inputs", "outputs", "metadata", "splits"}
    assert first["outputs"]["prediction_label"] == "tug"
    assert first["metadata"]["id"] == "+1"
    assert first["metadata"]["meta.gain"] == -1.5
    assert second["splits"] == []


def test_the_environment_is_the_split_of_a_phoenix_dataset(
    model, make_inference, exported
):
    make_inference({"environment": "validation"})

    archive = opened(exported("phoenix_jsonl"))

    (line,) = lines_of(archive, "yolo-harbour/no-version/validation/data.jsonl")
    assert line["splits"] == ["validation"]


@pytest.mark.parametrize("format_", ["parquet", "avro", "csv", "jsonl"])
def test_a_schema_lies_beside_every_table(format_, varied, exported):
    archive = opened(exported(f"open_inference_{format_}"))

    answer = json.loads(archive.read(f"{FOLDER}/schema.json"))
    assert set(answer) == set(FIELDS)
    assert answer["prediction_id_column_name"] == ":id.id:"
    assert (
        answer["prediction_label_column_name"]
        == ":prediction.str.label:prediction_label"
    )
    assert ":tag.str:meta.camera" in answer["tag_column_names"]


FORMULAS = ["=1", "\n=1", "\t=1", "\r\n@a", " =1", "\u3000=1", "\u200b=1", "\ufeff+1"]
FORMULAS += [
    "\xa0-1",
    "\uff1d1",
    "\uff0b1",
    "\uff0d1",
    "\uff20a",
    " \uff1d1",
    "\x00=1",
    "\x85=1",
    "\u2028=1",
]


@pytest.mark.parametrize("text", [*FORMULAS, "'a", "", "\n", "\tx"])
def test_what_a_spreadsheet_could_run_is_text(text):
    (cell,) = escape(pa.array([text])).to_pylist()

    assert cell == f"'{text}"
    assert plain(cell) == text


@given(st.text())
def test_cells_of_a_spreadsheet_stand_for_their_text(text):
    (cell,) = escape(pa.array([text])).to_pylist()

    assert plain(cell or "'") == text
    assert (cell or "").lstrip()[:1] not in tuple("=+-@\uff1d\uff0b\uff0d\uff20")
