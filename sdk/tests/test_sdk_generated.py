"""The modules that ``sdk/generate.py`` writes are those that it would write now."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

GENERATE = Path(__file__).parents[1] / "generate.py"


def test_generated_modules_are_fresh(tmp_path):
    pytest.importorskip("ruff", reason="the formatter is not installed")
    script = runpy.run_path(str(GENERATE))
    paths = script["generate"](tmp_path)
    assert len(paths) > 15
    for path in paths:
        kept = script["PACKAGE"] / path.relative_to(tmp_path)
        assert kept.read_text() == path.read_text(), f"run sdk/generate.py: {kept}"
