"""Mocks: simulated answers that look real, and are the same for the same seed."""

from __future__ import annotations

import base64
import io
import json
import math
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from PIL import Image

from inference_store import mocks
from inference_store.local import mocks as of_the_platform
from inference_store.mocks.picture_sizes import picture_size


def picture(width=320, height=200, kind="PNG"):
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), (20, 40, 60)).save(buffer, format=kind)
    return buffer.getvalue()


REQUESTS = {
    "text": {"text": "A ship enters the harbour and"},
    "image": {"image": base64.b64encode(picture()).decode()},
    "features": {
        "features": {"draught": 7.5, "flag": "NL", "night": True, "age": None}
    },
}
EACH = pytest.mark.parametrize("name", sorted(mocks.registry))


def asked(name, **options):
    mock = mocks.create(name, options)
    return mock.infer(REQUESTS[mock.takes])


def test_the_registry_has_every_kind():
    assert sorted(mocks.registry) == [
        "chat",
        "image-classification",
        "object-detection",
        "oriented-detection",
        "segmentation",
        "tabular-classification",
        "tabular-regression",
        "text-completion",
        "text-embedding",
    ]
    assert of_the_platform is mocks
    assert mocks.find("TextCompletion") is mocks.TextCompletion


@EACH
def test_the_same_seed_and_request_give_the_same_answer(name):
    answers = [json.dumps(asked(name, seed=seed)) for seed in range(8)]
    assert answers == [json.dumps(asked(name, seed=seed)) for seed in range(8)]
    assert len(set(answers)) > 1


@EACH
def test_an_answer_fits_the_schema_of_the_interface(name):
    interface = mocks.registry[name].interface
    validator = Draft202012Validator(interface.outputSchema)
    for seed in range(20):
        validator.validate(asked(name, seed=seed))
    assert not validator.is_valid([{"other": 1}])


