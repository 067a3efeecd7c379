from __future__ import annotations

import gzip
import io
import json
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from inferences.ground_truth import pending_truths
from inferences.models import RegisteredModel, TaskType
from inferences.models.ground_truth import (
    GroundTruth,
    GroundTruthVersion,
    PendingTruth,
)
from inferences.store import removal
from inferences.store.recording import record
from inferences.tests.builders import body, new
from istore.db import clock
from istore.models import AuditEntry

TRUTHS = "/api/v1/models/yolo-harbour/ground-truth"


def of(inference_id: str) -> str:
    return f"/api/v1/models/yolo-harbour/inferences/{inference_id}/ground-truth"


def put(api, inference_id: str, **truth):
    return api.put(of(inference_id), truth, format="json")


def join(api, *lines: dict, form: str = "application/x-ndjson"):
    content = "\n".join(map(json.dumps, lines))
    return api.post(TRUTHS, content, content_type=form)


@pytest.fixture
def model(model):
    model.task_type = TaskType.IMAGE_CLASSIFICATION
    model.save()
    return model


def test_an_actual_is_given_shown_changed_and_taken_away(api, make_inference):
    make_inference(inference_id="a", detections=[("ship", 0.9), ("tug", 0.1)])

    first = put(api, "a", label="ship")
    second = put(api, "a", labels=["tug"], score=0.7)

    assert first.status_code == second.status_code == 200, first.content
    assert first.json()["agrees"] is True
    answer = api.get(of("a")).json()
    assert answer["ground_truth"] == {"labels": ["tug"], "score": 0.7}
    assert answer["agrees"] is False
    assert answer["actor"].startswith("token ")
    assert api.delete(of("a")).json() == {"inference_id": "a"}
    assert api.get(of("a")).status_code == api.delete(of("a")).status_code == 404


def test_history_says_what_was_when_and_by_whom(api, make_inference):
    make_inference(inference_id="a")
    for label in ("ship", "ship", "tug"):
        put(api, "a", label=label)
    api.delete(of("a"))
    put(api, "a", label="ferry")

    answer = api.get(of("a") + "/history").json()["results"]

    assert [each["ground_truth"]["labels"] for each in answer] == [
        ["ship"],
        ["tug"],
        ["ferry"],
    ]
    assert [each["is_removal"] for each in answer] == [False, True, False]
    assert answer[0]["until"] == answer[1]["set_at"]
    assert answer[2]["until"] is None
    assert answer[0]["replaced_by"] == answer[1]["actor"]


@pytest.mark.parametrize(
    ("truth", "pointer"),
    [
        ({}, ""),
        ({"label": "ship", "text": "a"}, ""),
        ({"boxes": []}, "/boxes"),
        ({"label": ""}, "/labels/0"),
        ({"label": {"name": "ship"}}, "/labels/0"),
        ({"labels": []}, "/labels"),
        ({"labels": "ship"}, "/labels"),
        ({"label": "ship", "score": True}, "/score"),
        ({"label": "ship", "colour": "red"}, "/colour"),
    ],
)
def test_an_actual_of_no_form_is_refused_by_name(api, make_inference, truth, pointer):
    make_inference(inference_id="a")

    response = put(api, "a", **truth)

    assert response.status_code == 400
    assert [each["pointer"] for each in response.json()["errors"]] == [pointer]
    assert not GroundTruth.objects.exists()


def test_an_actual_waits_for_its_inference_whichever_way_that_comes(
    api, model, tmp_path
):
    waiting = [
        put(api, name, label="ship") for name in ("event", "api", "batch", "row")
    ]
    assert {each.status_code for each in waiting} == {202}
    assert waiting[0].json()["state"] == "waiting"

    record(model, [new("event")])
    api.post("/api/v1/models/yolo-harbour/inferences", body("api"), format="json")
    batch = "/api/v1/models/yolo-harbour/inferences/batch"
    api.post(batch, json.dumps(body("batch")), content_type="application/x-ndjson")
    path = tmp_path / "old.ndjson"
    path.write_text(json.dumps(body("row")))
    call_command("import_inferences", "yolo-harbour", path)

    assert GroundTruth.objects.count() == 4
    assert not PendingTruth.objects.exists()
    assert api.get(of("row")).json()["state"] == "joined"


def test_recording_asks_once_a_batch_and_not_at_all_when_nothing_waits(api, model):
    batches = [[new(f"{turn}-{n}") for n in range(20)] for turn in range(4)]
    record(model, batches[0])

    def queries(batch):
        with CaptureQueriesContext(
            connection,
        ) as seen:
            record(model, batch)
        return len(seen)

    without = queries(batches[1])
    put(api, "late", label="ship")

    assert queries(batches[2]) == without + 1
    pending_truths.give_up(clock.now() + timedelta(days=91))
    assert queries(batches[3]) == without


