"""Documents name files that are there: a move that forgets one sends newcomers astray."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TOP = {each.name for each in ROOT.iterdir() if each.is_dir()} - {".git", ".venv"}
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md")]
PATH = re.compile(r"`([\w.-]+/[\w./-]+\.(?:py|html|md|js|css|toml|sh))`")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_the_files_that_a_document_names_are_there(document):
    named = {
        path for path in PATH.findall(document.read_text()) if path.split("/")[0] in TOP
    }
    roots = (ROOT, ROOT / "templates")
    missing = [p for p in named if not any((root / p).exists() for root in roots)]
    assert missing == []
