"""Actuals as pandas, spreadsheets, Parquet writers and people bring them."""

from __future__ import annotations

import decimal
import gzip
import io
import json
import unicodedata
import uuid

import duckdb
import numpy as np
import pandas
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from django.core.management import CommandError, call_command
from hypothesis import given
from hypothesis import strategies as st

from inferences.columnar.arrow_values import Unreadable, values_of
from inferences.ground_truth.files import Options, unpacked
from inferences.ground_truth.labels import Labels, comparable
from inferences.models import TaskType
from inferences.models.ground_truth import GroundTruth
from istore import blobs

PATH = "/api/v1/models/yolo-harbour/ground-truth"
CSV, PARQUET, NDJSON = (
    "text/csv",
    "application/vnd.apache.parquet",
    "application/x-ndjson",
)


@pytest.fixture
def model(model):
    model.task_type = TaskType.IMAGE_CLASSIFICATION
    model.save()
    return model


@pytest.fixture
def answered(model, make_inference):
    """Inferences whose answers are these labels, by ids a, b, c …"""

    def make(*labels: str) -> None:
        for name, label in zip("abcdefgh", labels, strict=False):
            make_inference(inference_id=name, detections=[(label, 0.9)])

    return make


def post(api, content: bytes | str, kind: str = CSV, **query: str):
    asked = "&".join(f"{name}={value}" for name, value in query.items())
    body = content.encode() if isinstance(content, str) else content
    return api.generic("POST", f"{PATH}?{asked}", body, content_type=kind)


def joined(api, content: bytes | str, kind: str = CSV, **query: str) -> dict:
    response = post(api, content, kind, **query)
    assert response.status_code == 200, response.content
    return response.json()


def truths(model) -> dict[str, tuple]:
    """Of each inference the labels that came true, and whether its answer agrees."""
    rows = GroundTruth.objects.beside(model).order_by("id")
    names = dict(model.inferences.values_list("id", "inference_id"))
    return {names[r.id]: (r.truth.get("labels"), r.agrees) for r in rows}


def parquet(**columns) -> bytes:
    made = io.BytesIO()
    pq.write_table(pa.table(columns), made)
    return made.getvalue()


# -- numbers and labels


def test_a_column_of_pandas_with_a_gap_meets_labels_that_are_numbers(
    api, model, answered
):
    answered("1", "0", "1")
    frame = pandas.DataFrame({"inference_id": list("abc"), "label": [1, 0, None]})

    as_text = joined(api, frame.to_csv(index=False))
    made = io.BytesIO()
    frame.to_parquet(made)
    as_parquet = joined(api, made.getvalue(), PARQUET)
    as_lines = joined(api, frame.to_json(orient="records", lines=True), NDJSON)
    as_list = joined(api, frame.to_json(orient="records"), NDJSON)

    assert truths(model) == {"a": (["1"], True), "b": (["0"], True)}
    for told in (as_text, as_parquet, as_lines, as_list):
        assert (told["joined"], told["refused"]) == (2, 1)
        assert "no actual" in told["refusals"][0]["why"]
    assert as_parquet["changed"] == as_lines["changed"] == as_list["changed"] == 0


def test_labels_that_the_model_answers_decide_how_a_number_is_written(
    api, model, answered
):
    answered("1.0", "2")

    joined(api, "inference_id,label\na,1\nb,2.0\n")

    assert truths(model) == {"a": (["1.0"], True), "b": (["2"], True)}


def test_class_numbers_are_the_classes_of_a_model_that_names_them(api, model, answered):
    model.class_labels = ["cat", "dog"]
    model.save()
    answered("cat", "dog", "dog")

    told = joined(api, "inference_id,label\na,0\nb,1.0\nc,1\nd,7\n")

    assert told["refused"] == 0
    assert truths(model) == {
        "a": (["cat"], True),
        "b": (["dog"], True),
        "c": (["dog"], True),
    }


def test_class_numbers_count_from_the_first_one_of_the_model(api, model, answered):
    model.class_labels, model.first_class_number = ["cat", "dog"], 1
    model.save()
    answered("cat", "dog")

    joined(api, "inference_id,label\na,1\nb,2.0\n")

    assert truths(model) == {"a": (["cat"], True), "b": (["dog"], True)}


