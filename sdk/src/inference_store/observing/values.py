"""Turn any value into JSON text of bounded size. Nothing here raises."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from itertools import islice
from typing import Any

VALUES_MAX = 10_000  # members of a value, counted at all depths
DEPTH_MAX = 20
CUT = "…"


class Bounded:
    """What is left of the bounds while one value is written."""

    def __init__(self, characters: int) -> None:
        self.characters = characters
        self.values = VALUES_MAX
        self.is_cut = False

    def write(self, value: Any) -> str:
        """Return the value as JSON text, with what is beyond the bounds left out."""
        try:
            return json.dumps(self._plain(value, DEPTH_MAX), ensure_ascii=False)
        except Exception as error:  # such as a property of a value that raises
            self.is_cut = True
            return json.dumps(f"<{type(value).__name__}: {type(error).__name__}>")

    def _plain(self, value: Any, depth: int) -> Any:
        self.values -= 1
        if value is None or isinstance(value, bool | int):
            return value
        if isinstance(value, float):
            return value if math.isfinite(value) else str(value)
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, bytes | bytearray | memoryview):
            return f"<{len(value)} bytes>"
        if depth == 0 or self.values <= 0 or self.characters <= 0:
            self.is_cut = True
            return CUT
        if hasattr(value, "model_dump"):  # pydantic, and the clients of language models
            return self._plain(value.model_dump(mode="json"), depth - 1)
        if is_dataclass(value) and not isinstance(value, type):
            pairs = ((each.name, getattr(value, each.name)) for each in fields(value))
            return self._members(pairs, depth)
        if isinstance(value, Mapping):
            return self._members(value.items(), depth)
        if isinstance(value, list | tuple | set | frozenset):
            return self._items(value, depth)
        return self._text(repr(value))

    def _members(self, pairs: Iterable[tuple[Any, Any]], depth: int) -> dict[str, Any]:
        found = {}
        for name, value in pairs:
            if self.values <= 0 or self.characters <= 0:
                self.is_cut = True
                break
            found[self._text(str(name))] = self._plain(value, depth - 1)
        return found

    def _items(self, values: Iterable[Any], depth: int) -> list[Any]:
        found = []
        for value in islice(values, VALUES_MAX + 1):
            if self.values <= 0 or self.characters <= 0:
                self.is_cut = True
                break
            found.append(self._plain(value, depth - 1))
        return found

    def _text(self, text: str) -> str:
        most = max(self.characters, 0)
        self.characters -= len(text)
        # Halves of surrogate pairs are no characters, and no JSON in UTF-8 holds them.
        plain = text[:most].encode("utf-8", "replace").decode()
        if len(text) > most:
            self.is_cut = True
            return plain + CUT
        return plain
