"""Scanner of text queries: reads from left to right and raises errors with their column."""

from __future__ import annotations

import re

BLANKS = re.compile(r"\s*")
QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
ESCAPED = re.compile(r"\\(.)", re.DOTALL)
SIGN = re.compile(r"\s*(!=|<=|>=|=|<|>)")
VALUE = re.compile(r'[^\s()"\[\],]+')


class TextQueryError(ValueError):
    """An error in a text query; ``column`` counts characters from 1."""

    def __init__(self, message: str, column: int) -> None:
        super().__init__(f"Column {column}: {message}")
        self.message = message
        self.column = column


class Scanner:
    """A text and the position up to which it has been read."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0

    @property
    def at_end(self) -> bool:
        """Return whether everything has been read."""
        return self.position == len(self.text)

    def error(self, message: str, position: int | None = None) -> TextQueryError:
        """Return the error for a position, by default the current one."""
        at = self.position if position is None else position
        return TextQueryError(message, at + 1)

    def skip_blanks(self) -> None:
        """Move the position behind any blanks."""
        if found := BLANKS.match(self.text, self.position):
            self.position = found.end()

    def sees(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """Return the match of the pattern at the current position, without reading it."""
        return pattern.match(self.text, self.position)

    def take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """Read what the pattern matches here and return the match, or None."""
        if found := self.sees(pattern):
            self.position = found.end()
        return found

    def takes(self, mark: str) -> bool:
        """Skip blanks and read the mark; return False if it is not there."""
        self.skip_blanks()
        if not self.text.startswith(mark, self.position):
            return False
        self.position += len(mark)
        return True

    def expect(self, mark: str) -> None:
        """Skip blanks and read the mark. Raises ``TextQueryError`` if it is not there."""
        if not self.takes(mark):
            raise self.error(f"{mark!r} is missing here.")

    def value(self) -> tuple[str, bool]:
        """Return a quoted or bare value, and whether it was quoted. Raises ``TextQueryError``."""
        self.skip_blanks()
        if found := self.take(QUOTED):
            return ESCAPED.sub(r"\1", found[1]), True
        if self.text.startswith('"', self.position):
            raise self.error("A quotation mark is never closed.")
        if found := self.take(VALUE):
            return found[0], False
        raise self.error("A value is missing here.")

    def values(self) -> list[tuple[str, bool]]:
        """Return the values of a list in brackets, each with whether it was quoted."""
        self.expect("[")
        values = [self.value()]
        while self.takes(","):
            values.append(self.value())
        self.expect("]")
        return values
