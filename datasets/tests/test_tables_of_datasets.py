"""Versions of datasets as tables: entries have no inference behind them."""

from __future__ import annotations

import io
import json

import pandas
import pyarrow.parquet
import pytest

from datasets import archiving, lifecycle
from datasets.models import Dataset, DatasetArchive
from exports.archive_writer import carry_out
from exports.formats.open_inference import names
from exports.tests.conftest import lines_of, opened, png
from inferences.store import removal

pytestmark = pytest.mark.django_db(transaction=True)
SHIP = {"label": "ship", "score": 0.75, "xmin": 1, "ymin": 2, "xmax": 30, "ymax": 40}
TUG = {"label": "tug", "score": 0.5, "xmin": 1, "ymin": 2, "xmax": 3, "ymax": 4}
FOLDER = "hard%20cases/no-version/no-environment"


@pytest.fixture
def archived(dataset):
    """``archived("open_inference_parquet")``: of the dataset, published now."""

    def archive(format_: str, **options):
        version = lifecycle.publish("test", Dataset.objects.get(pk=dataset.pk))
        task = lifecycle.archive(
            "test",
            version.dataset,
            version.number,
            format=format_,
            container="zip",
            options=options,
        )
        task = DatasetArchive.objects.get(pk=task.pk)
        carry_out(task)
        return task

    return archive


def rows_of(task) -> list[dict]:
    file = io.BytesIO(opened(task).read(f"{FOLDER}/data.parquet"))
    return pyarrow.parquet.read_table(file).to_pylist()


def test_entries_are_rows_after_their_inferences_are_gone(
    model, make_stored, add, archived
):
    make_stored(
        png(colour="red"),
        [SHIP, TUG],
        inference_id="a",
        data_source="quay, 3",
    )
    make_stored(png(colour="blue"), [], inference_id="b")
    add()
    removal.remove_one("test", model, "a")

    rows = rows_of(archived("open_inference_parquet"))

    names.check(rows[0])
    first = next(row for row in rows if row[":id.id:"] == "a")
    assert len(rows) == 2
    assert first[":prediction.str.label:prediction_label"] == "ship"
    assert first[":prediction.[float]:prediction_scores"] == [0.75, 0.5]
    assert json.loads(first[":tag.text:prediction_boxes"])[1] == TUG
    assert first[":tag.str:source"] == "quay, 3"
    assert first[":tag.str:action"] == "detect"


def test_findings_of_entries_are_rows_when_exploded(make_stored, add, archived):
    make_stored(png(colour="red"), [SHIP, TUG], inference_id="a")
    make_stored(png(colour="blue"), [], inference_id="b")
    add()

    task = archived("open_inference_parquet", shape="exploded")

    assert [row[":id.id:"] for row in rows_of(task)] == ["a:0", "a:1"]
    assert task.receipt["skipped_by_reason"] == {"nothing-found": 1}


def test_other_forms_of_the_table_have_the_same_entries(make_stored, add, archived):
    make_stored(png(), [SHIP], inference_id="a")
    add()

    table = opened(archived("open_inference_csv")).read(f"{FOLDER}/data.csv")

    assert list(pandas.read_csv(io.BytesIO(table))[":id.id:"]) == ["a"]


def test_splits_are_those_of_the_dataset(dataset, make_stored, add, archived):
    make_stored(png(), [SHIP], inference_id="a")
    add()
    splitting = {"kind": "share", "shares": {"train": 1.0}, "seed": 1}
    Dataset.objects.filter(pk=dataset.pk).update(splitting=splitting)

    task = archived("phoenix_jsonl")

    (line,) = lines_of(opened(task), f"{FOLDER}/data.jsonl")
    assert line["splits"] == ["train"]
    assert archiving.ERASED not in line["metadata"].values()