def test_what_waits_in_vain_is_given_up(api, model):
    put(api, "never", label="ship")

    assert pending_truths.give_up(clock.now() + timedelta(days=89)) == 0
    assert pending_truths.give_up(clock.now() + timedelta(days=91)) == 1
    assert not RegisteredModel.objects.get(pk=model.pk).awaits_truth


def test_pending_actuals_are_listed_and_may_be_taken_back(api, model):
    put(api, "a", label="ship")
    put(api, "a", label="tug")
    join(api, {"metadata": {"key": "frame", "value": 7}, "label": "ship"})

    answer = api.get(TRUTHS + "/pending").json()
    assert answer["count"] == 2
    assert answer["results"][0]["ground_truth"] == {"labels": ["tug"]}

    gone = api.delete(TRUTHS + "/pending?awaited=metadata.frame%3D7")
    assert gone.json() == {"awaited": "metadata.frame=7"}
    assert api.delete(of("a")).status_code == 200
    assert api.get(TRUTHS + "/pending").json()["count"] == 0


def test_many_are_joined_by_id_hash_and_metadata(api, make_inference):
    make_inference({"frame": 7}, inference_id="a")
    make_inference({"frame": "7"}, inference_id="b")
    make_inference({"frame": 7.0}, inference_id="c")
    make_inference(inference_id="d", data_hash=b"\1" * 32)
    make_inference(inference_id="e", data_hash=b"\1" * 32)
    make_inference(inference_id="f")

    answer = join(
        api,
        {"metadata": {"key": "frame", "value": "7"}, "label": "by frame"},
        {"data_hash": "01" * 32, "label": "by hash"},
        {"inference_id": "f", "label": "by id"},
        {"inference_id": "e", "label": "by id"},
        {"inference_id": "nobody", "label": "waits"},
        {"label": "of nothing"},
    ).json()

    labels = {
        name: api.get(of(name)).json()["ground_truth"]["labels"][0] for name in "abcdef"
    }
    assert labels == {
        **dict.fromkeys("abc", "by frame"),
        "d": "by hash",
        **dict.fromkeys("ef", "by id"),
    }
    assert (answer["actuals"], answer["joined"], answer["changed"]) == (6, 6, 6)
    assert (answer["waiting"], answer["refused"]) == (1, 1)
    assert answer["refusals"][0]["place"] == "line 6"


def test_metadata_without_a_slot_is_joined_by_as_well(api, make_inference):
    keys = {f"key_{n}": f"value {n}" for n in range(12)} | {
        f"number_{n}": n for n in range(12)
    }
    make_inference(keys, inference_id="a")

    for key, value in (("key_11", "value 11"), ("number_11", "11")):
        answer = join(api, {"metadata": {"key": key, "value": value}, "label": key})
        assert answer.json()["changed"] == 1, key


def test_the_same_again_changes_nothing_and_the_last_of_several_counts(
    api, make_inference
):
    make_inference(inference_id="a")
    lines = [{"inference_id": "a", "label": label} for label in ("ship", "tug")]

    assert join(api, *lines).json()["changed"] == 1
    assert join(api, *lines).json()["changed"] == 0
    assert api.get(of("a")).json()["ground_truth"] == {"labels": ["tug"]}
    assert not GroundTruthVersion.objects.exists()


def test_actuals_wait_for_metadata_and_hashes_too(api, model, make_inference):
    join(
        api,
        {"metadata": {"key": "frame", "value": "12"}, "label": "by frame"},
        {"data_hash": "AB" * 32, "label": "by hash"},
    )

    make_inference({"frame": 12}, inference_id="a")
    make_inference(inference_id="b", data_hash=b"\xab" * 32)
    make_inference({"frame": 12}, inference_id="c")

    assert api.get(of("a")).json()["ground_truth"] == {"labels": ["by frame"]}
    assert api.get(of("b")).json()["ground_truth"] == {"labels": ["by hash"]}
    assert api.get(of("c")).status_code == 404  # it waited for one arrival


def test_removed_and_hidden_inferences_take_none(api, model, make_inference):
    make_inference(inference_id="gone")
    make_inference(inference_id="hidden")
    removal.remove_one("test", model, "gone")
    model.inferences.filter(inference_id="hidden").update(deleted=True)

    for name in ("gone", "hidden"):
        response = put(api, name, label="ship")
        assert response.status_code == 409
        assert response.json()["code"] == "inference-deleted"
    answer = join(
        api, *[{"inference_id": name, "label": "ship"} for name in ("gone", "hidden")]
    ).json()

    assert (answer["removed"], answer["changed"], answer["waiting"]) == (2, 0, 0)
    assert not GroundTruth.objects.exists()
    assert not PendingTruth.objects.exists()


def test_a_removal_takes_actual_and_history_with_it(api, model, make_inference):
    for name in "ab":
        make_inference(inference_id=name)
        put(api, name, label="ship")
        put(api, name, label="tug")

    removal.remove_one("test", model, "a")

    left = model.inferences.get()
    assert GroundTruth.objects.get().id == GroundTruthVersion.objects.get().row_id
    assert GroundTruth.objects.get().id == left.id


