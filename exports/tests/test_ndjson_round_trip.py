"""NDJSON with every field: exported, imported into an empty model, and the same again."""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exports.archive_writer import carry_out
from exports.models import ExportTask
from exports.tests.conftest import opened, png
from inferences.ground_truth.writes import Given, write
from inferences.models import (
    Embedding,
    InferenceAction,
    InferenceKey,
    InferencePayload,
    LabelName,
    RecentEmbedding,
    RegisteredModel,
    TaskType,
)
from inferences.models.ground_truth import GroundTruth
from inferences.models.metadata_values import RESERVED, MetadataValue
from inferences.store import removal
from inferences.store.reading import fetch
from inferences.store.recording import NewInference, record
from istore import blobs


@pytest.fixture
def another(project):
    """A model like ``model``, of which nothing is stored; both have embeddings of 3."""
    return RegisteredModel.objects.create(
        model_id="another",
        project=project,
        task_type=TaskType.OBJECT_DETECTION,
        embedding_size=3,
    )


def exported_lines(model: RegisteredModel, directory: Path) -> Path:
    task = ExportTask.objects.create(
        model=model, format="ndjson", selection={}, created_by="test"
    )
    carry_out(task)
    opened(task).extractall(directory)
    return directory / "inferences.ndjson"


def imported(model: RegisteredModel, path: Path) -> str:
    told = io.StringIO()
    call_command("import_inferences", model.model_id, str(path), stdout=told)
    return told.getvalue().strip()


def everything(model: RegisteredModel) -> list[dict]:
    """All that is kept of a model's inferences, but for numbers and names of our own."""
    ids = list(model.inferences.order_by("id").values_list("id", flat=True))
    labels = dict(LabelName.objects.values_list("id", "name"))
    vectors = {
        row.id: list(map(float, row.vector))
        for table in (Embedding, RecentEmbedding)
        for row in table.objects.beside(model)
    }
    found = []
    for row in fetch(model, ids):
        payload = row.payload
        found.append(
            {
                "inference_id": row.inference_id,
                "created_at": row.created_at,
                "updated_at": row.updated_at,
                "action": row.inference_action,
                "hash": bytes(row.data_hash),
                "size": row.data_size,
                "place": (row.latitude, row.longitude),
                "source": row.source and row.source.name,
                "protected": row.is_protected,
                "labels": row.labels and [labels[number] for number in row.labels],
                "scores": row.scores,
                "tops": (row.top_score, row.low_score),
                "vector": vectors.get(row.id),
                "metadata": payload.metadata,
                "data": payload.data,
                "content_type": payload.data_content_type,
                "content_hash": bytes(payload.content_hash),
                "notes": payload.notes,
                "input": blob_at(payload.data_storage_key),
                "answer": blob_at(payload.answer_storage_key),
            }
        )
    return sorted(found, key=lambda each: each["inference_id"])


def blob_at(key: str) -> bytes | None:
    return blobs.get(key) if key else None


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
ids = st.text(
    st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40
).filter(lambda text: text not in (".", "..") and text.isprintable())
numbers = st.floats(allow_nan=False, allow_infinity=False)
values = st.one_of(
    texts.map(lambda text: ("string", text)),
    st.integers(-(2**63), 2**63 - 1).map(lambda number: ("int", str(number))),
    numbers.map(lambda number: ("float", repr(number))),
    st.dictionaries(texts, st.one_of(texts, numbers, st.booleans())).map(
        lambda value: ("json", json.dumps(value))
    ),
)
reals = st.floats(-1, 1, width=32)
moments = st.datetimes(datetime(1950, 1, 1), datetime(2026, 1, 1)).map(
    lambda moment: moment.replace(tzinfo=UTC)
)


@st.composite
def inferences(draw):
    located = draw(st.booleans())
    # A key such as ``longitude`` is the column of that name when it is imported.
    keys = texts.filter(lambda key: key and key not in RESERVED)
    metadata = draw(st.dictionaries(keys, values, max_size=4))
    content = draw(st.none() | st.binary(max_size=60))
    answer = draw(st.none() | st.binary(max_size=60))
    named = st.tuples(texts.filter(bool), st.none() | reals)
    return {
        "content": content,
        "answer": answer,
        "fields": {
            "inference_id": draw(ids),
            "inference_action": draw(st.sampled_from(list(InferenceAction))),
            "data_hash": hashlib.sha256(content or b"").digest(),
            "data_size": len(content or b""),
            "created_at": draw(moments),
            "metadata": [
                MetadataValue(key, kind, text) for key, (kind, text) in metadata.items()
            ],
            "latitude": draw(st.floats(-90, 90)) if located else None,
            "longitude": draw(st.floats(-180, 180)) if located else None,
            "data_source": draw(st.none() | texts.filter(bool)),
            "detections": draw(st.none() | st.lists(named, max_size=4)),
            "embedding": draw(st.none() | st.lists(reals, min_size=3, max_size=3)),
            "is_protected": draw(st.booleans()),
            "data": draw(texts),
            "data_content_type": "image/png" if content is not None else "",
            "content": draw(texts),
            "notes": draw(st.dictionaries(texts, st.integers() | texts, max_size=3)),
        },
    }


