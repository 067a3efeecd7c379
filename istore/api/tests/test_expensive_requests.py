"""What a bad body costs: less than two seconds of one thread, however it is made.

Each is the largest of its kind in about one MB. Processor time of the thread is measured,
which a busy machine does not change.
"""

from __future__ import annotations

import json
import time

import pytest
from django.contrib.auth.models import User

from istore.models import Membership, Role

MOST_SECONDS = 2.0
MODEL = "/api/v1/models/yolo-harbour"
INFERENCES = f"{MODEL}/inferences"


def written(value: object) -> bytes:
    return json.dumps(value).encode()


BODIES = {
    "unknown": (
        f"{INFERENCES}/filter",
        b"{" + b",".join(b'"k%d":1' % i for i in range(90_000)) + b"}",
    ),
    "[],": (f"{INFERENCES}/filter", b'{"filters":[' + b"[]," * 330_000 + b"[]]}"),
    "[], 120k": (f"{INFERENCES}/filter", b'{"filters":[' + b"[]," * 120_000 + b"[]]}"),
    "labels[]": (
        f"{INFERENCES}/filter",
        b'{"filters":{"deconstructed_inference_filter":{"labels":['
        + b"[]," * 120_000
        + b"[]]}}}",
    ),
    "labels1": (
        f"{INFERENCES}/filter",
        b'{"filters":{"deconstructed_inference_filter":{"labels":['
        + b"1," * 400_000
        + b"1]}}}",
    ),
    "embedding": (
        f"{INFERENCES}/filter",
        b'{"embedding_filters":{"query_embedding":[' + b"1," * 400_000 + b"1]}}",
    ),
    "and": (
        f"{INFERENCES}/filter",
        b'{"filter":{"and":[' + b"{}," * 120_000 + b"{}]}}",
    ),
    "and-not": (
        f"{INFERENCES}/filter",
        b'{"filter":{"and":[' + b'{"not":{}},' * 20 + b"{}]}}",
    ),
    "metadata_filter": (
        f"{INFERENCES}/filter",
        b'{"filters":{"metadata_filter":[' + b"{}," * 120_000 + b"{}]}}",
    ),
    "query": (f"{INFERENCES}/filter", written({"query": "a " * 400_000})),
    "query(": (f"{INFERENCES}/filter", written({"query": "(" * 900_000})),
    "query-not": (f"{INFERENCES}/filter", written({"query": "not " * 200_000})),
    "query or": (
        f"{INFERENCES}/filter",
        written({"query": " or ".join(["a=b"] * 100_000)}),
    ),
    "query quote": (f"{INFERENCES}/filter", written({"query": '"' * 900_000})),
    "query bs": (f"{INFERENCES}/filter", written({"query": '"' + "\\" * 450_000})),
    "query meta": (
        f"{INFERENCES}/filter",
        written({"query": "meta." + "a." * 450_000 + "=1"}),
    ),
    "query in": (
        f"{INFERENCES}/filter",
        written({"query": "meta.a in [" + "b," * 450_000 + "b]"}),
    ),
    "query ws": (
        f"{INFERENCES}/filter",
        written({"query": "meta.a" + " " * 900_000 + "x"}),
    ),
    "in": (
        f"{INFERENCES}/filter",
        written(
            {
                "filters": {
                    "metadata_filter": [
                        {
                            "key": "a",
                            "type": "string",
                            "operator": "in",
                            "value": "[" + "b," * 450_000 + "b]",
                        }
                    ]
                }
            }
        ),
    ),
    "in bs": (
        f"{INFERENCES}/filter",
        written(
            {
                "filters": {
                    "metadata_filter": [
                        {
                            "key": "a",
                            "type": "string",
                            "operator": "in",
                            "value": "[" + "\\" * 450_000,
                        }
                    ]
                }
            }
        ),
    ),
    "int digits": (
        f"{INFERENCES}/filter",
        written(
            {
                "filters": {
                    "metadata_filter": [
                        {
                            "key": "a",
                            "type": "float",
                            "operator": "=",
                            "value": "1" * 900_000,
                        }
                    ]
                }
            }
        ),
    ),
    "float e": (
        f"{INFERENCES}/filter",
        written(
            {
                "filters": {
                    "metadata_filter": [
                        {
                            "key": "a",
                            "type": "float",
                            "operator": "=",
                            "value": "1" * 450_000 + "e" * 450_000,
                        }
                    ]
                }
            }
        ),
    ),
    "json path": (
        f"{INFERENCES}/filter",
        written(
            {
                "filters": {
                    "metadata_filter": [
                        {
                            "key": "a" + ".b" * 450_000,
                            "type": "json.int",
                            "operator": "=",
                            "value": "1",
                        }
                    ]
                }
            }
        ),
    ),
    "moment": (
        f"{INFERENCES}/filter",
        written({"filters": {"time_window_filter": {"start": "2" * 900_000}}}),
    ),
    "source": (
        f"{INFERENCES}/filter",
        written({"filters": {"data_source_filter": "2" * 900_000}}),
    ),
    "cursor": (
        f"{INFERENCES}/filter",
        written({"pagination": {"cursor": "2" * 900_000}}),
    ),
    "detections": (
        INFERENCES,
        written(
            {
                "inference_id": "x",
                "data": {
                    "object_detection": [{} for _ in range(100_000)],
                    "metadata": {},
                },
            }
        ),
    ),
    "detections1": (
        INFERENCES,
        b'{"inference_id":"x","data":{"object_detection":['
        + b"1," * 400_000
        + b'1],"metadata":{}}}',
    ),
    "extended": (
        INFERENCES,
        b'{"inference_id":"x","data":{"metadata":{"standard_metadata":{},"extended_metadata":['
        + b"{}," * 100_000
        + b"{}]}}}",
    ),
    "shap": (
        INFERENCES,
        written(
            {
                "inference_id": "x",
                "data": {
                    "shap_values": {f"k{i}": "x" for i in range(80_000)},
                    "metadata": {},
                },
            }
        ),
    ),
    "embeddings": (
        INFERENCES,
        written(
            {
                "inference_id": "x",
                "data": {
                    "embeddings": {f"k{i}": ["x"] for i in range(50_000)},
                    "metadata": {},
                },
            }
        ),
    ),
    "embeddings2": (
        INFERENCES,
        b'{"inference_id":"x","data":{"embeddings":{"a":['
        + b"[]," * 100_000
        + b'1]},"metadata":{}}}',
    ),
    "embedding2": (
        INFERENCES,
        b'{"inference_id":"x","data":{"embedding":['
        + b"[]," * 100_000
        + b'1],"metadata":{}}}',
    ),
    "inputs": (
        INFERENCES,
        written(
            {
                "inference_id": "x",
                "data": {
                    "inputs": {f"k{i}": [{}] for i in range(40_000)},
                    "metadata": {},
                },
            }
        ),
    ),
    "truth labels": (
        f"PUT {MODEL}/inferences/a/ground-truth",
        b'{"labels":[' + b"[]," * 100_000 + b"1]}",
    ),
    "truth boxes": (
        f"PUT {MODEL}/inferences/a/ground-truth",
        b'{"boxes":[' + b"{}," * 100_000 + b"1]}",
    ),
    "meta bulk": (
        f"{MODEL}/metadata/bulk",
        b'{"changes":[' + b"{}," * 100_000 + b"1]}",
    ),
    "stats": (
        f"{MODEL}/metadata/statistics",
        b'{"key":"a","type":"int","distribution_bin_count":999999999999}',
    ),
    "quality": (f"{MODEL}/quality", b'{"slices":[' + b"{}," * 100_000 + b"1]}"),
    "export ids": (
        f"{MODEL}/export-tasks",
        written({"include_inference_ids": [f"x{i}" for i in range(80_000)]}),
    ),
    "export ids[]": (
        f"{MODEL}/export-tasks",
        b'{"include_inference_ids":[' + b"[]," * 120_000 + b"[]]}",
    ),
    "services": (
        "/api/v1/inferenceservices",
        written(
            {
                "account": "a",
                "name": "s",
                "configuration": {f"k{i}": 1 for i in range(80_000)},
            }
        ),
    ),
    "models labels": (
        "/api/v1/models",
        b'{"model_id":"q","project_id":"harbour","task_type":"Object Detection","class_labels":['
        + b"[]," * 100_000
        + b"1]}",
    ),
    "models labels1": (
        "/api/v1/models",
        written(
            {
                "model_id": "q",
                "project_id": "harbour",
                "task_type": "Object Detection",
                "class_labels": [f"x{i}" for i in range(90_000)],
            }
        ),
    ),
    "erasure": (
        "/api/v1/projects/harbour/erasures",
        b'{"values":[' + b"{}," * 100_000 + b"1]}",
    ),
    "dataset add": (
        "/api/v1/projects/harbour/datasets/a/additions",
        written(
            {
                "model_id": "yolo-harbour",
                "inference_ids": [f"x{i}" for i in range(80_000)],
            }
        ),
    ),
    "batch": (f"{INFERENCES}/batch", b"\n".join([b'{"data_hash":""}'] * 1000)),
    "batch lines": (f"{INFERENCES}/batch", b"a\n" * 500_000),
    "batch [],": (
        f"{INFERENCES}/batch",
        b"\n".join([b"[" + b"[]," * 330 + b"[]]"] * 1000),
    ),
}


