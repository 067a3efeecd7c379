"""Columns encoded as a whole are what writers of single rows make of them."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import fastavro
import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exports.formats.open_inference.avro import AvroWriter, columns_of
from exports.formats.open_inference.json_lines import ON_A_LINE, JsonLinesWriter

WHOLE = st.integers(-(2**63), 2**63 - 1)
REAL = st.floats(width=32)
MOMENTS = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1))
REALS = ":tag.float:real"
COLUMNS = {
    ":tag.text:text": (pa.string(), st.text(st.characters(codec="utf-8"))),
    ":tag.int:whole": (pa.int64(), WHOLE),
    REALS: (pa.float64(), st.floats()),
    ":tag.bool:flag": (pa.bool_(), st.booleans()),
    ":timestamp.iso_8601:": (
        pa.timestamp("us", "UTC"),
        MOMENTS.map(lambda moment: moment.replace(tzinfo=UTC)),
    ),
    ":prediction.[str]:texts": (pa.list_(pa.string()), st.lists(st.none() | st.text())),
    ":prediction.[float]:reals": (
        pa.list_(pa.float64()),
        st.lists(st.none() | st.floats()),
    ),
    ":feature.[float].embedding:vector": (
        pa.list_(pa.float32(), 2),
        st.lists(REAL, min_size=2, max_size=2),
    ),
}
SCHEMA = pa.schema([(name, type_) for name, (type_, _) in COLUMNS.items()])
ROWS = st.lists(
    st.fixed_dictionaries(
        {name: st.none() | values for name, (_, values) in COLUMNS.items()}
    ),
    max_size=5,
)


def batch_of(rows) -> pa.RecordBatch:
    """Return the rows as a slice of a batch, because a batch may be one."""
    empty = dict.fromkeys(COLUMNS)
    return pa.RecordBatch.from_pylist([empty, *rows], schema=SCHEMA).slice(1)


def write_table(writer, *batches) -> bytes:
    file = io.BytesIO()
    opened = writer(file, SCHEMA, {"istore.model_id": "a"})
    for batch in batches:
        opened.write(batch)
    opened.close()
    return file.getvalue()


def plain(rows) -> str:
    """Return the rows as text, because NaN equals nothing, with one word for UTC."""
    return repr(rows).replace("zoneinfo.ZoneInfo(key='UTC')", "datetime.timezone.utc")


@given(ROWS)
def test_json_lines_have_the_values_of_orjson(rows):
    batch = batch_of(rows)
    lines = write_table(JsonLinesWriter, batch).splitlines()

    by_row = [orjson.dumps(row, option=ON_A_LINE) for row in batch.to_pylist()]
    assert list(map(orjson.loads, lines)) == list(map(orjson.loads, by_row))


@pytest.mark.parametrize(
    "text", ["1.0", "0.1", "-0.0", "12345678.125", "1e-7", "5e-324"]
)
def test_json_numbers_stay_floats(text):
    row = dict.fromkeys(COLUMNS) | {REALS: float(text)}

    assert f'"{REALS}":{text},'.encode() in write_table(
        JsonLinesWriter, batch_of([row])
    )


@given(ROWS, ROWS)
def test_avro_readers_get_every_value(first, second):
    batches = batch_of(first), batch_of(second)
    reader = fastavro.reader(io.BytesIO(write_table(AvroWriter, *batches)))

    columns = columns_of(reader.writer_schema)
    read = [{columns[key]: value for key, value in row.items()} for row in reader]
    expected = [row for batch in batches for row in batch.to_pylist()]
    assert plain(read) == plain(expected)
    assert reader.metadata["istore.model_id"] == "a"