def test_lists_of_classes_that_are_numbers_are_met_by_name_before_number(
    api, model, answered
):
    model.class_labels = ["1", "2", "3"]
    model.save()
    answered("1")

    joined(api, "inference_id,label\na,1.0\n")

    assert truths(model) == {"a": (["1"], True)}


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1, 0], pa.int8()),
        pa.array([1, 0], pa.uint64()),
        pa.array([1.0, 0.0], pa.float16()),
        pa.array([1.0, 0.0], pa.float64()),
        pa.array([decimal.Decimal("1.00"), decimal.Decimal("0.00")]),
        pa.array(["1", "0"]).dictionary_encode(),
        pa.array([b"1", b"0"]),
    ],
    ids=lambda column: str(column.type)[:20],
)
def test_labels_of_every_type_of_number_are_read(api, model, answered, column):
    answered("1", "0")

    told = joined(api, parquet(inference_id=["a", "b"], label=column), PARQUET)

    assert told["refused"] == 0, told["refusals"]
    assert truths(model) == {"a": (["1"], True), "b": (["0"], True)}


@pytest.mark.parametrize("way", ["True", "true", "1"])
def test_booleans_are_the_labels_that_the_model_writes_for_them(
    api, model, answered, way
):
    answered(way, way, way)
    column = pa.array([True], pa.bool_())

    joined(api, parquet(inference_id=["a"], label=column), PARQUET)
    joined(api, json.dumps({"inference_id": "b", "label": True}), NDJSON)
    joined(api, "inference_id,label\nc,True\n")

    assert truths(model) == dict.fromkeys("abc", ([way], True))


def test_words_for_a_gap_are_none_unless_they_are_labels(api, model, answered):
    answered("NA", "None", "ship")
    lines = "inference_id,label\na,NA\nb,NaN\nc,<NA>\n"

    told = joined(api, lines)
    said = joined(api, "inference_id,label\nc,NaN\n", missing="")

    assert (told["joined"], told["refused"]) == (1, 2)
    assert said["joined"] == 1
    assert truths(model) == {"a": (["NA"], True), "c": (["NaN"], False)}


def test_nan_of_python_s_own_json_is_a_gap(api, model, answered):
    answered("ship")

    told = joined(api, '{"inference_id": "a", "label": "ship", "score": NaN}', NDJSON)

    assert told["joined"] == 1
    assert post(api, '{"inference_id": "a", "label": Infinity}', NDJSON).json()[
        "refused"
    ]


def test_composed_and_decomposed_labels_are_one(api, model, answered):
    composed, decomposed = (unicodedata.normalize(f, "café") for f in ("NFC", "NFD"))
    answered(decomposed, composed)

    joined(api, f"inference_id,label\na,{composed}\nb,{decomposed}\n")

    assert truths(model) == {"a": ([decomposed], True), "b": ([decomposed], True)}


@given(st.integers(-(10**17), 10**17))
def test_a_whole_number_is_one_label_however_it_is_written(number):
    labels = Labels()
    ways = [number, float(number), str(number), f"{number}.0"]
    exact = abs(number) <= 2**53
    read = {labels.read(w, is_typed=False) for w in ways if exact or w is not ways[1]}
    assert read == {str(number)}
    assert comparable(f"{number}.0") == comparable(str(number)) == str(number)


@given(st.text())
def test_a_text_that_is_no_number_stays_as_it_is(text):
    assert Labels().read(text) == text
    assert comparable(comparable(text)) == comparable(text)


def test_frames_with_a_gap_meet_whole_numbers(api, model, make_inference):
    make_inference({"frame": 7}, inference_id="a")

    assert joined(api, "metadata.frame,label\n7.0,ship\n")["joined"] == 1
    column = pa.array([7.0, None])
    content = parquet(**{"metadata.frame": column, "label": ["tug", "tug"]})
    told = joined(api, content, PARQUET)

    assert (told["changed"], told["refused"]) == (1, 1)


# -- spreadsheets


