"""What each function sends, and what it makes of the answer."""

from __future__ import annotations

import json

import pytest

from inference_store import (
    Client,
    connect,
    connection,
    errors,
    export_task,
    ground_truth,
    inference,
    metadata,
    models,
    protection,
    register,
    retention_policy,
    retention_task,
    upload,
)
from inference_store.errors import NotFound

POLICY = {
    "id": "p",
    "model_id": "m",
    "delete_action": "soft",
    "maximum_record_age": 72,
    "maximum_blob_age": 48,
}
NEW_POLICY = models.NewRetentionPolicyRequest(
    maximum_record_age=72, maximum_blob_age=48, automated_interval=0
)
RETENTION_TASK = {
    "id": "t",
    "retention_policy_id": "p",
    "deleted_record_count": 0,
    "deleted_blob_count": 0,
    "total_record_count": 1,
    "total_blob_count": 1,
    "state": "pending",
    "maximum_record_age_limit": "2026-01-01T00:00:00Z",
    "maximum_blob_age_limit": "2026-01-01T00:00:00Z",
}
EXPORT_TASK = {"id": "t", "progress_count": 0, "expected_count": 9, "state": "pending"}
STATISTICS = models.NewGetMetadataStatisticsRequest(key="frame", type="int")
VALUE = models.NewExtendedMetadataRequest(key="k", type="string", value="v")
SAID = {"key": "k", "type": "string", "value": "v"}
EVERYTHING = models.NewGetInferencesRequest()


@pytest.mark.parametrize(
    "url",
    ["ist_secret", "http://me:secret@store.example", "https://secret@store", "http://"],
)
def test_a_url_that_is_none_is_refused_without_its_secret(url):
    with pytest.raises(ValueError, match="URL") as caught:
        Client(url, "ist_other")

    assert "secret" not in str(caught.value)


def test_the_scheme_of_a_url_has_any_case():
    assert (
        Client("HTTPS://Store.example/at/ ", "ist_a").url == "https://Store.example/at"
    )


@pytest.mark.parametrize(
    "given", ["ist_a", " ist_a\n", "Bearer ist_a", "bearer  ist_a "]
)
def test_a_token_may_be_copied_with_what_stands_around_it(given):
    assert Client("http://a", given)._token == "ist_a"


@pytest.mark.parametrize(
    ("url", "token"), [("http://a", b"ist_a"), (b"http://a", "ist_a"), ("http://a", 7)]
)
def test_url_and_token_are_texts(url, token):
    with pytest.raises(TypeError, match="is a str, not"):
        Client(url, token)


def test_the_token_goes_with_every_call(client, store):
    store.says({"count": 3})
    assert inference.count_inferences("m", EVERYTHING) == 3
    assert store.last.headers["authorization"] == "Bearer ist_secret"
    assert store.last.headers["user-agent"].startswith("inference-store/")
    assert (store.last.method, store.path) == (
        "POST",
        "/api/v1/models/m/inferences/count",
    )


@pytest.mark.parametrize(
    ("model_id", "on_the_wire"),
    [
        ("a/b", "a%2Fb"),
        ("a b%", "a%20b%25"),
        ("ü?#", "%C3%BC%3F%23"),
        ("...", "%2E%2E%2E"),
    ],
)
def test_an_id_is_one_segment_of_the_path(
    client, store, model_id, on_the_wire, not_found
):
    store.says(not_found)
    assert register.get_registered_model(model_id) is None
    assert store.path == f"/api/v1/models/{on_the_wire}"


def test_a_page_is_a_list_that_knows_the_next(client, store, row):
    store.says({"results": [row("a"), row("b")], "next": "cursor"})
    found = inference.filter_inferences("m", EVERYTHING)
    assert [each.inference_id for each in found] == ["a", "b"]
    assert found.next == "cursor"
    assert store.body == {"filters": {}, "presign": False}


def test_the_list_is_asked_for_by_a_query_string(client, store):
    store.says({"results": [], "next": None})
    inference.list_inferences("m", label=["a", "b"], min_score=0.5, presign=True)
    query = store.last.url.query.decode()
    assert query == "label=a&label=b&min_score=0.5&presign=true"


