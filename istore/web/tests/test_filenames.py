from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from istore import blobs
from istore.web.filenames import file_stem


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (r"..\..\x", "x"),
        ("../../etc/passwd", "etc-passwd"),
        ("frame-13.png", "frame-13.png"),
        ("a\u202egnp.exe", "a-gnp.exe"),
        ('he said "b"\r\nX: y', "he-said--b---X--y"),
        ("Kai Straße", "Kai-Straße"),
        ("...", "inference"),
        ("\u200f", "inference"),
        ("x" * 1000, "x" * 80),
    ],
)
def test_what_a_download_is_called(text, name):
    assert file_stem(text, "inference") == name


@given(st.text())
def test_any_text_becomes_a_name_of_every_file_system(text):
    name = file_stem(text, "inference")
    assert name and len(name.encode()) <= 200
    assert not re.search(r'[\\/:*?"<>|\x00-\x1f]', name)
    assert name.strip(".-") == name


@pytest.mark.django_db
def test_inputs_and_answers_are_called_by_what_is_safe_of_their_ids(
    api, model, make_inference
):
    blobs.put("1/1/input", b"x")
    name = "..\\..\\a\u202egnp.exe"
    make_inference(inference_id=name, data_storage_key="1/1/input")

    answer = api.get(f"/api/v1/models/{model.model_id}/inferences/{name}/input")

    assert answer.status_code == 200
    message = answer["Content-Disposition"]
    assert message == 'attachment; filename="a-gnp.exe-input"'
    assert b"".join(answer.streaming_content) == b"x"
