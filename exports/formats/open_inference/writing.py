"""The base class of writers that write batches of a table to a file."""

from __future__ import annotations

from typing import IO, ClassVar

import pyarrow as pa


class Writer:
    """A writer for one file, which stays open when the writer is closed.

    ``about`` are facts that the file stores about itself, if its format can.
    """

    extension: ClassVar[str]

    def __init__(
        self, file: IO[bytes], schema: pa.Schema, about: dict[str, str]
    ) -> None:
        self.file = file
        self.schema = schema
        self.about = about

    def write(self, batch: pa.RecordBatch) -> None:
        """Write a batch, whose columns are those of the schema."""
        raise NotImplementedError

    def close(self) -> None:
        """Write the end of the file."""


def bytes_of(texts: pa.StringArray | pa.BinaryArray) -> memoryview:
    """Return all values one after the other; they lie so in the array's buffer."""
    _, offsets, content = texts.buffers()
    if content is None:
        return memoryview(b"")
    ends = memoryview(offsets).cast("i")
    first, last = ends[texts.offset], ends[texts.offset + len(texts)]
    return memoryview(content)[first:last]