def test_an_inference_may_come_with_a_link(client, store, row):
    store.says(row("a/b"))
    found = inference.get_inference(model_id="m", inference_id="a/b", presign=True)
    assert found.inference_id == "a/b"
    assert store.path == "/api/v1/models/m/inferences/a%2Fb?presign=true"
    inference.get_inference("m", "a/b")
    assert store.path == "/api/v1/models/m/inferences/a%2Fb"


@pytest.mark.parametrize(
    ("call", "method", "path", "answer", "result"),
    [
        (
            lambda: register.register_model_for_inference_storage(
                models.NewRegisterModelRequest(
                    model_id="m", project_id="p", task_type="Image Embedding"
                )
            ),
            "POST",
            "models",
            {"model_id": "m"},
            "m",
        ),
        (
            lambda: inference.delete_inference("m", "a"),
            "DELETE",
            "models/m/inferences/a",
            {"inference_id": "a"},
            "a",
        ),
        (
            lambda: inference.bulk_delete_inferences("m", models.BaseInferenceFilter()),
            "POST",
            "models/m/inferences/delete",
            {"deleted_inference_ids": ["a", "b"], "count": 2},
            ["a", "b"],
        ),
        (
            lambda: metadata.get_metadata("m", "a")[0].value,
            "GET",
            "models/m/inferences/a/metadata",
            {"results": [SAID]},
            "v",
        ),
        (
            lambda: metadata.create_metadata("m", "a", VALUE).value,
            "POST",
            "models/m/inferences/a/metadata",
            SAID,
            "v",
        ),
        (
            lambda: metadata.replace_metadata("m", "a", VALUE).value,
            "PUT",
            "models/m/inferences/a/metadata/k",
            SAID,
            "v",
        ),
        (
            lambda: metadata.bulk_add_metadata(
                "m", models.BaseInferenceFilter(), [VALUE], replace=True
            ),
            "POST",
            "models/m/metadata/bulk",
            {"changed": {"k": 2}},
            {"k": 2},
        ),
        (
            lambda: metadata.delete_metadata("m", "a", "k/l"),
            "DELETE",
            "models/m/inferences/a/metadata/k%2Fl",
            (204, b""),
            "k/l",
        ),
        (
            lambda: metadata.get_metadata_key_type_counts("m").counts,
            "GET",
            "models/m/metadata/counts",
            {"counts": {"frame": {"int": 2}}},
            {"frame": {"int": 2}},
        ),
        (
            lambda: metadata.get_metadata_statistics("m", STATISTICS).max,
            "POST",
            "models/m/metadata/statistics",
            {"count": 2, "min": 1, "max": 3, "distribution": {"[1, 3]": 2}},
            3.0,
        ),
        (
            lambda: retention_policy.create_retention_policy("m", NEW_POLICY).id,
            "POST",
            "models/m/retention-policy",
            POLICY,
            "p",
        ),
        (
            lambda: retention_policy.get_retention_policy("m").id,
            "GET",
            "models/m/retention-policy",
            POLICY,
            "p",
        ),
        (
            lambda: retention_policy.replace_retention_policy("m", "p", NEW_POLICY).id,
            "PUT",
            "models/m/retention-policy/p",
            POLICY,
            "p",
        ),
        (
            lambda: retention_policy.delete_retention_policy("m", "p"),
            "DELETE",
            "models/m/retention-policy/p",
            {"id": "p"},
            "p",
        ),
        (
            lambda: (
                retention_task.create_retention_task(
                    "m",
                    models.NewRetentionTaskRequest(
                        dry_run=False, retention_policy_id="p"
                    ),
                ).state
            ),
            "POST",
            "models/m/retention-tasks",
            RETENTION_TASK,
            "pending",
        ),
        (
            lambda: retention_task.get_retention_task("m", "t").id,
            "GET",
            "models/m/retention-tasks/t",
            RETENTION_TASK,
            "t",
        ),
        (
            lambda: len(
                retention_task.filter_retention_tasks(
                    "m", models.NewGetRetentionTasksRequest(state_filter="complete")
                )
            ),
            "POST",
            "models/m/retention-tasks/filter",
            {"results": [RETENTION_TASK], "next": None},
            1,
        ),
        (
            lambda: (
                export_task.create_export_task(
                    "m", models.NewExportTaskRequest()
                ).expected_count
            ),
            "POST",
            "models/m/export-tasks",
            EXPORT_TASK,
            9,
        ),
        (
            lambda: export_task.get_export_task("m", "t").presigned_url,
            "GET",
            "models/m/export-tasks/t",
            EXPORT_TASK,
            None,
        ),
    ],
)
def test_method_path_and_result(client, store, call, method, path, answer, result):
    store.says(answer)
    assert call() == result
    assert (store.last.method, store.path) == (method, f"/api/v1/{path}")


