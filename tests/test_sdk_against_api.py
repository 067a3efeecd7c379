"""The real client against the real API, over HTTP."""

from __future__ import annotations

import asyncio
import sys

import pytest
from inference_store import (
    Client,
    aio,
    cli,
    connection,
    errors,
    get_model,
    inference,
    metadata,
    models,
    register,
    to_pandas,
    upload,
)
from inference_store.metadata import get_data_hash, map_to_inference_store_metadata

from inferences.models import RegisteredModel
from istore.accounts.tokens import create_token
from istore.models import Role

EVERYTHING = models.NewGetInferencesRequest()


@pytest.fixture
def token(project) -> str:
    return create_token("sdk", project, Role.EDITOR)[1]


@pytest.fixture
def client(live_server, token):
    """A client that the module functions use."""
    connection.current = Client(live_server.url, token)
    yield connection.current
    connection.current.close()
    connection.current = None


def ids(found) -> list[str]:
    return [each.inference_id for each in found]


def registration(**fields) -> models.NewRegisterModelRequest:
    given = {
        "model_id": "harbour/detector",
        "project_id": "harbour",
        "task_type": models.TaskType.OBJECT_DETECTION,
    }
    return models.NewRegisterModelRequest(**given | fields)


def test_registers_a_model_and_changes_how_it_is_served(client, settings):
    settings.ISTORE_UPSTREAM_ALLOW = ["127.0.0.1:9000"]
    registered = register.register_model_for_inference_storage
    assert registered(request_body=registration()) == "harbour/detector"
    assert registered(request_body=registration()) == "harbour/detector"
    with pytest.raises(errors.Conflict) as raised:
        registered(request_body=registration(embedding_size=3))
    assert raised.value.code == "model-exists"

    model = get_model("harbour/detector")
    model.set_inference_server_settings(
        {"upstream_url": "http://127.0.0.1:9000", "enable_inference_storage": True}
    )
    found = register.get_registered_model("harbour/detector")
    assert found.enable_inference_storage is True
    assert found.upstream_url == "http://127.0.0.1:9000"
    assert model.proxy_url.startswith("http")
    assert [each.model_id for each in register.list_registered_models()] == [
        "harbour/detector"
    ]


def test_what_is_absent_is_none(client, model):
    assert register.get_registered_model("none") is None
    assert inference.get_inference("none", "none") is None
    assert inference.get_inference("yolo-harbour", "none") is None
    with pytest.raises(errors.NotFound):
        get_model("none")
    with pytest.raises(errors.NotFound):
        inference.count_inferences("none", EVERYTHING)


def test_finds_by_every_filter(client, make_inference):
    pose = {"angle": 10.5}
    made = {"camera": "north", "pose": pose}
    make_inference(
        made,
        detections=[("ship", 0.95)],
        inference_id="a/1",
        latitude=51.95,
        longitude=4.14,
    )
    make_inference({"camera": "south"}, detections=[("ship", 0.5)], inference_id="b")
    filters = models.BaseInferenceFilter(
        inference_action_filter=models.InferenceAction.DETECT,
        time_window_filter=models.TimeWindowFilter(start="2025-01-01T00:00:00Z"),
        metadata_filter=[
            models.MetadataFilter(
                key="pose.angle",
                type=models.MetadataFilterType.JSON_FLOAT,
                operator=models.MetadataFilterOperator.GREATER,
                value="10",
            ),
            models.MetadataFilter(
                key="camera", type="string", operator="in", value="[north, west]"
            ),
        ],
        deconstructed_inference_filter=models.DeconstructedInferenceFilter(
            labels=["ship"], minimum_score=0.9
        ),
        location_filter=models.GeolocationFilter(
            gps_coordinates_circle=models.GeoCircle(
                center=models.GeoPoint(latitude=51.95, longitude=4.14), radius=100
            )
        ),
    )
    request = models.NewGetInferencesRequest(filters=filters, presign=True)
    [found] = inference.filter_inferences("yolo-harbour", request)
    assert found.inference_id == "a/1"
    assert found.data_coordinates.latitude == 51.95
    assert {each.key: each.type for each in found.metadata} == {
        "camera": "string",
        "pose": "json",
    }
    assert inference.count_inferences("yolo-harbour", request) == 1
    one = inference.get_inference("yolo-harbour", "a/1", presign=True)
    assert one.inference_id == "a/1"
    assert one.data_hash == found.data_hash