def test_another_model_s_row_of_the_same_id_is_not_meant(api, model, project):
    other = RegisteredModel.objects.create(model_id="other", project=project)
    record(model, [new("a")])
    record(other, [new("a")])
    other.inferences.update(id=model.inferences.get().id)

    put(api, "a", label="ship")

    assert GroundTruth.objects.get().registered_model == model
    path = "/api/v1/models/other/inferences/a/ground-truth"
    assert api.get(path).status_code == 404


def as_csv(rows: list[dict]) -> bytes:
    names = list(rows[0])
    lines = [",".join(names), *(",".join(str(r[n]) for n in names) for r in rows)]
    return "\n".join(lines).encode()


def as_parquet(rows: list[dict]) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), file)
    return file.getvalue()


@pytest.mark.parametrize(
    ("form", "written"),
    [("text/csv", as_csv), ("application/vnd.apache.parquet", as_parquet)],
)
def test_tables_are_joined_as_lines_are(api, make_inference, form, written):
    for n in range(3):
        make_inference({"frame": n}, inference_id=f"i{n}")
    rows = [
        {"metadata.frame": n, "label": f"label {n}", "score": 0.5} for n in range(4)
    ]

    answer = api.post(TRUTHS, written(rows), content_type=form).json()

    assert (answer["actuals"], answer["changed"], answer["waiting"]) == (4, 3, 1)
    expected = {"labels": ["label 2"], "score": 0.5}
    assert api.get(of("i2")).json()["ground_truth"] == expected


@pytest.mark.parametrize(
    ("content", "form", "code"),
    [
        (b"inference_id,colour\na,red", "text/csv", "unknown-field"),
        (b"label\nship", "text/csv", "validation-error"),
        (b"inference_id,label\na,\xff", "text/csv", "invalid-encoding"),
        (b"not parquet", "application/vnd.apache.parquet", "malformed-file"),
        (b"", "text/csv", "empty-upload"),
        (b"{}", "application/xml", "unsupported-media-type"),
        (gzip.compress(b"{}", mtime=0), "application/gzip", "unsupported-media-type"),
    ],
)
def test_a_file_that_cannot_be_read_changes_nothing(
    api, make_inference, content, form, code
):
    make_inference(inference_id="a")

    response = api.post(TRUTHS, content, content_type=form)

    assert 400 <= response.status_code < 500, response.content
    assert response.json()["code"] == code
    assert not GroundTruth.objects.exists()


def test_a_command_joins_files_and_names_what_it_refuses(
    make_inference, tmp_path, capsys
):
    make_inference(inference_id="a")
    path = tmp_path / "truth.csv"
    path.write_text("inference_id,label\na,ship\nb,tug\nc,\n")

    with pytest.raises(CommandError, match="1 actuals were refused"):
        call_command("import_ground_truth", "yolo-harbour", path)

    output = capsys.readouterr()
    assert "truth.csv, row 3" in output.err
    assert "3 actuals, 1 inferences joined (1 changed), 1 waiting" in output.out


def test_counts_and_audit_say_what_was_done(api, make_inference):
    make_inference(inference_id="a", detections=[("ship", 0.9)])
    make_inference(inference_id="b", detections=[("ship", 0.9)])
    join(
        api,
        {"inference_id": "a", "label": "ship"},
        {"inference_id": "b", "label": "tug"},
        {"inference_id": "c", "label": "tug"},
    )

    answer = api.get(TRUTHS).json()

    assert answer == {"given": 2, "agrees": 1, "differs": 1, "waiting": 1}
    entries = AuditEntry.objects.filter(action="ground_truth.join").order_by("pk")
    assert [each.details for each in entries] == [{"changed": 2}, {"waiting": 1}]
    put(api, "a", label="tug")
    assert AuditEntry.objects.filter(action="ground_truth.put").count() == 1


def test_a_moment_before_the_store_began_is_no_matter(api, make_inference):
    make_inference(inference_id="old", created_at=datetime(1950, 1, 1, tzinfo=UTC))

    assert join(api, {"inference_id": "old", "label": "a"}).json()["changed"] == 1


@pytest.mark.parametrize(
    ("state", "found"),
    [("given", "abc"), ("missing", "de"), ("agrees", "a"), ("differs", "b")],
)
def test_pages_are_found_by_what_is_known_of_the_truth(
    api, model, make_inference, state, found
):
    for name in "abde":
        make_inference(inference_id=name, detections=[("ship", 0.9)])
    make_inference(inference_id="c", detections=None)  # of which nothing is known
    for name, label in (("a", "ship"), ("b", "tug"), ("c", "ship")):
        put(api, name, label=label)

    path = "/api/v1/models/yolo-harbour/inferences/filter"
    for request in (
        {"query": f"truth:{state}"},
        {"filter": {"ground_truth": state}},
        {"query": f"truth:{state} action:detect"},
    ):
        answer = api.post(path, request, format="json").json()["results"]
        assert sorted(each["inference_id"] for each in answer) == list(found)
