"""Column names of OpenInference: ``:category.type[.specifier]:name``.

The rules are those of the reader of arize-phoenix 13.2.0, which rejects a whole file for one
column that breaks them: every column has this form, and two columns with one plain name must
belong to one embedding.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

CATEGORIES = ("id", "timestamp", "feature", "tag", "prediction", "actual")
SPECIFIERS = (
    "",
    "score",
    "label",
    "embedding",
    "raw_data",
    "link_to_data",
    "retrieved_document_ids",
    "retrieved_document_scores",
)
# Names that the reader gives a meaning of their own.
RESERVED = ("prompt", "response", "prediction_id", "timestamp")
FORM = re.compile(
    r":(?P<category>\w+)\.(?P<type>\[\w+\]|\w+)(?:\.(?P<specifier>\w+))?:(?P<name>.*)"
)
# The form's name ends at a line break, and tools cut a column's name at a NUL.
ESCAPED = re.compile(r"[\x00-\x1f\x7f%]")
PERCENT = re.compile("%([0-9A-F]{2})")


@dataclass(frozen=True, slots=True)
class ColumnName:
    """The parts of a column's name. ``name`` is the plain name; it is escaped when written."""

    category: str
    type: str
    specifier: str = ""
    name: str = ""

    def __str__(self) -> str:
        kind = f"{self.type}.{self.specifier}" if self.specifier else self.type
        return f":{self.category}.{kind}:{self.written_name}"

    @property
    def written_name(self) -> str:
        return escape(self.name)

    @classmethod
    def parse(cls, text: str) -> ColumnName:
        """Return the parts of a column's name. Raises ``ValueError`` if no reader accepts it."""
        found = FORM.fullmatch(text)
        if not found or found["category"] not in CATEGORIES:
            raise ValueError(f"{text!r} is not the name of a column.")
        specifier = found["specifier"] or ""
        if specifier not in SPECIFIERS:
            raise ValueError(f"{text!r}: {specifier!r} is no specifier.")
        return cls(found["category"], found["type"], specifier, plain(found["name"]))


def escape(name: str) -> str:
    """Return the name on one line; ``%`` and control characters become ``%25``, ``%0A``, …"""
    return ESCAPED.sub(lambda found: f"%{ord(found[0]):02X}", name)


def plain(written: str) -> str:
    """Return the name before ``escape``."""
    return PERCENT.sub(lambda found: chr(int(found[1], 16)), written)


def check(columns: Iterable[str]) -> None:
    """Raise ``ValueError`` unless a reader accepts columns of these names together."""
    names = [ColumnName.parse(column) for column in columns]
    twice = [str(name) for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(f"{twice[0]} is there twice.")
    groups: dict[str, list[ColumnName]] = {}
    for each in names:
        groups.setdefault(each.name, []).append(each)
    for name, group in groups.items():
        if name == "":
            if any(each.category not in ("id", "timestamp") for each in group):
                raise ValueError(f"{group[0]} has no name.")
        elif not any(each.specifier == "embedding" for each in group):
            if len(group) > 1:
                raise ValueError(f"Several columns are called {name!r}.")
            if name == "prompt":
                raise ValueError("A prompt needs a vector.")
