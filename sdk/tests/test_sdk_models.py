"""Requests are strict and exact, answers are read leniently."""

from __future__ import annotations

import json
from datetime import datetime, timezone

import pydantic
import pytest

from inference_store import metadata, models
from inference_store.requests import encode_json


def sent(body) -> object:
    return json.loads(encode_json(body))


def test_what_is_not_set_is_left_out():
    assert sent(models.NewGetInferencesRequest()) == {"filters": {}, "presign": False}


def test_filters_are_sent_under_their_names():
    request = models.NewGetInferencesRequest(
        filters=models.BaseInferenceFilter(
            inference_action_filter=models.InferenceAction.DETECT,
            metadata_filter=[
                models.MetadataFilter(
                    key="split", type="string", operator="=", value="validation"
                )
            ],
            location_filter=models.GeolocationFilter(
                gps_coordinates_circle=models.GeoCircle(
                    center=models.GeoPoint(latitude=1, longitude=2), radius=3
                )
            ),
        ),
        pagination=models.Pagination(limit=5, direction="desc", sort="score"),
    )
    assert sent(request) == {
        "filters": {
            "inference_action_filter": "detect",
            "metadata_filter": [
                {
                    "key": "split",
                    "operator": "=",
                    "type": "string",
                    "value": "validation",
                }
            ],
            "location_filter": {
                "gps_coordinates_circle": {
                    "center": {"latitude": 1.0, "longitude": 2.0},
                    "radius": 3.0,
                }
            },
        },
        "pagination": {"direction": "desc", "limit": 5, "sort": "score"},
        "presign": False,
    }


def test_what_is_set_to_an_empty_object_reaches_the_store():
    filters = models.BaseInferenceFilter(
        location_filter=models.GeolocationFilter(),
        time_window_filter=models.TimeWindowFilter(),
        metadata_filter=[],
        deconstructed_inference_filter=models.DeconstructedInferenceFilter(),
    )
    assert sent(models.NewGetInferencesRequest(filters=filters))["filters"] == {
        "location_filter": {},
        "time_window_filter": {},
        "metadata_filter": [],
        "deconstructed_inference_filter": {},
    }
    tree = ~models.Leaf() & models.Leaf(location_filter=models.GeolocationFilter())
    assert sent(models.NewGetInferencesRequest(filter=tree))["filter"] == {
        "and": [{"not": {}}, {"location_filter": {}}]
    }


def test_an_embedding_is_measured_by_cosine_unless_said_otherwise():
    assert sent(models.EmbeddingFilter(query_embedding=[1, 0])) == {
        "query_embedding": [1.0, 0.0],
        "distance_metric": "cosine",
    }


def test_an_array_is_an_embedding():
    numpy = pytest.importorskip("numpy")
    array = numpy.array([0.5, 1.0], dtype="float32")
    assert models.EmbeddingFilter(query_embedding=array).query_embedding == [0.5, 1.0]


def test_times_may_be_texts_or_datetimes():
    noon = datetime(2026, 1, 31, 12, tzinfo=timezone.utc)
    window = models.TimeWindowFilter(start=noon, end="2026-12-31")
    assert sent(window) == {"start": "2026-01-31T12:00:00+00:00", "end": "2026-12-31"}


@pytest.mark.parametrize("value", [13, "13"])
def test_a_number_may_be_the_value_of_metadata(value):
    item = models.NewExtendedMetadataRequest(key="frame", type="int", value=value)
    assert item.value == "13"


def test_a_misspelt_filter_is_refused_and_never_selects_all():
    with pytest.raises(pydantic.ValidationError, match="metadata_filters"):
        models.BaseInferenceFilter(metadata_filters=[])


def test_numbers_that_json_has_not_are_refused():
    with pytest.raises(ValueError, match="finite"):
        models.DeconstructedInferenceFilter(minimum_score=float("nan"))


def test_answers_keep_fields_that_are_unknown(row):
    inference = models.Inference.model_validate(row(colour="red"))
    assert inference.colour == "red"
    assert inference.data_size == 3
    assert inference.created_at.microsecond == 123456


def test_a_collection_is_encoded_without_what_is_not_set():
    collection = models.NewInferenceAndMetadataCollection(
        object_detection=[{"label": "Schiff ⚓", "score": None}],
        metadata=models.NewMetadataCollectionRequest(
            standard_metadata=models.NewStandardMetadataRequest(
                data_hash="ab",
                data_size=1,
                task_type="Object Detection",
                inference_action="detect",
            )
        ),
    )
    assert json.loads(collection.encode()) == {
        "object_detection": [{"label": "Schiff ⚓", "score": None}],
        "metadata": {
            "standard_metadata": {
                "data_hash": "ab",
                "data_size": 1,
                "task_type": "Object Detection",
                "inference_action": "detect",
            },
            "extended_metadata": [],
        },
    }


