"""One of everything that the store does, so that a test can look at the statements that it sends."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from django.urls import reverse

from exports.archive_writer import carry_out
from exports.models import ExportTask
from exports.schedules import lifecycle, runner
from inferences.erasure.running import erase
from inferences.ground_truth import pending_truths
from inferences.maintenance import (
    backed_up_blobs,
    compaction,
    disk_space,
    storage_by_model,
)
from inferences.models import RegisteredModel
from inferences.search.vectors import moving
from inferences.search.zone_maps import build
from inferences.store import (
    metadata_edits,
    reservations,
    segment_touches,
    soft_deletion,
)
from inferences.store.recording import record, record_alone
from inferences.store.removal import remove_one
from inferences.store.reservations import Wish
from inferences.tests.builders import body, new, typed
from inferences.tests.erasure_builders import open_task, stored
from istore import blobs
from istore.backup import database, hooks
from istore.checks.verification import Scope, report
from istore.db import clock
from retention.tests.builders import carried_out, hours_ago, policy_of
from traces.tests.builders import OPENINFERENCE, TRACE, request_of

MODEL = "/api/v1/models/yolo-harbour"
LIST = f"{MODEL}/inferences"
ASKED = (
    "*",
    "label:ship score>=0.5",
    "label:[ship, crane] meta.key_1=north",
    "score<0.4",
    'meta.key_1="north" meta.key_9="north"',
    "meta.frame>1 meta.gain<=0.5",
    "meta.pose.angle:json.float>1",
    'meta.key_2 contains "or"',
    "has:key_3 no:detections",
    "source:quay action:detect near:(51.95,4.14,50km)",
    "within:(51.8,4.0,52.0,4.2) since:2020-01-01",
    "truth:differs",
    "truth:missing (has:warnings OR is:protected)",
    "truth.label:ship",
    "has:input",
    "status:failed",
    "has:dataset",
    f"trace:{TRACE.hex()}",
    "NOT (label:ship OR meta.frame=3)",
)
PAGES = ("browse", "facets", "activity", "statistics", "review", "map")


def everything_is_done(
    model: RegisteredModel,
    chat: RegisteredModel,
    make_inference: Any,
    api: Any,
    person: Any,
    operator: Any,
) -> None:
    """Do once what the store does: take in, find, change, count, hand out, remove, tend."""
    took_in(model, chat, make_inference, api)
    found(model, api, person(), operator)
    changed(model, api)
    handed_out(model)
    tended(model, chat)
    removed(model, make_inference)


def took_in(
    model: RegisteredModel,
    chat: RegisteredModel,
    make_inference: Any,
    api: Any,
) -> None:
    many = {f"key_{number}": "north" for number in range(10)}  # more than slots
    for name in ("a", "b", "c", "d"):
        make_inference(
            {**many, "frame": 3, "gain": 0.5, "pose": {"angle": 3}},
            inference_id=name,
            detections=[("ship", 0.9), ("tug", 0.2)],
            data_source="quay",
            latitude=51.9,
            longitude=4.1,
            embedding=[1.0, 0.0, 0.5],
        )
    record(model, [new("a"), new("e")])
    record(chat, [new("t", data="the quay is full")])
    wishes = [Wish(each.pk, "r", b"0" * 32) for each in (model, chat)]
    reservations.release(reservations.reserve(wishes))
    made = api.post(LIST, body("created"), format="json")
    assert made.status_code == 201, made.content
    # By one statement, as it brings no word that the model does not know.
    assert record_alone(model, new("alone"), "user anna", "inference.create")
    truth = {"label": "ship"}
    for name in ("a", "later", "later"):
        answer = api.put(f"{LIST}/{name}/ground-truth", truth, format="json")
        assert answer.status_code in (200, 202), answer.content
    assert api.get(f"{LIST}/a/ground-truth/history").status_code == 200
    record(model, [new("later")])
    rows = "\n".join(
        json.dumps({"inference_id": name, "label": "tug"}) for name in ("b", "none")
    )
    joined = api.post(
        f"{MODEL}/ground-truth", rows, content_type="application/x-ndjson"
    )
    assert joined.status_code == 200, joined.content
    spans = request_of({"attributes": OPENINFERENCE}).SerializeToString()
    sent = api.post("/v1/traces", spans, content_type="application/x-protobuf")
    assert sent.status_code == 200, sent.content


def found(model: RegisteredModel, api: Any, viewer: Any, operator: Any) -> None:
    for query in ASKED:
        for last in ("filter", "count"):
            answer = api.post(f"{LIST}/{last}", {"query": query}, format="json")
            assert answer.status_code == 200, (query, answer.content)
    words = "/api/v1/models/chat/inferences/filter"
    assert api.post(words, {"query": "text:quay"}, format="json").status_code == 200
    for near in ({"query_embedding": [1.0, 0.0, 0.0]}, {"similar_to": "a"}):
        near = {"embedding_filters": {**near, "distance_metric": "cosine"}}
        answer = api.post(f"{LIST}/filter", near, format="json")
        assert answer.status_code == 200, answer.content
    assert api.get(f"{MODEL}/metadata/counts").status_code == 200
    for key, type_ in (("frame", "int"), ("key_9", "string")):
        asked = {"key": key, "type": type_}
        answer = api.post(f"{MODEL}/metadata/statistics", asked, format="json")
        assert answer.status_code == 200, answer.content
    names = [model.project, model.model_id]
    pages = [
        "/?sort=last",
        "/find?q=a",
        f"/find?q={TRACE.hex()}",
        *(reverse(f"inferences:{page}", args=names) for page in PAGES),
        reverse("inferences:detail", args=[*names, "a"]),
        f"/projects/harbour/traces/{TRACE.hex()}",
    ]
    for address in pages:
        assert viewer.get(address, follow=True).status_code == 200, address
    assert operator.get("/admin/inferences/inference/?q=a").status_code == 200


def changed(model: RegisteredModel, api: Any) -> None:
    protection = {"is_protected": True}
    assert api.put(f"{LIST}/b/protection", protection, format="json").status_code < 300
    value = typed("frame", 4)
    metadata_edits.put_value("user anna", model, "a", value, replace=True)
    newest = metadata_edits.latest_change(model)
    metadata_edits.take_back("user anna", model, value, (0, newest))
    chosen = model.inferences.filter(inference_id="c")
    soft_deletion.hide_all("user anna", model, lambda: chosen)
    api.post(f"{MODEL}/deleted/restore", {"query": "*"}, format="json")


def handed_out(model: RegisteredModel) -> None:
    for format in ("chariot", "ndjson"):
        task = ExportTask.objects.create(
            model=model,
            created_by="test",
            format=format,
            container="zip",
            options={},
            selection={},
        )
        carry_out(task)
        assert task.state == "complete", task.reason
    schedule = lifecycle.create("test", model, from_beginning=True, name="lake")
    run = lifecycle.start("test", schedule)
    runner.carry_out(run)


def tended(model: RegisteredModel, chat: RegisteredModel) -> None:
    build.announce(model.pk, build.FIRST, 2**62)
    build.announce_all()
    for model_key, last in build.announced_ids():
        list(build.build_segments(model_key, last))
    ids = list(model.inferences.values_list("id", flat=True))
    segment_touches.touch(model, ids, keep_bounds=False)
    moving.tend(model)
    compaction.compact_counts()
    compaction.free_tombstones(clock.now() + timedelta(days=4_000))
    reservations.free_old(clock.now() + timedelta(days=4_000))
    soft_deletion.remove_old(clock.now())
    storage_by_model.measure()
    disk_space._is_empty(disk_space._ranges())
    list(report(Scope(at=clock.now())).findings())
    backed_up_blobs.repoint({f"1/{model.pk}/old": f"1/{model.pk}/new"})
    database.still_named(hooks.named_keys["inferences"].query, ["none"])


def removed(model: RegisteredModel, make_inference: Any) -> None:
    remove_one("user anna", model, "d")
    stored(make_inference, "zaphod", created_at=hours_ago(24))
    erase(open_task(model.project))
    make_inference(
        {"frame": 1},
        inference_id="old",
        created_at=hours_ago(200),
        data_storage_key=put_blob(),
    )
    make_inference({"frame": 1}, inference_id="older", created_at=hours_ago(210))
    for action in ("soft", "hard"):
        policy = policy_of(model, delete_action=action)
        carried_out(policy)
        policy.delete()
    pending_truths.give_up(clock.now() + timedelta(days=4_000))


def put_blob() -> str:
    blobs.put("1/1/2025/06/01/00/old/input", b"picture")
    return "1/1/2025/06/01/00/old/input"
