"""The changelog and the version of the client tell the same."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_newest_release_has_the_version_of_the_client():
    headings = re.findall(r"^## (.*)", (ROOT / "CHANGELOG.md").read_text(), re.M)
    project = tomllib.loads((ROOT / "sdk/pyproject.toml").read_text())["project"]

    assert headings[0] == "Unreleased"
    assert headings[1].split()[0] == project["version"]
