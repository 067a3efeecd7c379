"""Programs that were written for another client run with another import root."""

from __future__ import annotations

import httpx2
import pytest

from inference_store import Client, connect, export_task, metadata, models, register
from inference_store.errors import ConnectionFailed, InferenceStoreError, NotFound
from inference_store.models import Model, get_model, get_model_by_id

RESOURCE = {
    "model_id": "harbour-detector",
    "project_id": "harbour",
    "task_type": "Object Detection",
    "embedding_size": 0,
    "created_at": "2026-01-01T00:00:00Z",
    "updated_at": "2026-01-01T00:00:00Z",
    "proxy_url": "http://proxy.test",
}
V2 = {"model_name": "m", "outputs": []}


def test_a_named_model_is_asked_for_when_it_must_be(client, store):
    model = Model(project_id="harbour", id="harbour-detector")

    assert (model.id, model.model_id, model.project_id) == (
        "harbour-detector",
        "harbour-detector",
        "harbour",
    )
    assert not store.requests
    store.says(RESOURCE)
    assert model.task is models.TaskType.OBJECT_DETECTION
    assert model.embedding_size == 0
    assert len(store.requests) == 1


def test_a_named_model_registers_itself(client, store):
    model = Model(project_id="harbour", id="harbour-detector")
    store.says({"model_id": "harbour-detector"})

    register.register_model_for_inference_storage(
        request_body=models.NewRegisterModelRequest(
            model_id=model.id,
            project_id=model.project_id,
            task_type=models.TaskType.OBJECT_DETECTION,
        )
    )

    assert store.body["project_id"] == "harbour"


def test_a_named_model_can_be_called(client, store):
    store.says(
        RESOURCE, (200, V2, {"Inference-Id": "a", "Inference-Store": "recorded"})
    )

    answer = Model(project_id="harbour", id="harbour-detector").detect(b"picture")

    assert (answer.inference_id, answer.recorded) == ("a", True)
    assert store.last.url.host == "proxy.test"


def test_a_model_of_another_project_than_the_tokens_is_not_taken_for_its_own(
    client, store, monkeypatch
):
    """Two projects may have a model of one id."""
    monkeypatch.setenv("ISTORE_PROXY_URL", "http://proxy.test")
    for act in (
        lambda model: model.task,
        lambda model: model.detect(b"picture"),
        lambda model: model.set_inference_server_settings({}),
    ):
        store.says(RESOURCE)
        with pytest.raises(NotFound, match="in project 'airport'"):
            act(Model(project_id="airport", id="harbour-detector"))
    assert {request.method for request in store.requests} == {"GET"}


def test_a_model_is_got_by_its_id_from_either_module(client, store):
    store.says(RESOURCE, RESOURCE)

    assert get_model_by_id("harbour-detector").id == "harbour-detector"
    assert get_model("harbour-detector").task is models.TaskType.OBJECT_DETECTION


def test_a_model_takes_no_other_names():
    with pytest.raises(TypeError, match="nam"):
        Model(id="m", nam="x")


def test_python_values_fit_the_request_for_metadata():
    mapped = metadata.map_to_inference_store_metadata(
        {"a": "b", "c": {"d": "e"}, "1": 2, "3": 4.0, "latitude": 51.95}
    )

    request = models.NewMetadataCollectionRequest(**mapped)

    assert [each.type for each in request.extended_metadata] == [
        models.MetadataType.STRING,
        models.MetadataType.JSON,
        models.MetadataType.INT,
        models.MetadataType.FLOAT,
    ]
    assert request.standard_metadata.latitude == 51.95
    request.standard_metadata.data_size = 3
    assert b'"data_size": 3' in request.encode()
    with pytest.raises(ValueError):
        models.NewMetadataCollectionRequest(standard_metadata={"latitude": "north"})
    with pytest.raises(ValueError):
        models.NewMetadataCollectionRequest(standard_metadata={"latitud": 1})


def test_export_tasks_are_listed_without_a_body(client, store):
    store.says({"results": [], "next": None})

    assert export_task.filter_export_tasks("m") == []


# -- waiting for what was recorded


def recorded(ids: str, status: str = "recorded"):
    return 200, V2, {"Inference-Id": ids, "Inference-Store": status}


def test_an_answer_waits_for_its_inference(client, store, row, not_found):
    store.says(RESOURCE, recorded("a%2Cb"), not_found, not_found, row("a,b"))

    answer = get_model("harbour-detector").predict(b"x")

    assert answer.inference_id == "a,b"
    assert answer.inference(wait=5).inference_id == "a,b"


def test_an_answer_that_does_not_come_says_so(client, store, not_found):
    store.says(RESOURCE, recorded("a"), not_found)
    answer = get_model("harbour-detector").predict(b"x")

    with pytest.raises(NotFound, match="'a' of 'harbour-detector' is not there yet"):
        answer.inference(wait=0)


def test_several_parts_have_a_list_of_ids(client, store, row):
    store.says(RESOURCE, recorded("a-0,a-1"), row("a-0"), row("a-1"))

    answer = get_model("harbour-detector").predict(b"x")

    assert answer.inference_id == answer.inference_ids == ["a-0", "a-1"]
    assert [each.inference_id for each in answer.inferences()] == ["a-0", "a-1"]
    with pytest.raises(InferenceStoreError, match="several parts"):
        answer.inference()


def test_what_was_not_recorded_is_not_waited_for(client, store):
    store.says(RESOURCE, recorded("a", "not-recorded; reason=off"))
    answer = get_model("harbour-detector").predict(b"x")

    with pytest.raises(InferenceStoreError, match="reason=off"):
        answer.inference(wait=60)


# -- tokens and proxies


@pytest.mark.parametrize("token", ["ist_secret\n", " ist_secret\r\n"])
def test_a_line_end_behind_a_token_is_left_out(store, token, monkeypatch):
    monkeypatch.setenv("ISTORE_TOKEN", token)
    connect("http://store.test", transport=httpx2.MockTransport(store))
    store.says({"results": [], "next": None})

    export_task.filter_export_tasks("m")

    assert store.last.headers["authorization"] == "Bearer ist_secret"


@pytest.mark.parametrize("token", ["ist_se\ncret", "ist_sécret", "a\x00b"])
def test_a_token_that_no_header_holds_is_refused_without_being_told(token):
    with pytest.raises(ValueError) as caught:
        Client("http://store.test", token)

    assert token not in str(caught.value) and "cret" not in str(caught.value)


def test_a_proxy_of_the_environment_is_named_when_it_fails(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://user:secret@127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    client = Client("http://store.test", "t")

    with pytest.raises(ConnectionFailed) as caught:
        client.export_task.get_export_task("m", "t")

    assert "through the HTTP proxy 127.0.0.1:9" in str(caught.value)
    assert "secret" not in str(caught.value)
