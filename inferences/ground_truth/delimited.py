"""Parse tables of text, as spreadsheets, pandas and databases write them.

They are UTF-8, with or without a byte order mark, or UTF-16, with any line ends. Cells are
separated by commas, semicolons, tabs or bars, which the first line decides, or a line
``sep=;`` before it as Excel writes it. Blanks around cells are removed. Rows whose cells are
all empty are skipped.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import IO

from inferences.ground_truth.joining import Refusal
from inferences.ground_truth.truths import TRUTH_MAX_BYTES
from istore.errors import BadInput, Invalid, StoreError

DELIMITERS = {",": ",", ";": ";", "\t": "\t", "|": "|"}
NAMED = {"comma": ",", "semicolon": ";", "tab": "\t", "bar": "|", **DELIMITERS}
HEADER_MAX_CHARS = 1_000_000
csv.field_size_limit(TRUTH_MAX_BYTES)

# The place of a row, for people, and its cells or why it is refused.
Row = tuple[str, list[str] | Refusal]


class DelimitedTable:
    """The header of a table in ``columns``; iterating yields its rows.

    Raises ``StoreError`` if the file is not text or not a table.
    """

    def __init__(
        self, file: IO[bytes], is_known: Callable[[str], bool], delimiter: str = ""
    ) -> None:
        # Bytes that do not decode raise: replacing them would change labels.
        self._text = io.TextIOWrapper(file, _encoding(file), newline="")
        self._skipped = 0
        try:
            first = self._first_line()
            if first.lower().startswith("sep=") and len(first.strip()) == 5:
                delimiter, first = delimiter or first[4], self._first_line()
            self.delimiter = delimiter or _delimiter(first, is_known)
            self._table = csv.reader(
                chain([first], self._text),
                delimiter=self.delimiter,
                strict=True,
                skipinitialspace=True,
            )
            header = next(self._table, [])
        except UnicodeError:
            raise _not_text() from None
        except csv.Error as error:
            raise self._broken(error) from None
        self.columns = [name.strip() for name in header]

    def __iter__(self) -> Iterator[Row]:
        width = len(self.columns)
        try:
            for number, cells in enumerate(self._table, 1):
                cells = [cell.strip() for cell in cells]
                if not any(cells):
                    continue
                place = f"row {number}"
                while len(cells) > width and not cells[-1]:
                    cells.pop()
                if len(cells) != width:
                    yield place, Refusal(place, f"It has not {width} columns.")
                else:
                    yield place, cells
        except UnicodeError:
            raise _not_text() from None
        except csv.Error as error:
            raise self._broken(error) from None

    def close(self) -> None:
        """Release the file without closing it."""
        self._text.detach()  # whoever opened the file closes it

    def _first_line(self) -> str:
        while line := self._text.readline(HEADER_MAX_CHARS):
            self._skipped += 1
            if line.strip():
                return line
        return ""

    def _broken(self, error: csv.Error) -> StoreError:
        line = self._skipped - 1 + self._table.line_num
        return BadInput("malformed-file", f"Line {line}: {error}.")


def delimiter_named(text: str) -> str:
    """Return the delimiter for a name or the character itself. Raises ``Invalid`` for others."""
    if text and text not in NAMED:
        raise Invalid(
            f"One of {', '.join(name for name in NAMED if name.isalpha())}.",
            "delimiter",
        )
    return NAMED.get(text, "")


def _encoding(file: IO[bytes]) -> str:
    """Return the encoding by the byte order mark, or by zero bytes in the first two characters."""
    start = file.tell()
    head = file.read(4)
    file.seek(start)
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if len(head) == 4 and head[1::2] == b"\0\0" and all(head[::2]):
        return "utf-16-le"
    if len(head) == 4 and head[::2] == b"\0\0" and all(head[1::2]):
        return "utf-16-be"
    return "utf-8-sig"


def _not_text() -> StoreError:
    detail = "The file is not UTF-8, and has no byte order mark of UTF-16."
    return BadInput("invalid-encoding", detail)


def _delimiter(line: str, is_known: Callable[[str], bool]) -> str:
    """Return the delimiter that splits the header into the most known column names."""

    def names(delimiter: str) -> tuple[int, int]:
        try:
            header: Sequence[str] = next(
                csv.reader([line], delimiter=delimiter, skipinitialspace=True), ()
            )
        except csv.Error:
            return 0, 0
        return sum(map(is_known, header)), len(header)

    return max(DELIMITERS, key=names)
