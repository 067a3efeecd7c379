"""Depth and weight of a JSON text, held against what a parser finds in it."""

from __future__ import annotations

import contextlib
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols import json_bounds
from protocols.json_bounds import TooDeep, TooManyValues, check_json

TEXTS = st.text(alphabet='a"\\[]{},:é', max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
    max_leaves=30,
)


def depth(value: Any) -> int:
    members = value.values() if isinstance(value, dict) else value
    if not isinstance(value, dict | list):
        return 0
    return 1 + max(map(depth, members), default=0)


def weight(value: Any) -> int:
    """Commas and colons and one, and four for each list or object."""
    if isinstance(value, dict):
        own = 4 + max(0, len(value) - 1) + len(value)
        return own + sum(weight(each) for each in value.values())
    if isinstance(value, list):
        return 4 + max(0, len(value) - 1) + sum(map(weight, value))
    return 0


@given(VALUES, st.integers(1, 70), st.booleans())
def test_what_a_text_holds_is_told_without_parsing_it(value, size, is_ascii):
    text = json.dumps(value, ensure_ascii=is_ascii).encode()
    was, json_bounds.SLICE = json_bounds.SLICE, size
    try:
        deep, heavy = depth(value), 1 + weight(value)
        check_json(text, deep, heavy)
        if deep:
            with pytest.raises(TooDeep):
                check_json(text, deep - 1, heavy)
        if heavy > 1:
            with pytest.raises(TooManyValues):
                check_json(text, deep, heavy - 1)
    finally:
        json_bounds.SLICE = was


@pytest.mark.parametrize(
    "text",
    [
        b"[" + b"[]," * 20_000_000 + b"[]]",
        b'"' + b'\\"' * 4_000_000 + b"[" * 100,
        b'"' * 4_000_000,
        b'"' + b"[" * 30_000_000 + b'"',
        b"\\" * 8_000_000 + b"[" * 100,
    ],
    ids=["lists", "open string", "quotes", "brackets in a string", "backslashes"],
)
def test_a_text_of_any_kind_is_measured_in_linear_time(text):
    began = time.thread_time()
    with contextlib.suppress(TooDeep, TooManyValues):
        check_json(text, 64, 4_000_000)
    assert time.thread_time() - began < 2
