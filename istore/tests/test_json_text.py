"""JSON is read by orjson only where the strict reader reads the same."""

from __future__ import annotations

import pytest

from istore import json_text
from istore.errors import BadInput
from istore.json_text import UNREAD, read_json

SAME = [
    '{"a": [1, 2.5, -0, -0.0, 1e5, true, null, ""]}',
    '{"time": "12:30:00", "a:b": {"c": ":"}}',
    '{"text": "\\"quoted\\" \\\\ \\/ \\n"}',
    '{"é": "€"}',
    "9007199254740993.0",
    "123456789012345678",
    "  [ ]  ",
]
LEFT_TO_THE_STRICT = [
    '{"a": 1, "a": 2}',
    '{"a": 1, "a": "\\u003a"}',
    '{"a": {"b": 1, "b": 1}}',
    "18446744073709551616",
    "-9223372036854775809",
    "NaN",
    "Infinity",
    "1e400",
    '"\\ud800"',
    '"\\u0000"',
    "\ufeff1",
    "[1,]",
    "",
]


@pytest.mark.parametrize("text", SAME)
def test_orjson_reads_what_the_strict_reader_reads(text):
    quickly = json_text._read_quickly(text.encode(), 64, 1000)
    strictly = json_text.STRICT.decode(text)
    assert quickly is not UNREAD
    assert repr(quickly) == repr(strictly)


@pytest.mark.parametrize("text", LEFT_TO_THE_STRICT)
def test_the_rest_is_left_to_the_strict_reader(text):
    assert json_text._read_quickly(text.encode(), 64, 1000) is UNREAD


@pytest.mark.parametrize("text", LEFT_TO_THE_STRICT[:3])
def test_a_name_that_stands_twice_is_refused(text):
    with pytest.raises(BadInput) as refusal:
        read_json(text.encode())
    assert refusal.value.code == "duplicate-key"


def test_a_whole_number_beyond_64_bits_stays_whole():
    assert read_json(b"18446744073709551616") == 2**64


def test_bounds_come_before_parsing():
    with pytest.raises(BadInput) as refusal:
        read_json(b"[" * 65 + b"]" * 65, depth=64)
    assert refusal.value.code == "json-too-deep"
