"""Every promise has a failpoint, and every failpoint a test that breaks off there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PASSED = re.compile(r'\bfailpoint\(\s*"(?P<name>[a-z_.]+)"\s*\)')
DOTTED = re.compile(r"[a-z_]+\.[a-z_]+")
APPS = sorted(path.parent for path in ROOT.glob("*/__init__.py"))
SOURCES = [p for app in APPS for p in app.rglob("*.py") if "tests" not in p.parts]
TESTS = [
    path
    for app in APPS
    for path in app.rglob("*.py")
    if "tests" in path.parts and path != Path(__file__)
]
NAMES = sorted(
    {found["name"] for path in SOURCES for found in PASSED.finditer(path.read_text())}
)


def test_the_failpoints_are_found():
    assert len(NAMES) > 60
    assert {"tracking.committed", "proxy.spool_synced"} <= {*NAMES}


@pytest.fixture(scope="module")
def armed() -> set[str]:
    """What tests write as a text, in one piece or as a part of ``f"schedules.{step}"``."""
    return {name for path in TESTS for name in _named(ast.parse(path.read_text()))}


@pytest.mark.parametrize("name", NAMES)
def test_a_test_breaks_off_at_the_failpoint(name, armed):
    assert name in armed


def _named(tree: ast.Module) -> Iterator[str]:
    words = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    yield from (found for word in words for found in DOTTED.findall(word))
    beginnings = [
        part.value.rpartition(" ")[2]
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
        for part in node.values
        if isinstance(part, ast.Constant) and part.value.endswith(".")
    ]
    yield from (start + word for start in beginnings for word in words)