@pytest.mark.parametrize(
    "content",
    [
        b"inference_id;label;score\r\na;ship;0,5\r\n",
        b"sep=;\r\ninference_id;label;score\r\na;ship;0,5\r\n",
        b"inference_id\tlabel\tscore\na\tship\t0.5\n",
        b"inference_id|label|score\na|ship|0.5\n",
        b"inference_id, label, score\n a, ship , 0.5\n",
        b"Inference ID,Label,SCORE\na,ship,0.5\n",
        b"\xef\xbb\xbfinference_id,label,score\ra,ship,0.5\r",
        "inference_id\tlabel\tscore\r\na\tship\t0,5\r\n".encode("utf-16"),
        "inference_id\tlabel\tscore\r\na\tship\t0,5\r\n".encode("utf-16-le"),
        "\ufeffinference_id;label;score\na;ship;0,5\n".encode("utf-16-be"),
        b",inference_id,label,score\n0,a,ship,0.5\n",
        b"Unnamed: 0,inference_id,label,score\n0,a,ship,0.5\n",
        b"\n\ninference_id,label,score,,\na,ship,0.5,,\n,,,,\n",
        gzip.compress(b"inference_id,label,score\na,ship,0.5\n", mtime=0),
    ],
)
def test_tables_of_spreadsheets_are_read(api, model, answered, content):
    answered("ship")

    told = joined(api, content)

    assert (told["actuals"], told["joined"], told["refused"]) == (1, 1, 0)
    found = GroundTruth.objects.beside(model).get()
    assert found.truth == {"labels": ["ship"], "score": 0.5}


def test_columns_that_are_not_known_are_listed_together_and_skipped_on_request(
    api, model, answered
):
    answered("ship")
    content = 'inference_id,label,comment,Reviewed By\na,ship,"yes, so",me\n'

    refused = post(api, content)
    told = joined(api, content, ignore_unknown="true")

    assert refused.status_code == 400
    assert refused.json()["code"] == "unknown-field"
    assert "comment, Reviewed By" in refused.json()["detail"]
    assert "ignore_unknown=true" in refused.json()["detail"]
    assert told["joined"] == 1
    line = json.dumps({"inference_id": "a", "label": "tug", "comment": 1})
    assert joined(api, line, NDJSON)["refused"] == 1
    assert joined(api, line, NDJSON, ignore_unknown="true")["changed"] == 1
    table = parquet(inference_id=["a"], label=["ship"], comment=[1])
    assert post(api, table, PARQUET).status_code == 400
    assert joined(api, table, PARQUET, ignore_unknown="true")["changed"] == 1


@pytest.mark.parametrize(
    ("name", "value"), [("delimiter", "x"), ("ignore_unknown", "perhaps")]
)
def test_options_that_are_none_are_named(api, model, name, value):
    response = post(api, "inference_id,label\na,b\n", **{name: value})

    assert response.status_code == 400
    assert response.json()["errors"][0]["pointer"] == f"/{name}"


def test_options_go_with_a_large_file_to_its_worker(api, model, answered, settings):
    from inferences.ground_truth import file_tasks
    from inferences.models.ground_truth import TruthFile

    settings.ISTORE_TRUTHS_AT_ONCE = 1
    answered("ship")
    content = "inference_id;label;comment\na;ship;x\nb;ship;y\n"

    taken = post(api, content, ignore_unknown="true")
    assert taken.status_code == 202
    file_tasks.carry_out(TruthFile.objects.get())

    task = TruthFile.objects.get()
    assert (task.state, task.counts["joined"]) == ("complete", 1)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.tsv", b"inference_id\tlabel\na\tship\n"),
        ("t.csv.gz", gzip.compress(b"inference_id,label\na,ship\n", mtime=0)),
        ("t.json", b'[\n {"inference_id": "a",\n  "label": "ship"}\n]'),
        ("t.jsonl", b'{"inference_id": "a", "label": "ship"}\n'),
        (
            "t.jsonl.gz",
            gzip.compress(b'{"inference_id": "a", "label": "ship"}\n', mtime=0),
        ),
        ("t.parquet", parquet(inference_id=["a"], label=["ship"])),
    ],
)
def test_the_command_knows_files_by_their_names(
    model, answered, tmp_path, name, content
):
    answered("ship")
    path = tmp_path / name
    path.write_bytes(content)

    call_command("import_ground_truth", "yolo-harbour", path)

    assert truths(model) == {"a": (["ship"], True)}


def test_the_command_skips_columns_when_it_is_told_to(model, answered, tmp_path):
    answered("ship")
    path = tmp_path / "t.csv"
    path.write_text("inference_id,label,note\na,ship,x\n")

    with pytest.raises(CommandError, match="note"):
        call_command("import_ground_truth", "yolo-harbour", path)
    call_command("import_ground_truth", "yolo-harbour", path, ignore_unknown=True)

    assert truths(model) == {"a": (["ship"], True)}