def test_metadata_finds_its_place_and_type():
    assert metadata.map_to_inference_store_metadata(
        {
            "latitude": 51,
            "longitude": 4.14,
            "data_source": "quay-3",
            "frame": 13,
            "gain": 0.5,
            "camera": "north",
            "pose": {"angle": 10.5},
        }
    ) == {
        "standard_metadata": {
            "latitude": 51.0,
            "longitude": 4.14,
            "data_source": "quay-3",
        },
        "extended_metadata": [
            {"key": "frame", "type": "int", "value": "13"},
            {"key": "gain", "type": "float", "value": "0.5"},
            {"key": "camera", "type": "string", "value": "north"},
            {"key": "pose", "type": "json", "value": '{"angle": 10.5}'},
        ],
    }


@pytest.mark.parametrize(
    "value", [True, None, object(), float("nan"), 2**63, {"a": float("inf")}, b"x"]
)
def test_what_has_no_type_is_refused_by_key(value):
    with pytest.raises(ValueError, match=r"^frame: "):
        metadata.map_to_inference_store_metadata({"frame": value})


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([], None),
        (["a"], "[a]"),
        (["a", "b c"], "[a, b c]"),
        ([1, 2.5], "[1, 2.5]"),
        (["a,b", "[c]", "d\\e"], r"[a\,b, \[c\], d\\e]"),
        ([" a "], "[\\ a\\ ]"),
        ([""], "[, ]"),
    ],
)
def test_values_for_the_operator_in(values, text):
    assert metadata.form_values_for_in_operator(values) == text


@pytest.mark.parametrize(
    ("kind", "values", "text"),
    [
        ("string", [], None),
        ("string", ["a", "b"], "[a, b]"),
        ("json.string", ["a,b", " [c]"], r"[a\,b, \ \[c\]]"),
        ("int", [1, -2, 3.0, "4"], "[1, -2, 3, 4]"),
        ("json.int", [2**63 - 1], "[9223372036854775807]"),
        ("float", [1, 2.5, 1e300], "[1.0, 2.5, 1e+300]"),
    ],
)
def test_a_filter_forms_the_values_of_its_type(kind, values, text):
    kind = models.MetadataFilterType(kind)
    assert models.MetadataFilter.form_values_for_in_operator(kind, values) == text


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("int", 1.5),
        ("int", "many"),
        ("int", 2**63),
        ("int", True),
        ("float", float("nan")),
        ("json.float", "x"),
        ("string", None),
    ],
)
def test_a_value_of_another_type_forms_no_list(kind, value):
    with pytest.raises(ValueError, match=r"of the type|64 bits"):
        models.MetadataFilter.form_values_for_in_operator(
            models.MetadataFilterType(kind), [value]
        )


@pytest.mark.parametrize(
    ("action", "data", "vector"),
    [
        ("embed", "[0.5, 1]", [0.5, 1]),
        ("embed", "[[0.5, 1]]", [0.5, 1]),
        ("embed", '{"embedding": [1, 2.5]}', [1, 2.5]),
        ("predict", '{"embedding": [1], "object_detection": []}', [1]),
        ("embed", '{"outputs": [{"name": "x", "data": [1, 2]}]}', [1, 2]),
        ("embed", '{"outputs": [{"name": "x", "data": ["[1, 2]"]}]}', [1, 2]),
        ("predict", '{"outputs": [{"name": "embedding", "data": [[3]]}]}', [3]),
        ("embed", '{"object": "list", "data": [{"embedding": [1]}]}', [1]),
        ("embed", "[[1], [2]]", None),  # of two inputs
        ("embed", None, None),
        ("embed", "", None),
        ("embed", "no json", None),
        ("embed", "[" * 100_000, None),
        ("embed", "[true]", None),
        ("detect", "[1, 2]", None),
        ("detect", '{"outputs": [{"name": "scores", "data": [1, 2]}]}', None),
    ],
)
def test_the_embedding_of_an_answer(row, action, data, vector):
    one = models.Inference.model_validate(row(inference_action=action, data=data))
    assert one.structured_embedding == vector


def test_metadata_are_encoded_without_what_is_not_set():
    standard = models.NewStandardMetadataRequest(
        data_hash="ab",
        data_size=1,
        task_type="Object Detection",
        inference_action="detect",
        data_source="Straße",
    )
    request = models.NewMetadataCollectionRequest(standard_metadata=standard)
    assert json.loads(request.encode()) == {
        "standard_metadata": {
            "data_hash": "ab",
            "data_size": 1,
            "task_type": "Object Detection",
            "inference_action": "detect",
            "data_source": "Straße",
        },
        "extended_metadata": [],
    }


def test_hash_of_data():
    assert metadata.get_data_hash(b"") == (
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    )