@EACH
@given(
    st.dictionaries(
        st.sampled_from(["text", "n", "messages", "image", "width", "features"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=5,
        ),
    )
    | st.none()
    | st.text()
)
@settings(max_examples=50, deadline=None)
def test_any_request_is_answered_or_refused_as_bad(name, request_):
    try:
        answer = mocks.registry[name]().infer(request_)
    except mocks.BadRequest as error:
        assert error.status == 400
    else:
        Draft202012Validator(mocks.registry[name].interface.outputSchema).validate(
            json.loads(json.dumps(answer, allow_nan=False))
        )


@EACH
def test_as_many_calls_fail_as_asked_for_and_the_same_ones_again(name):
    def failures():
        mock = mocks.create(name, {"error_rate": 0.3, "seed": 5})
        failed = []
        for _ in range(200):
            try:
                mock.infer(REQUESTS[mock.takes])
                failed.append(False)
            except mocks.SimulatedFailure as error:
                assert error.status == 503
                failed.append(True)
        return failed

    first = failures()
    assert 35 < sum(first) < 85
    assert failures() == first


def test_answers_take_their_time():
    mock = mocks.TextCompletion(latency=0.05, jitter=0.05)
    began = time.monotonic()
    mock.infer(REQUESTS["text"])
    assert time.monotonic() - began >= 0.05


@pytest.mark.parametrize(
    "options",
    [{"seeds": 1}, {"error_rate": 2}, {"latency": -1}, {"replies": 0}, {"seed": "x"}],
)
def test_options_that_are_none_are_refused(options):
    with pytest.raises(ValueError):
        mocks.create("text-completion", options)


@pytest.mark.parametrize(
    "name", ["", "os.system", "inference_store.mocks.Chat", "__init__"]
)
def test_a_name_that_is_not_in_the_registry_is_nothing(name):
    with pytest.raises(KeyError, match="There is no mock"):
        mocks.create(name)


def test_a_mock_of_ones_own_is_found_by_its_name(monkeypatch):
    monkeypatch.setattr(mocks, "registry", dict(mocks.registry))

    @mocks.register
    class Shouting(mocks.TextCompletion):
        name = "shouting"

        def answer(self, request):
            return [{"text": request["text"].upper()}]

    assert mocks.create("shouting").infer({"text": "a"}) == [{"text": "A"}]
    with pytest.raises(ValueError, match="already"):
        mocks.register(type("Other", (Shouting,), {}))


def test_completions_go_on_with_the_text():
    answer = mocks.TextCompletion(replies=3).infer({"text": "A ship"})
    assert len({each["text"] for each in answer}) > 1
    assert all(each["text"].startswith("A ship ") for each in answer)
    (short,) = mocks.TextCompletion().infer({"text": "A", "n": 1, "max_tokens": 2})
    assert len(short["text"].split()) == 3


def test_near_texts_have_near_embeddings():
    mock = mocks.TextEmbedding()
    answer = mock.infer(
        {"text": ["a ship in the harbour", "ships in a harbour", "boil two eggs"]}
    )
    ship, ships, eggs = (each["embedding"] for each in answer)
    near = sum(a * b for a, b in zip(ship, ships, strict=True))
    far = sum(a * b for a, b in zip(ship, eggs, strict=True))
    assert near > 0.5 > far
    for vector in (ship, ships, eggs, mock.vector("")):
        assert math.isclose(math.fsum(v * v for v in vector), 1)
    assert len(mocks.TextEmbedding(dimensions=8).vector("a")) == 8


@given(st.integers(1, 400), st.integers(1, 400), st.integers(0, 50))
@settings(max_examples=40, deadline=None)
def test_boxes_and_outlines_lie_inside_the_picture(width, height, seed):
    asked = {"image": picture(width, height)}
    for box in mocks.ObjectDetection(seed=seed).infer(asked):
        assert 0 <= box["xmin"] <= box["xmax"] <= width
        assert 0 <= box["ymin"] <= box["ymax"] <= height
    for found in mocks.Segmentation(seed=seed).infer(asked):
        for point in found["contours"][0]:
            assert 0 <= point["x"] <= width
            assert 0 <= point["y"] <= height


def test_mocks_of_pictures_find_something_in_most():
    asked = {"image": picture(320, 200)}
    for mock in (mocks.ObjectDetection, mocks.Segmentation):
        found = [mock(seed=seed).infer(asked) for seed in range(20)]
        assert sum(map(bool, found)) > 10


def test_oriented_boxes_lie_inside_however_they_are_turned():
    turned = set()
    for seed in range(50):
        for box in mocks.OrientedDetection(seed=seed, most=9).infer(REQUESTS["image"]):
            turned.add(round(box["r"], 1))
            c, s = abs(math.cos(box["r"])), abs(math.sin(box["r"]))
            half = (box["w"] * c + box["h"] * s) / 2, (box["w"] * s + box["h"] * c) / 2
            assert half[0] <= box["cx"] <= 1 - half[0]
            assert half[1] <= box["cy"] <= 1 - half[1]
    assert len(turned) > 5


def test_a_detector_finds_nothing_now_and_then():
    counts = {len(asked("object-detection", seed=seed)) for seed in range(60)}
    assert counts == set(range(6))


@pytest.mark.parametrize("name", ["image-classification", "tabular-classification"])
def test_the_scores_of_classes_add_up_to_one_and_the_best_is_first(name):
    scores = [each["score"] for each in asked(name, labels=["a", "b", "c"])]
    assert math.isclose(sum(scores), 1)
    assert scores == sorted(scores, reverse=True)


def test_rows_that_are_alike_have_values_that_are():
    mock = mocks.TabularRegression()

    def value(draught):
        return mock.infer({"features": {"draught": draught, "flag": "NL"}})[0]["value"]

    assert abs(value(7.5) - value(7.6)) < abs(value(7.5) - value(-20))
    (said,) = mock.infer({"features": [1, 2.5]})
    assert said["lower"] < said["value"] < said["upper"]


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "JPEG", "WEBP"])
def test_the_size_of_a_picture_is_read(kind):
    content = picture(123, 45, kind)
    assert picture_size(content) == (123, 45)
    for length in range(0, 40):
        picture_size(content[:length])  # what ends early is no error


def test_the_size_of_a_lossless_webp_is_read():
    buffer = io.BytesIO()
    Image.new("RGBA", (77, 99)).save(buffer, format="WEBP", lossless=True)
    assert picture_size(buffer.getvalue()) == (77, 99)
