"""Base64 in ``data`` of the standard request: taken off where that is sure, and told."""

from __future__ import annotations

import base64
import string

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.open_inference import read_request, split

IMAGES = ("Object Detection", "Image Classification", "Oriented Object Detection")
TEXTS = ("Text Generation", "Text Classification", "Named Entity Recognition")
OTHERS = ("Tabular Classification", "Time Series", "Ranking", None)


def part(*data: str, **asked):
    (found,) = parts(*data, **asked)
    return found


def parts(*data: str, task_type: str | None = "Object Detection", **parameters):
    tensor = {
        "name": "x",
        "datatype": "BYTES",
        "shape": [len(data)],
        "data": list(data),
    }
    body = {"inputs": [tensor], "parameters": {"action": "predict"} | parameters}
    return split(read_request(orjson.dumps(body)), task_type)


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.mark.parametrize("task_type", IMAGES)
def test_of_an_image_model_it_is_taken_off(task_type):
    found = part("aGVsbG8=", task_type=task_type)

    assert found.data == b"hello"
    assert found.is_from_base64
    assert part(encoded(bytes(3)), task_type=task_type).data == bytes(3)


@pytest.mark.parametrize("task_type", TEXTS)
@pytest.mark.parametrize(
    "text", ["hello", "ship", "a ship", "Grüße, 日本", "line\nline"]
)
def test_of_a_text_model_readable_text_is_taken_out(task_type, text):
    found = part(encoded(text.encode()), task_type=task_type)

    assert found.data == text.encode()
    assert found.is_from_base64


@pytest.mark.parametrize("task_type", TEXTS)
@pytest.mark.parametrize(
    "text",
    [
        "ship", "Kilo", "King", "WiFi", "LinkedIn", "database", "2026", "abcd", "NASA",
        "a ship", "Hello World!", "Is it base64?", "code", "", "K2s4", encoded(b"\xff\xfe\0"),
    ],
)  # fmt: skip
def test_plain_text_is_left_as_it_is(task_type, text):
    found = part(text, task_type=task_type)

    assert found.data == text.encode()
    assert not found.is_from_base64


@pytest.mark.parametrize(
    "text", ["aGVsbG8", "aGVsbG8=\n", "aGVsbG9=", "aGVs bG8=", "aGVs-G8="]
)
def test_what_does_not_decode_strictly_is_left_as_it_is(text):
    assert part(text).data == text.encode()


@pytest.mark.parametrize("task_type", OTHERS)
def test_other_models_keep_their_texts(task_type):
    assert part("aGVsbG8=", task_type=task_type).data == b"aGVsbG8="


def test_a_request_that_says_otherwise_is_believed():
    assert part("aGVsbG8=", action=None).data == b"aGVsbG8="
    assert part("aGVsbG8=", action="dance").data == b"aGVsbG8="
    assert part("aGVsbG8=", content_type="str").data == b"aGVsbG8="
    found = part("aGVsbG8=", content_type="base64")
    assert found.data == b"hello" and not found.is_from_base64


def test_all_elements_are_taken_off_or_none():
    both = parts(encoded(b"hello"), encoded(b"world"), task_type="Text Generation")
    assert [each.data for each in both] == [b"hello", b"world"]
    mixed = parts(encoded(b"hello"), "a ship", task_type="Text Generation")
    assert [each.data for each in mixed] == [b"aGVsbG8=", b"a ship"]


@given(st.binary(min_size=1, max_size=300))
def test_any_bytes_of_an_image_model_come_out_as_they_were(data):
    assert part(encoded(data)).data == data


@given(st.text(string.ascii_letters + " .,!?'-äöü", min_size=1, max_size=60))
def test_words_of_people_are_never_mangled(text):
    """Letters and signs, in words of one case or with a capital at the beginning."""
    words = " ".join(each.capitalize() for each in text.split()) or "a"

    assert part(words, task_type="Text Generation").data == words.encode()