def test_a_packed_file_that_is_cut_is_refused(api, model):
    content = gzip.compress(b"inference_id,label\na,ship\n" * 100)[:-12]

    assert post(api, content).json()["code"] == "malformed-file"


def test_options_survive_their_json():
    options = Options(delimiter=";", missing=("x",), ignore_unknown=True)
    assert Options.from_json(json.loads(json.dumps(options.to_json()))) == options
    assert Options.from_json({}) == Options()
    with unpacked(io.BytesIO(b"a")) as file:
        assert file.read() == b"a"


# -- every type of Arrow

NANOSECONDS = 1777629600123456789
UUID = uuid.UUID(int=7)
READ = [
    (pa.array([NANOSECONDS], pa.timestamp("ns", "UTC")), "2026-05-01T10:00:00.123456789Z"),
    (pa.array([NANOSECONDS], pa.timestamp("ns")), "2026-05-01T10:00:00.123456789"),
    (pa.array([1000], pa.timestamp("ms", "Europe/Berlin")), "1970-01-01T00:00:01Z"),
    (pa.array([NANOSECONDS], pa.duration("ns")), NANOSECONDS / 1e9),
    (pa.array([3], pa.duration("s")), 3),
    (pa.array([3661000000001], pa.time64("ns")), "01:01:01.000000001"),
    (pa.array([1500], pa.time32("ms")), "00:00:01.500"),
    (pa.array([1], pa.date32()), "1970-01-02"),
    (pa.array([86400000], pa.date64()), "1970-01-02"),
    (pa.array([decimal.Decimal("1.50")], pa.decimal128(9, 2)), 1.5),
    (pa.array([decimal.Decimal("7.00")], pa.decimal256(50, 2)), 7),
    (pa.array([UUID.bytes], pa.uuid()), str(UUID)),
    (pa.array([2**64 - 1], pa.uint64()), 2**64 - 1),
    (pa.array(np.array([0.5], "f2")), 0.5),
    (pa.array([float("nan")]), None),
    (pa.array([None], pa.null()), None),
    (pa.array(["a"]).dictionary_encode(), "a"),
    (pa.array([b"\xff"], pa.binary(1)), b"\xff"),
    (pa.array(["a"], pa.string_view()), "a"),
    (pa.array([[1, None]], pa.list_(pa.int8(), 2)), [1, None]),
    (pa.array([{"a": 1, "b": None}]), {"a": 1, "b": None}),
    (pa.array([[("k", NANOSECONDS)]], pa.map_(pa.string(), pa.duration("ns"))), {"k": NANOSECONDS / 1e9}),
    (pa.RunEndEncodedArray.from_arrays([1], ["a"]), "a"),
]  # fmt: skip
BROKEN = pa.Array.from_buffers(
    pa.string(), 2, [None, pa.py_buffer(np.array([0, 1, 2], "i4").tobytes()), pa.py_buffer(b"\xffa")]
)  # fmt: skip


@pytest.mark.parametrize(
    ("array", "value"), READ, ids=[str(array.type)[:40] for array, _ in READ]
)
def test_a_cell_of_every_type_is_a_value(array, value):
    assert values_of(array) == [value]
    assert values_of(pa.concat_arrays([array, array]).slice(1)) == [value]


@pytest.mark.parametrize(
    "type_",
    [array.type for array, _ in READ if not pa.types.is_run_end_encoded(array.type)],
    ids=lambda type_: str(type_)[:40],
)
def test_a_null_of_every_type_is_none(type_):
    assert values_of(pa.nulls(2, type_)) == [None, None]


@pytest.mark.parametrize(
    "array",
    [
        pa.array([2**62], pa.timestamp("s")),
        pa.array([-(2**62)], pa.timestamp("s", "UTC")),
        pa.array([2**31 - 1], pa.date32()),
        BROKEN.slice(0, 1),
        pa.StructArray.from_arrays([BROKEN.slice(0, 1)], ["a"]),
        pa.ListArray.from_arrays([0, 1], BROKEN.slice(0, 1)),
        pa.array([pa.MonthDayNano([1, 2, 3])]),
    ],
    ids=lambda array: str(array.type)[:40],
)
def test_a_cell_that_python_cannot_hold_says_why(array):
    (found,) = values_of(array)
    assert isinstance(found, Unreadable)
    assert found.why