# They are read: what is wrong with a line of a batch is said in the answer to that line.
READ = ["and-not", "source", "export ids", "batch", "batch [],"]


def answer_in_time(api_as, name):
    path, body = BODIES[name]
    method, _, path = path.rpartition(" ")
    lines = path.endswith("batch")
    kind = "application/x-ndjson" if lines else "application/json"
    api = api_as(Role.ADMINISTRATOR)
    began = time.thread_time()
    answer = api.generic(method or "POST", path, body, content_type=kind)
    assert time.thread_time() - began < MOST_SECONDS
    return answer


@pytest.mark.parametrize("name", READ)
def test_a_heavy_body_that_is_read_costs_little(api_as, model, make_inference, name):
    make_inference(inference_id="a")
    assert answer_in_time(api_as, name).status_code in (200, 201)


@pytest.mark.parametrize("name", [name for name in BODIES if name not in READ])
def test_a_bad_body_is_refused_at_little_cost(api_as, model, make_inference, name):
    make_inference(inference_id="a")
    answer = answer_in_time(api_as, name)
    assert 400 <= answer.status_code < 500
    assert answer.json()["code"]
    assert len(answer.content) < 20_000


def test_the_first_errors_are_told_and_no_more(api, model):
    unknown = {f"k{number}": 1 for number in range(10_000)}
    answer = api.post(f"{INFERENCES}/filter", unknown, format="json")
    assert (answer.status_code, len(answer.json()["errors"])) == (400, 50)
    wrong = {"deconstructed_inference_filter": {"labels": [1] * 1000}}
    answer = api.post(f"{INFERENCES}/filter", {"filters": wrong}, format="json")
    assert (answer.status_code, len(answer.json()["errors"])) == (400, 50)


