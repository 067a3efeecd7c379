"""Export tasks as the API opens, shows, stops and retries them."""

from __future__ import annotations

import io
import json
import zipfile

from exports.tasks import run_export_task
from exports.tests.conftest import png

TASKS = "/api/v1/models/yolo-harbour/export-tasks"
SHIP = {"label": "ship", "score": 0.9, "xmin": 1, "ymin": 2, "xmax": 30, "ymax": 40}


def create(api, **body):
    return api.post(TASKS, body)


def run(task_id: str) -> None:
    run_export_task(task_id)


def test_a_task_is_created_carried_out_and_downloaded(api, make_stored, client):
    make_stored(png(), [SHIP], inference_id="a", metadata=())
    make_stored(png(10, 10), [], inference_id="b")

    created = create(
        api, include_inferences_as_annotations=True, include_custom_metadata=True
    )
    before = created.json()
    run(before["id"])
    after = api.get(f"{TASKS}/{before['id']}").json()

    assert created.status_code == 201
    assert before["state"] in ("pending", "scheduled")
    assert before["expected_count"] == 2
    assert before["presigned_url"] is None
    assert after["state"] == "complete"
    assert (after["progress_count"], after["expected_count"]) == (2, 2)
    url = after["presigned_url"].partition("/blobs")[2]
    linked = b"".join(client.get(f"/blobs{url}").streaming_content)
    served = api.get(f"{TASKS}/{before['id']}/archive")
    assert linked == b"".join(served.streaming_content)
    assert after["filename"] in served["Content-Disposition"]
    archive = zipfile.ZipFile(io.BytesIO(linked))
    assert archive.testzip() is None
    first, second = map(json.loads, archive.read("annotations.jsonl").splitlines())
    assert next(iter(first)) == "path"
    assert first == {
        "path": "data/00000001.png",
        "annotations": [
            {
                "class_label": "ship",
                "bbox": {"xmin": 1.0, "ymin": 2.0, "xmax": 30.0, "ymax": 40.0},
                "score": 0.9,
            }
        ],
        "metadata": {},
    }
    assert second["annotations"] == []
    assert archive.read(first["path"]) == png()
