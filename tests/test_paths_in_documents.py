"""Documents name files that are there: a move that forgets one sends newcomers astray."""

import io
import re
import subprocess
import tokenize
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


def test_comments_and_docstrings_name_modules_that_are_there():
    """A name with the suffix of Python, with or without rooms, ends the path of a module."""
    listed = subprocess.run(
        ["git", "ls-files", "*.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    paths = [path for path in listed.stdout.split() if "/migrations/" not in path]
    ends = {"/" + path for path in paths}
    missing = []
    for path in paths:
        for token in tokenize.generate_tokens(
            io.StringIO((ROOT / path).read_text()).readline
        ):
            if token.type == tokenize.COMMENT or token.string.startswith('"""'):
                missing += [
                    (path, name)
                    for name in re.findall(
                        r"(?<![\w./-])((?:\w+/)*\w+\.py)\b", token.string
                    )
                    if not any(end.endswith("/" + name) for end in ends)
                ]
    assert missing == []
