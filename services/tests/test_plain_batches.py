from __future__ import annotations

import orjson
import pytest

from services.plain_batches import (
    comes_in_as_many,
    count_inputs,
    split_answer,
    split_inputs,
)

EMBEDDING = "Text Embedding"


def written(**members) -> bytes:
    return orjson.dumps(members)


def vectors(*places) -> bytes:
    rows = [
        {"object": "embedding", "index": each, "embedding": [each, 0.5]}
        for each in places
    ]
    return written(object="list", data=rows, model="m", usage={"total_tokens": 9})


@pytest.mark.parametrize(
    ("request_", "count"),
    [
        ({"input": ["a", "b", "c"]}, 3),
        ({"input": [[1, 2], [3]]}, 2),
        ({"input": [1, 2, 3]}, 1),  # the tokens of one text
        ({"input": "a"}, 1),
        ({"input": ["a"]}, 1),
        ({"input": []}, 1),
        ({"input": [{"role": "user", "content": "a"}] * 2}, 1),
        ({"messages": [{"role": "user", "content": "a"}] * 2}, 1),
        ({"prompt": ["a", "b"]}, 2),
        ({"prompt": ["a", "b"], "n": 2}, 1),
        ({"inputs": ["a", "b"]}, 2),
        ({"inputs": {"sentences": ["a", "b"]}}, 1),
        ([], 1),
    ],
)
def test_counts_what_is_asked(request_, count):
    assert count_inputs(orjson.dumps(request_), EMBEDDING) == count


@pytest.mark.parametrize("task_type", ["Ranking", "Time Series", "Object Detection"])
def test_models_of_other_things_are_asked_one(task_type):
    assert count_inputs(written(input=["a", "b"]), task_type) == 1


def test_each_input_is_a_request_of_its_own():
    found = split_inputs(written(model="m", input=["a", "b"]), EMBEDDING)
    assert [orjson.loads(each) for each in found] == [
        {"model": "m", "input": "a"},
        {"model": "m", "input": "b"},
    ]


def test_vectors_go_by_their_index():
    found = split_answer(written(input=["a", "b", "c"]), EMBEDDING, vectors(2, 0, 1), 3)
    values = [orjson.loads(each) for each in found]
    assert [each["data"][0]["embedding"][0] for each in values] == [0, 1, 2]
    assert [each["data"][0]["index"] for each in values] == [0, 0, 0]
    assert [each.get("usage") for each in values] == [{"total_tokens": 9}, None, None]


def test_lists_go_by_their_place():
    answer = orjson.dumps([[{"label": "A", "score": 0.9}], [{"label": "B"}]])
    found = split_answer(written(inputs=["a", "b"]), "Text Classification", answer, 2)
    assert orjson.loads(found[1]) == [[{"label": "B"}]]


@pytest.mark.parametrize(
    "answer", [vectors(0), vectors(0, 1, 2), vectors(0, 5), b"{}", b"[]", b"no JSON"]
)
def test_any_other_answer_is_whole(answer):
    assert not comes_in_as_many(written(input=["a", "b"]), EMBEDDING, answer, 2)


@pytest.mark.parametrize("depth", [300, 900])
def test_what_is_nested_deep_stops_nobody(depth):
    deep = b"[" * depth + b"]" * depth
    request = b'{"input":["a","b"],"user":%b}' % deep
    answer = b'{"data":[{"index":0,"x":%b},{"index":1}]}' % deep

    assert comes_in_as_many(request, EMBEDDING, answer, 2)
    assert len(split_inputs(request, EMBEDDING)) == 2
