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
