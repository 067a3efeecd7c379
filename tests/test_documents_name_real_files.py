"""What the documents for contributors name is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PATH = re.compile(r"`((?:[\w.-]+/)+[\w.*-]*|[\w-]+\.(?:txt|toml|yml))`")


def places(path: str) -> list[str]:
    """Templates are named as they are included, modules of any app below that app."""
    return [path, f"templates/{path}", f"*/{path}"]


def found(path: str) -> bool:
    return any(ROOT.glob(path.rstrip("/")))


@pytest.mark.parametrize(
    "document", ["CONTRIBUTING.md", "SECURITY.md", "docs/glossary.md", "docs/verify.md"]
)
def test_every_path_in_backticks_is_there(document):
    named = set(PATH.findall((ROOT / document).read_text()))

    assert sorted(path for path in named if not any(map(found, places(path)))) == []


def test_a_recipe_names_many_of_them():
    assert len(set(PATH.findall((ROOT / "CONTRIBUTING.md").read_text()))) > 50