ABSENT = [
    lambda: register.get_registered_model("m"),
    lambda: inference.get_inference("m", "a"),
    lambda: inference.delete_inference("m", "a"),
    lambda: metadata.delete_metadata("m", "a", "k"),
    lambda: metadata.get_metadata_key_type_counts("m"),
    lambda: metadata.get_metadata_statistics("m", STATISTICS),
    lambda: retention_policy.get_retention_policy("m"),
    lambda: retention_policy.delete_retention_policy("m", "p"),
    lambda: retention_task.get_retention_task("m", "t"),
    lambda: export_task.get_export_task("m", "t"),
]


LOST = [
    (
        lambda: metadata.create_metadata("m", "a", VALUE),
        "model 'm', or no inference 'a'",
    ),
    (
        lambda: metadata.replace_metadata("m", "a", VALUE),
        "model 'm', or no inference",
    ),
    (lambda: upload.upload_data("m"), "model 'm'"),
    (lambda: upload.upload_inference_and_metadata("m"), "model 'm'"),
    (
        lambda: export_task.create_export_task(
            "misspelt", models.NewExportTaskRequest()
        ),
        "model 'misspelt'",
    ),
    (
        lambda: retention_task.stop_retention_task("m", "t"),
        "model 'm', or no retention task 't'",
    ),
]


LOST += [
    (
        lambda: metadata.create_metadata("m", "filter", VALUE),
        "model 'm', or no inference 'filter'",
    ),
    (
        lambda: protection.protect_inference("m", "count"),
        "model 'm', or no inference 'count'",
    ),
]
OF_A_MODEL = [
    lambda: inference.filter_inferences("m", EVERYTHING),
    lambda: inference.count_inferences("m", EVERYTHING),
    lambda: inference.bulk_delete_inferences("m", models.BaseInferenceFilter()),
    lambda: list(inference.iter_inferences("m")),
    lambda: protection.protect_inferences("m", models.BaseInferenceFilter()),
    lambda: metadata.bulk_add_metadata("m", models.BaseInferenceFilter(), [VALUE]),
    lambda: ground_truth.list_pending_ground_truth("m"),
    lambda: export_task.filter_export_tasks("m"),
    lambda: retention_task.filter_retention_tasks(
        "m", models.NewGetRetentionTasksRequest()
    ),
]


@pytest.mark.parametrize("call", OF_A_MODEL)
def test_what_is_asked_of_a_whole_model_misses_the_model_alone(
    client, store, call, not_found
):
    store.says(not_found)

    with pytest.raises(NotFound, match=r"^There is no model 'm'\. "):
        call()


@pytest.mark.parametrize(("call", "missing"), LOST)
def test_a_lost_write_raises_what_is_missing(client, store, call, missing, not_found):
    store.says(not_found)

    with pytest.raises(NotFound, match=f"There is no {missing}") as caught:
        call()

    assert (caught.value.status, caught.value.code) == (404, "not-found")


@pytest.mark.parametrize("call", ABSENT)
def test_what_is_absent_is_none(client, store, call, not_found):
    store.says(not_found)
    assert call() is None


@pytest.mark.parametrize(
    "call",
    [
        lambda: inference.filter_inferences("m", EVERYTHING),
        lambda: inference.count_inferences("m", EVERYTHING),
        lambda: metadata.get_metadata("m", "a"),
        lambda: inference.bulk_delete_inferences("m", models.BaseInferenceFilter()),
    ],
)
def test_a_list_or_count_of_what_is_absent_raises(client, store, call, not_found):
    store.says(not_found)
    with pytest.raises(errors.NotFound):
        call()


