"""What writes batches of a table to a file; one subclass a format."""

from __future__ import annotations

from typing import IO, ClassVar

import pyarrow as pa


class Writer:
    """Made for one file, which stays open when the writer is closed.

    ``about`` are facts that the file keeps about itself, where its format has a place.
    """

    extension: ClassVar[str]

    def __init__(
        self, file: IO[bytes], schema: pa.Schema, about: dict[str, str]
    ) -> None:
        self.file = file
        self.schema = schema
        self.about = about

    def write(self, batch: pa.RecordBatch) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """Write what the file ends with."""
