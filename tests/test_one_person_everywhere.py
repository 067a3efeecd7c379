"""One person is erased wherever the store has put her: rows, blobs, archives, trees, the lake, datasets."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import fastavro
import pyarrow.parquet
import pytest
from django.utils.http import urlencode

from datasets import adding
from datasets import lifecycle as datasets
from exports import archive_writer
from exports.models import ExportTask
from exports.schedules import lifecycle
from exports.selections import Selection
from exports.tests.conftest import lake, lake_schedule, run_lake  # noqa: F401
from inferences.erasure.running import erase
from inferences.models.metadata_values import MetadataValue
from inferences.store.metadata_edits import put_value
from inferences.tests.erasure_builders import PERSON, open_task, stored, tables_with
from istore import blobs
from istore.models import Role
from traces.tests.builders import OPENINFERENCE, request_of

pytestmark = pytest.mark.django_db(transaction=True)
LIST = "/api/v1/models/yolo-harbour/inferences"
# Each of these erases another key: what carries none of them is not hers.
HERS = (
    ("person", "string"),
    ("story.of.name", "json.string"),
    ("conversation_id", "string"),
    ("user_id", "string"),
)
# Tables and folders of the blob store in which she is before.
PLACES = {
    "inferences_inference",
    "inferences_metadatachange",
    "datasets_addingtask",
    "datasets_datasetentry",
    "exports_exportschedule",
    "exports_exporttask",
    "traces_span",
    "1",
    "datasets",
    "exports",
    "lake",
    "scheduled",
}
ABOUT_HER = {"query": f'meta.person="{PERSON}"'}


def objects_with(text: str) -> list[str]:
    return [each.key for each in blobs.walk() if text.encode() in unpacked(each.key)]


def unpacked(key: str) -> bytes:
    """The content of an object, with what lies packed in it."""
    content = blobs.get(key)
    if key.endswith(".parquet"):
        table = pyarrow.parquet.read_table(io.BytesIO(content))
        return content + repr(table.to_pylist()).encode()
    if key.endswith(".avro"):
        return content + repr(list(fastavro.reader(io.BytesIO(content)))).encode()
    if zipfile.is_zipfile(io.BytesIO(content)):
        archive = zipfile.ZipFile(io.BytesIO(content))
        return content + b"".join(archive.read(name) for name in archive.namelist())
    return content


@pytest.fixture
def everywhere(project, model, make_inference, api_as, lake_schedule, run_lake):  # noqa: F811
    """Records of hers and of his, and all that the store makes of records."""
    api = api_as(Role.ADMINISTRATOR)
    stored(make_inference, "hers")
    stored(make_inference, "went")
    stored(make_inference, "his", person="Arthur Dent")
    make_inference({"person": PERSON}, inference_id="was hers")
    send_span(api)
    for asked in ({}, ABOUT_HER):
        name = "hers" if asked else "all"
        export_archive(model, asked)
        add_to_dataset(project, model, name, asked)
        place = {"name": name, "prefix": name}
        tree = lifecycle.create(
            "test", model, from_beginning=True, selection=asked, **place
        )
        table = lake_schedule(model, f"lake-{name}", selection=asked)
        for schedule in (tree, table):
            run = run_lake(schedule)
            assert run.state == "complete", run.reason
    view = urlencode({"query": ABOUT_HER["query"]})
    model.saved_views.create(name="view", query=view, created_by="test")
    other = MetadataValue("person", "string", "Arthur Dent")
    put_value("test", model, "was hers", other, replace=True)
    api.delete(f"{LIST}/went")


def send_span(api: Any) -> None:
    hers = {"session.id": PERSON, "user.id": PERSON}
    spans = request_of({"attributes": OPENINFERENCE | hers}).SerializeToString()
    sent = api.post("/v1/traces", spans, content_type="application/x-protobuf")
    assert sent.status_code == 200, sent.content


def export_archive(model, asked) -> None:
    task = ExportTask.objects.create(
        model=model,
        created_by="test",
        format="ndjson",
        container="zip",
        options={},
        selection=asked,
    )
    archive_writer.carry_out(task)
    assert task.state == "complete", task.reason


def add_to_dataset(project, model, name, asked) -> None:
    dataset = datasets.create("test", project, name)
    task = datasets.add("test", dataset, model, Selection.from_json(asked), asked)
    adding.carry_out(task)


def test_no_trace_of_her_is_left_and_all_of_him(project, model, everywhere):
    hers_at_first = {*tables_with(PERSON), *objects_with(PERSON)}
    assert {key.partition("/")[0] for key in hers_at_first} >= PLACES

    for key, type_ in HERS:
        task = open_task(project, key=key, type=type_)
        erase(task)
        assert task.state == "complete", task.reason
        assert not any(task.report["left"].values())

    assert (tables_with(PERSON), objects_with(PERSON)) == ([], [])
    assert not model.saved_views.exists()  # its query was quoted, as in an address
    names = model.inferences.values_list("inference_id", flat=True)
    assert sorted(names) == ["his", "was hers"]
    left = objects_with("Arthur Dent")
    assert {key.partition("/")[0] for key in left} >= {"scheduled", "lake"}
