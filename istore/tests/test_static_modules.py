"""Modules of scripts import each other by the names that a release gives them."""

from __future__ import annotations

import json
import re
from pathlib import Path

from django.core.management import call_command

OURS = Path(__file__).resolve().parents[2] / "static" / "js"
IMPORT = re.compile(r'^import .* from "([^"]+)";$', re.MULTILINE)


def test_imports_have_the_hashed_names(settings, tmp_path):
    settings.STATIC_ROOT = str(tmp_path)
    settings.STORAGES = {
        **settings.STORAGES,
        "staticfiles": {"BACKEND": "istore.web.static.StaticStorage"},
    }
    call_command("collectstatic", "--noinput", "--verbosity=0")
    names = json.loads((tmp_path / "staticfiles.json").read_text())["paths"]
    importing = {
        path.relative_to(OURS): found
        for path in OURS.rglob("*.js")
        if (found := IMPORT.findall(path.read_text()))
    }
    assert importing
    for path, imported in importing.items():
        released = tmp_path / names[f"js/{path}"]
        hashed = IMPORT.findall(released.read_text())
        assert len(hashed) == len(imported)
        for name, plain in zip(hashed, imported, strict=True):
            assert name != plain
            assert (released.parent / name).is_file()