def test_a_bulk_delete_names_its_filters_even_when_empty(client, store):
    store.says({"deleted_inference_ids": [], "count": 0})
    inference.bulk_delete_inferences("m", models.BaseInferenceFilter())
    assert store.body == {"filters": {}, "dry_run": False}


def collection() -> models.NewInferenceAndMetadataCollection:
    standard = models.NewStandardMetadataRequest(
        data_hash="ab",
        data_size=1,
        task_type="Object Detection",
        inference_action="detect",
    )
    return models.NewInferenceAndMetadataCollection(
        metadata=models.NewMetadataCollectionRequest(standard_metadata=standard)
    )


GRANT = {
    "data_presigned_url": "https://blobs.example/put?sig=1",
    "data_storage_key": "key",
}


@pytest.mark.parametrize(("data", "put"), [("ü", "ü".encode()), (b"raw", b"raw")])
def test_an_input_is_uploaded_before_its_inference(client, store, row, data, put):
    store.says((201, GRANT), (200, b""), (201, row("a")))
    stored = inference.create_inference_storage_request(
        "m", "a", data, collection(), is_protected=True
    )
    assert stored.inference_id == "a"
    _, upload_, create = store.requests
    assert (upload_.method, upload_.content) == ("PUT", put)
    assert str(upload_.url) == "https://blobs.example/put?sig=1"
    # The link is its own credential, and may be another host's.
    assert "authorization" not in upload_.headers
    assert json.loads(create.content)["data_storage_key"] == "key"
    assert json.loads(create.content)["is_protected"] is True


def test_an_inference_may_have_no_input(client, store, row):
    store.says((201, row("a")))
    inference.create_inference_storage_request("m", "a", None, collection())
    assert len(store.requests) == 1
    assert "data_storage_key" not in store.body


def test_a_grant_may_name_headers_and_be_relative(client, store):
    store.says((200, b""))
    grant = models.DataUpload(
        data_presigned_url="/uploads?s=1",
        data_storage_key="k",
        headers={"Content-Type": "image/png"},
    )
    upload.put_upload(grant, b"x")
    assert str(store.last.url) == "http://store.example/uploads?s=1"
    assert store.last.headers["content-type"] == "image/png"


def test_a_file_of_answer_and_metadata_is_named_by_its_key(client, store, row):
    store.says((201, row("a")))
    inference.create_inference_from_upload("m", "a", "key")
    assert store.body == {
        "model_id": "m",
        "inference_id": "a",
        "metadata_storage_key": "key",
        "is_protected": False,
    }


def test_many_inferences_go_in_batches_of_lines(client, store):
    def answer(request):
        import httpx2

        rows = [json.loads(line) for line in request.content.splitlines()]
        lines = [
            {"inference_id": each["inference_id"], "status": "created"} for each in rows
        ]
        return httpx2.Response(200, json={"results": lines})

    store.says(answer)
    bodies = (
        models.NewInferenceStorageRequest(
            model_id="m", inference_id=str(n), data=collection()
        )
        for n in range(5)
    )
    results = inference.create_inferences("m", bodies, batch_size=2)
    assert [each.inference_id for each in results] == list("01234")
    assert all(each.is_stored for each in results)
    assert len(store.requests) == 3


def test_one_of_a_batch_may_be_refused(client, store):
    refused = {"status": "refused", "code": "inference-exists", "detail": "Another."}
    store.says({"results": [refused]})
    body = models.NewInferenceStorageRequest(
        model_id="m", inference_id="a", data=collection()
    )
    [result] = inference.create_inferences("m", [body])
    assert (result.is_stored, result.code) == (False, "inference-exists")