def test_finds_by_trees_and_by_queries(client, make_inference):
    for camera, label, score in [
        ("n", "ship", 0.9),
        ("n", "car", 0.3),
        ("s", "car", 1),
    ]:
        detections = [(label, score)]
        make_inference(
            {"camera": camera}, detections=detections, inference_id=label + camera
        )
    north = models.Leaf(
        metadata_filter=[
            models.Comparison(
                key="camera", type="string", operator="starts with", value="n"
            )
        ]
    )
    doubted = models.Leaf(
        deconstructed_inference_filter=models.DetectionBounds(
            labels=["car"], below_score=0.5
        )
    )
    asked = [
        (north, ["shipn", "carn"]),
        (north & doubted, ["carn"]),
        (~(north & doubted), ["shipn", "cars"]),
        (~north | doubted, ["carn", "cars"]),
        ("meta.camera=n -score<0.5", ["shipn"]),
    ]
    for which, found in asked:
        name = "query" if isinstance(which, str) else "filter"
        request = models.NewGetInferencesRequest(**{name: which})
        page = inference.filter_inferences("yolo-harbour", request)
        assert sorted(each.inference_id for each in page) == sorted(found)
        assert inference.count_inferences("yolo-harbour", request) == len(found)
    statistics = metadata.get_metadata_statistics(
        "yolo-harbour",
        models.NewGetMetadataStatisticsRequest(
            key="camera", type="string", filter=~doubted
        ),
    )
    assert statistics.distribution == {"n": 1, "s": 1}
    every = models.BaseInferenceFilter()
    seen = models.NewExtendedMetadataRequest(key="seen", type="int", value="1")
    assert metadata.bulk_add_metadata("yolo-harbour", every, [seen], tree=doubted) == {
        "seen": 1
    }
    but = ["carn", "of nobody"]
    assert (
        inference.bulk_delete_inferences(
            "yolo-harbour", every, query="meta.seen=1", exclude_inference_ids=but
        )
        == []
    )
    gone = inference.bulk_delete_inferences("yolo-harbour", every, query="meta.seen=1")
    assert gone == ["carn"]
    assert inference.bulk_delete_inferences("yolo-harbour", every, tree=~north) == [
        "cars"
    ]


def test_finds_what_is_similar_to_an_inference(client, project, make_inference):
    model = RegisteredModel.objects.create(
        model_id="vectors",
        project=project,
        task_type="Image Embedding",
        embedding_size=2,
    )
    for name, vector in {"a": [1, 0], "b": [0.9, 0.1], "c": [0, 1]}.items():
        make_inference(embedding=vector, inference_id=name, to=model)
    request = models.NewGetInferencesRequest(
        embedding_filters=models.SimilarTo(similar_to="a")
    )
    page = inference.filter_inferences("vectors", request)
    assert [each.inference_id for each in page] == ["a", "b", "c"]


def test_walks_through_all_pages(client, make_inference):
    for number in range(5):
        make_inference(inference_id=str(number))
    page = inference.filter_inferences(
        "yolo-harbour",
        models.NewGetInferencesRequest(pagination=models.Pagination(limit=2)),
    )
    assert len(page) == 2 and page.next
    found = list(inference.iter_inferences("yolo-harbour", page_size=2))
    assert ids(found) == list("01234")
    frame = to_pandas(found)
    assert list(frame["inference_id"]) == list("01234")


def test_a_filter_that_is_not_valid_is_told_by_name(client, model):
    request = models.NewGetInferencesRequest(
        filters=models.BaseInferenceFilter(
            metadata_filter=[
                models.MetadataFilter(
                    key="frame", type="int", operator="=", value="many"
                )
            ]
        )
    )
    with pytest.raises(errors.ValidationError) as raised:
        inference.filter_inferences("yolo-harbour", request)
    assert raised.value.status == 400
    assert raised.value.code == "validation-error"
    assert raised.value.errors[0]["pointer"].startswith("/filters/metadata_filter/0")


def test_a_wrong_token_is_told(live_server, model):
    stranger = Client(live_server.url, "ist_wrong")
    with stranger, pytest.raises(errors.NotAuthenticated) as raised:
        stranger.inference.count_inferences("yolo-harbour", EVERYTHING)
    assert raised.value.status == 401


def collection(data: bytes, **metadata) -> models.NewInferenceAndMetadataCollection:
    places = map_to_inference_store_metadata(metadata)
    standard = models.NewStandardMetadataRequest(
        data_hash=get_data_hash(data),
        data_size=len(data),
        task_type=models.TaskType.OBJECT_DETECTION,
        inference_action=models.InferenceAction.DETECT,
        **places["standard_metadata"],
    )
    box = {"label": "ship", "score": 0.97, "xmin": 1, "ymin": 1, "xmax": 6, "ymax": 4}
    return models.NewInferenceAndMetadataCollection(
        object_detection=[box],
        metadata=models.NewMetadataCollectionRequest(
            standard_metadata=standard, extended_metadata=places["extended_metadata"]
        ),
    )


@pytest.fixture
def stored(client, model, settings, live_server):
    """An inference that was stored without the proxy."""
    settings.ISTORE_URL = live_server.url  # where upload links lead
    body = collection(b"picture", frame=13, data_source="quay-3")
    return inference.create_inference_storage_request(
        "yolo-harbour", "frame-13", b"picture", body, is_protected=True
    )


def test_stores_without_the_proxy(client, stored):
    assert (stored.inference_id, stored.is_protected) == ("frame-13", True)
    assert (stored.data_source, stored.metadata[0].value) == ("quay-3", "13")
    body = collection(b"picture", frame=14)
    again = inference.create_inference_storage_request
    with pytest.raises(errors.Conflict) as raised:
        again("yolo-harbour", "frame-13", b"picture", body)
    assert raised.value.code == "inference-exists"
    with pytest.raises(errors.NotFound, match="no model 'none'"):
        again("none", "frame-13", b"picture", body)