def test_one_cell_that_cannot_be_read_leaves_its_neighbours(api, model, answered):
    assert values_of(BROKEN)[1] == "a"
    answered("ship", "ship")
    content = parquet(
        inference_id=["a", "b"], label=pa.concat_arrays([BROKEN.slice(0, 1), pa.array(["ship"])])
    )  # fmt: skip

    told = joined(api, content, PARQUET)

    assert (told["joined"], told["refused"]) == (1, 1)
    assert told["refusals"][0] == {
        "place": "row 1",
        "why": "label: The text is not UTF-8.",
    }


@pytest.mark.parametrize("array", [array for array, _ in READ if not pa.types.is_run_end_encoded(array.type)], ids=lambda array: str(array.type)[:40])  # fmt: skip
@pytest.mark.parametrize("column", ["metadata.at", "label", "score", "boxes", "inference_id"])  # fmt: skip
def test_a_column_of_any_type_is_an_actual_or_a_refusal(api, model, array, column):
    columns = {"label": ["ship"], column: array}
    if column in ("label", "score", "boxes"):
        columns["inference_id"] = ["a"]
    response = post(api, parquet(**columns), PARQUET)

    assert response.status_code == 200, response.content
    told = response.json()
    assert told["actuals"] == told["waiting"] + told["refused"] == 1


def test_moments_join_by_their_text(api, model, make_inference):
    make_inference({"at": "2026-05-01T10:00:00.123456789Z"}, inference_id="a")
    moments = pa.array([NANOSECONDS], pa.timestamp("ns", "UTC"))

    told = joined(api, parquet(**{"metadata.at": moments, "label": ["ship"]}), PARQUET)

    assert told["joined"] == 1


def test_files_of_polars_and_duckdb_are_read(api, model, answered, tmp_path):
    answered("1", "0", "1")
    frame = polars.DataFrame({"inference_id": list("abc"), "label": [1, 0, None]})
    made = io.BytesIO()
    frame.write_parquet(made)
    path = tmp_path / "duck.parquet"
    duckdb.sql(
        "COPY (SELECT 'a' AS inference_id, 1::DECIMAL(4, 2) AS label, 0.5 AS score "
        f"UNION ALL SELECT 'b', 0, NULL) TO '{path}'"
    )

    told = joined(api, made.getvalue(), PARQUET)
    again = joined(api, frame.write_csv(), CSV)
    duck = joined(api, path.read_bytes(), PARQUET)

    assert (told["joined"], told["changed"], told["refused"]) == (2, 2, 1)
    assert (again["joined"], again["changed"], again["refused"]) == (2, 0, 1)
    assert (duck["joined"], duck["changed"], duck["refused"]) == (2, 1, 0)
    assert truths(model) == {"a": (["1"], True), "b": (["0"], True)}


# -- answers that are too large for their row


@pytest.fixture
def speaks(model):
    model.task_type = TaskType.TEXT_GENERATION
    model.save()
    return model


def test_an_answer_in_a_blob_is_held_against_the_actual(api, speaks, make_inference):
    text = "word " * 80_000
    blobs.put("answers/a", json.dumps({"text": text}).encode())
    notes = {"answer": {"size": len(text) + 12}}
    make_inference(inference_id="a", answer_storage_key="answers/a", notes=notes)
    make_inference(inference_id="b", answer_storage_key="answers/a")

    lines = [json.dumps({"inference_id": name, "text": text}) for name in "ab"]
    joined(api, "\n".join(lines), NDJSON)

    rows = GroundTruth.objects.beside(speaks).order_by("id")
    assert [row.agrees for row in rows] == [True, True]
    assert "reason" not in api.get(TRUTH.format("a")).json()


TRUTH = "/api/v1/models/yolo-harbour/inferences/{}/ground-truth"


@pytest.mark.parametrize(
    ("notes", "why"),
    [
        ({"answer": {"size": 2**30}}, "more than"),
        ({"answer": {"size": 20, "header_length": 7}}, "binary"),
        ({}, "gone"),
    ],
)
def test_an_answer_that_is_not_read_says_why(api, speaks, make_inference, notes, why):
    make_inference(inference_id="a", answer_storage_key="answers/none", notes=notes)

    told = api.put(TRUTH.format("a"), {"text": "word"}, format="json").json()

    assert told["agrees"] is None
    assert why in told["reason"]