@given(
    st.lists(inferences(), max_size=4, unique_by=lambda i: i["fields"]["inference_id"])
)
@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_what_is_imported_is_what_was_exported(model, another, drawn):
    for each in (model, another):
        empty(each)
    RegisteredModel.objects.filter(pk=model.pk).update(embedding_size=3)
    model.refresh_from_db()
    new = []
    for number, each in enumerate(drawn):
        keys = {}
        for name, kind in (("content", "data"), ("answer", "answer")):
            if each[name] is not None:
                key = f"1/1/2025/06/01/00/{number}/{name}"
                blobs.put(key, each[name])
                keys[f"{kind}_storage_key"] = key
        new.append(NewInference(**each["fields"], **keys))
    if new:
        record(model, new)
    with tempfile.TemporaryDirectory() as directory:
        path = exported_lines(model, Path(directory))

        imported(another, path)
        first = everything(another)
        imported(another, path)  # a repeat stores nothing

    assert first == everything(model)
    assert everything(another) == first


def empty(model: RegisteredModel) -> None:
    for _ in removal.intend_all("test", model, lambda: model.inferences.live()):
        pass
    removal.RECORDS.finish(model)
    InferenceKey.objects.filter(registered_model=model).delete()


@pytest.fixture
def path(model, another, make_stored, tmp_path):
    make_stored(png(), [], inference_id="a/1")
    model.inferences.update(updated_at=datetime(2025, 7, 1, tzinfo=UTC))
    return exported_lines(model, tmp_path / "unpacked")


def test_the_same_file_into_the_same_model_stores_nothing(model, path, blob_directory):
    before = everything(model)
    files = sorted(p for p in blob_directory.rglob("*") if p.is_file())

    assert imported(model, path) == "1 there before"

    assert everything(model) == before
    assert sorted(p for p in blob_directory.rglob("*") if p.is_file()) == files


def test_when_it_was_changed_last_is_kept(another, path):
    assert imported(another, path) == "1 stored"

    assert everything(another)[0]["updated_at"] == datetime(2025, 7, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"record": 2}, "record"),
        ({"extra": 1}, "extra"),
        ({"data_hash": "00" * 32}, "input.path: The file is not what data_hash says"),
        ({"input": {"path": "../../secret"}}, "input.path: There is no such file"),
        ({"input": {"path": "/etc/passwd"}}, "input.path: There is no such file"),
        ({"input": {"path": "data"}}, "input.path: There is no such file"),
        ({"embedding": [1.0]}, "embedding"),
        (
            {"ground_truth": {"truth": {"x": 1}, "set_by": "", "set_at": "2025-01-01"}},
            "ground_truth.truth",
        ),
        ({"created_at": "2090-01-01T00:00:00Z"}, "created_at: More than 300 s"),
        ({"created_at": "1900-01-01T00:00:00Z"}, "created_at: Not before 1949"),
        ({"metadata": [{"key": "k", "type": "int", "value": "x"}]}, "metadata.0"),
    ],
)
def test_a_record_that_is_not_right_is_refused_with_its_place(
    another, path, change, told, capsys
):
    line = json.loads(path.read_text())
    path.write_text(json.dumps(line | change))

    with pytest.raises(CommandError, match="1 inferences were refused"):
        call_command("import_inferences", "another", str(path))

    assert told in capsys.readouterr().err
    assert everything(another) == []


def test_the_ground_truth_comes_along(model, another, make_stored, tmp_path):
    row = make_stored(png(), [], inference_id="a")
    at = datetime(2025, 6, 2, 3, 4, 5, 6, tzinfo=UTC)
    boxes = {"boxes": [{"label": "ship", "xmin": 1, "ymin": 2, "xmax": 3, "ymax": 4}]}
    write(model, {row.id: Given(boxes, "user maria", at)})

    imported(another, exported_lines(model, tmp_path))

    (truth,) = GroundTruth.objects.beside(another)
    assert (truth.truth, truth.actor, truth.set_at) == (boxes, "user maria", at)
    assert truth.agrees is False


def test_numbers_beyond_64_bits_in_notes_are_kept(
    model, another, make_inference, tmp_path
):
    make_inference(inference_id="a", notes={"n": 2**80})
    assert InferencePayload.objects.get().notes == {"n": 2**80}

    imported(another, exported_lines(model, tmp_path))

    assert everything(another)[0]["notes"] == {"n": 2**80}