def test_more_values_than_the_setting_are_refused_before_they_are_read(
    api, model, settings
):
    settings.ISTORE_JSON_MAX_VALUES = 1000
    labels = {"deconstructed_inference_filter": {"labels": [",:[]{}" * 900]}}
    answer = api.post(f"{INFERENCES}/count", {"filters": labels}, format="json")
    assert answer.status_code == 200  # what stands in a text is not counted
    answer = api.post(f"{INFERENCES}/count", {"filters": [1] * 1000}, format="json")
    assert answer.json()["code"] == "too-many-values"


def leaves(count: int, values: int) -> bytes:
    standard = {
        "data_hash": "0" * 64,
        "data_size": 1,
        "task_type": "Object Detection",
        "inference_action": "detect",
    }
    value = json.dumps({f"a{number}": number for number in range(count)})
    extended = [
        {"key": f"k{number}", "type": "json", "value": value}
        for number in range(values)
    ]
    metadata = {"standard_metadata": standard, "extended_metadata": extended}
    return written({"inference_id": "x", "data": {"metadata": metadata}})


def test_the_leaves_of_one_inference_are_bounded(api, model):
    def post(body: bytes):
        return api.generic("POST", INFERENCES, body, content_type="application/json")

    began = time.thread_time()
    assert post(leaves(900, 60)).status_code == 400
    assert post(leaves(500, 2)).status_code == 201
    assert time.thread_time() - began < MOST_SECONDS


ADDRESSES = {
    "blanks in a comparison": "metadata=a" + "%20" * 20_000 + "x",
    "colons in a comparison": "metadata=" + ":a" * 30_000,
    "many labels": "&".join(f"label=l{number}" for number in range(1900)),
    "many comparisons": "&".join("metadata=a%3Db" for _ in range(1900)),
    "brackets": "q=" + "(" * 60_000,
    "a long number": "min_score=" + "9" * 60_000,
    "a place of many numbers": "near=" + "1," * 30_000,
}


@pytest.mark.parametrize("name", ADDRESSES)
def test_a_bad_address_costs_little(api, client, project, model, name):
    user = User.objects.create_user("maria", password="anchor-42")
    Membership.objects.create(user=user, project=project, role=Role.VIEWER)
    client.force_login(user)
    page = "/models/yolo-harbour/inferences"
    client.get(page)  # what the first of its kind loads
    for caller, path in ((api, INFERENCES), (client, page)):
        began = time.thread_time()
        answer = caller.get(path, QUERY_STRING=ADDRESSES[name])
        assert time.thread_time() - began < MOST_SECONDS
        assert answer.status_code < 500