def test_stores_by_the_key_of_an_uploaded_collection(client, stored):
    grant = upload.upload_inference_and_metadata("yolo-harbour")
    upload.put_upload(grant, collection(b"picture", frame=1).encode())
    found = inference.create_inference_from_upload(
        "yolo-harbour", "frame-1", grant.metadata_storage_key
    )
    assert found.metadata[0].value == "1"


def test_stores_many_at_once(client, model):
    bodies = [
        models.NewInferenceStorageRequest(
            model_id="yolo-harbour", inference_id=str(n), data=collection(b"", frame=n)
        )
        for n in range(5)
    ]
    results = inference.create_inferences("yolo-harbour", bodies, batch_size=2)
    assert [each.status for each in results] == ["created"] * 5
    [again] = inference.create_inferences("yolo-harbour", bodies[:1])
    assert (again.status, again.is_stored) == ("exists", True)


def test_metadata_on_what_is_stored(client, stored):
    chip = models.NewExtendedMetadataRequest(key="chip/id", type="string", value="abc")
    at = {"model_id": "yolo-harbour", "inference_id": "frame-13"}
    assert metadata.create_metadata(**at, request_body=chip).value == "abc"
    with pytest.raises(errors.Conflict):
        metadata.create_metadata(**at, request_body=chip)
    changed = chip.model_copy(update={"value": "xyz"})
    assert metadata.replace_metadata(**at, request_body=changed).value == "xyz"
    assert {each.key: each.value for each in metadata.get_metadata(**at)} == {
        "frame": "13",
        "chip/id": "xyz",
    }
    counts = metadata.get_metadata_key_type_counts("yolo-harbour").counts
    assert counts == {"frame": {"int": 1}, "chip/id": {"string": 1}}
    found = metadata.get_metadata_statistics(
        "yolo-harbour",
        models.NewGetMetadataStatisticsRequest(
            key="frame", type=models.MetadataStatisticsType.INT
        ),
    )
    assert (found.count, found.min, found.max) == (1, 13, 13)
    assert metadata.delete_metadata(**at, key="chip/id") == "chip/id"
    assert metadata.delete_metadata(**at, key="chip/id") is None
    added = metadata.bulk_add_metadata(
        "yolo-harbour", models.BaseInferenceFilter(), [chip]
    )
    assert added == {"chip/id": 1}


def test_deletes_one_and_many(client, stored, make_inference):
    make_inference({"split": "validation"}, inference_id="v")
    split = models.MetadataFilter(
        key="split", type="string", operator="=", value="validation"
    )
    gone = models.BaseInferenceFilter(metadata_filter=[split])
    assert inference.bulk_delete_inferences("yolo-harbour", gone) == ["v"]
    assert inference.delete_inference("yolo-harbour", "frame-13") == "frame-13"
    assert inference.delete_inference("yolo-harbour", "frame-13") is None
    assert inference.count_inferences("yolo-harbour", EVERYTHING) == 0


def test_the_twin_finds_the_same(live_server, token, make_inference):
    make_inference(inference_id="a")

    async def ask() -> tuple[int, list[str]]:
        async with aio.AsyncClient(live_server.url, token) as client:
            number = await client.inference.count_inferences("yolo-harbour", EVERYTHING)
            found = client.inference.iter_inferences("yolo-harbour")
            return number, [each.inference_id async for each in found]

    assert asyncio.run(ask()) == (1, ["a"])


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        (["count", "yolo-harbour", "--metadata", "camera=north"], "1"),
        (["count", "yolo-harbour", "--until", "2025-06-01"], "2"),
        (
            ["find", "yolo-harbour", "--metadata", "camera=north", "--limit", "1"],
            "\ta\t",
        ),
        (["find", "yolo-harbour", "--label", "ship", "--min-score", "0.8"], "\ta\t"),
        (["find", "yolo-harbour", "label:ship meta.camera=north"], "\ta\t"),
        (["count", "yolo-harbour", "NOT meta.camera=north"], "1"),
        (["stats", "yolo-harbour", "camera", "-q", "label:ship"], "north"),
        (["delete", "yolo-harbour", "-q", "label:ship", "--yes"], "a"),
        (["show", "yolo-harbour", "a"], "camera"),
        (["models"], "yolo-harbour"),
    ],
)
def test_the_command_asks_the_store(
    live_server, token, make_inference, monkeypatch, capsys, arguments, printed
):
    make_inference({"camera": "north"}, detections=[("ship", 0.9)], inference_id="a")
    make_inference({"camera": "south"}, inference_id="b")
    monkeypatch.setenv("ISTORE_URL", live_server.url)
    monkeypatch.setenv("ISTORE_TOKEN", token)
    monkeypatch.setattr(sys, "argv", ["istore", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 0
    assert printed in capsys.readouterr().out