def test_walking_goes_from_page_to_page_by_cursor(client, store, row):
    store.says(
        {"results": [row("a"), row("b")], "next": "c1"},
        {"results": [row("c")], "next": None},
    )
    request = models.NewGetInferencesRequest(
        pagination=models.Pagination(direction="desc", limit=1, offset=3)
    )
    found = inference.iter_inferences("m", request, page_size=2)
    assert [each.inference_id for each in found] == ["a", "b", "c"]
    first, second = (json.loads(each.content) for each in store.requests)
    assert first["pagination"] == {"direction": "desc", "limit": 2, "offset": 3}
    assert second["pagination"] == {"direction": "desc", "limit": 2, "cursor": "c1"}
    assert request.pagination.limit == 1


def test_walking_with_a_bar_counts_first(client, store, row, capsys):
    store.says({"count": 1}, {"results": [row("a")], "next": None})
    assert len(list(inference.iter_inferences("m", progress=True))) == 1
    assert store.requests[0].url.path.endswith("/count")


def test_connect_reads_the_environment(monkeypatch):
    monkeypatch.setenv("ISTORE_URL", "http://elsewhere:9/")
    monkeypatch.setenv("ISTORE_TOKEN", "t")
    client = connect()
    assert (client.url, client._token) == ("http://elsewhere:9", "t")
    assert connection.get_client() is client
    monkeypatch.delenv("ISTORE_URL")
    assert connect().url == "http://127.0.0.1:8000"
    assert connect("https://s", "u").url == "https://s"
    client = Client("http://here/below")
    assert client.url == "http://here/below"
    with pytest.raises(ValueError, match="not a URL"):
        connect("localhost:8000")
    connection.current = None


def test_without_connect_there_is_a_hint():
    connection.current = None
    with pytest.raises(errors.NotConnected, match=r"connect\(\)"):
        inference.count_inferences("m", EVERYTHING)


def test_inferences_as_a_table(row):
    pytest.importorskip("pandas")
    from inference_store import to_pandas

    said = [
        {"key": "frame", "type": "int", "value": "3"},
        {"key": "pose", "type": "json", "value": '{"a": 1}'},
    ]
    found = [
        models.Inference.model_validate(
            row("a", metadata=said, data_coordinates={"latitude": 1, "longitude": 2})
        ),
        models.Inference.model_validate(row("b")),
    ]
    frame = to_pandas(found)
    assert list(frame["inference_id"]) == ["a", "b"]
    assert frame.loc[0, "metadata.frame"] == 3
    assert frame.loc[0, "metadata.pose"] == {"a": 1}
    assert frame.loc[0, "latitude"] == 1.0


UNDERSTOOD = {
    "detections": [
        {"label": "ship", "score": 0.9, "xmin": 1, "ymin": 2, "xmax": 3, "ymax": 4},
        {
            "label": "sea",
            "score": None,
            "mask": {"size": [2, 3], "counts": [1, 2, 3]},
        },
    ],
    "probabilities": [{"label": "ship", "score": 0.9}],
    "entities": [{"label": "P", "start": 0, "end": 3, "score": 1, "text": None}],
    "prediction": {"label": "ship"},
    "prompt": None,
    "response": "yes",
    "unread": {"prompt": "missing"},
}


def test_what_was_understood_are_values(client, store, row):
    store.says(row("a") | UNDERSTOOD)

    found = inference.get_inference("m", "a")

    box, mask = found.detections
    assert (box.label, box.xmax, box.normalised) == ("ship", 3, False)
    assert mask.mask.counts == [1, 2, 3]
    assert found.probabilities[0].label == "ship"
    assert (found.entities[0].end, found.response) == (3, "yes")
    assert found.unread == {"prompt": "missing"}


def test_fields_go_with_the_question(client, store, row):
    page = {"results": [row("a")], "next": None}
    names = ["detections", "prompt"]
    store.says(page, page, page, row("a"))

    assert inference.filter_inferences("m", EVERYTHING, fields=names)[0].prompt is None
    assert json.loads(store.last.content)["fields"] == names
    list(inference.iter_inferences("m", fields=names))
    assert json.loads(store.last.content)["fields"] == names
    inference.list_inferences("m", fields=names)
    assert store.last.url.params.get_list("fields") == names
    inference.get_inference("m", "a", fields=["prompt"])
    assert store.last.url.params.get_list("fields") == ["prompt"]
    assert EVERYTHING.fields is None
