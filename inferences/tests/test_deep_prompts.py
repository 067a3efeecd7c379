"""Inputs that nest deeper than the forms of prompts do."""

from __future__ import annotations

import pytest

from inferences.predictions.parsers.prompts import read_prompt

LEVELS = 1000  # of the 1,024 that the parser of JSON takes
TURNS = b'{"messages": [{"content": %s}]}'


@pytest.mark.parametrize(
    "text",
    [
        b'{"prompt":' * LEVELS + b'"a"' + b"}" * LEVELS,
        TURNS % (b'[{"content":' * 500 + b'"a"' + b"}]" * 500),
        TURNS % (b'[{"type":"tool_result","content":' * 500 + b'"a"' + b"}]" * 500),
    ],
)
def test_a_prompt_that_is_nested_too_deeply_is_read_as_it_came(text):
    assert read_prompt(text.decode()) in ("a", text.decode())
