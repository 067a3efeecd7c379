"""One range of an object, as a file."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import Any

BLOCK = 256 * 1024  # read at once for readers that want little


class RangeFile(io.RawIOBase):
    """A range of an object, as a seekable file that is read when a reader asks.

    ``read_range`` returns the bytes of the object at an offset, exactly as many as it is told.
    ``check`` is called after each read of it, before its bytes are given out.
    """

    def __init__(
        self,
        read_range: Callable[[int, int], bytes],
        offset: int,
        length: int,
        check: Callable[[], None],
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__()
        self._read_range, self._check, self._on_close = read_range, check, on_close
        self._offset, self._length = offset, length
        self._position = 0

    def buffered(self) -> io.BufferedReader[Any]:
        """Return a file that reads this one in blocks. The first block is read by this call."""
        file = io.BufferedReader(self, max(1, min(BLOCK, self._length)))
        try:
            if self._length:
                file.peek(1)
            else:  # the object must be there all the same
                self._read_range(self._offset, 0)
        except BaseException:
            file.close()
            raise
        return file

    def close(self) -> None:
        if not self.closed:
            self._on_close()
        super().close()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._length}
        position = base[whence] + offset
        if position < 0:
            raise ValueError(f"There is no position {position} in a file.")
        self._position = position
        return position

    def readinto(self, buffer: Any) -> int:
        content = self._next(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def readall(self) -> bytes:  # that of the base class reads 8 KiB at a time
        return self._next(self._length)

    def _next(self, limit: int) -> bytes:
        length = min(limit, self._length - self._position)
        if length <= 0:
            return b""
        content = self._read_range(self._offset + self._position, length)
        self._check()
        self._position += length
        return content


def read_exactly(descriptor: int, offset: int, length: int) -> bytes:
    """Return this range of an open file. Raises ``EOFError`` if the file ends before."""
    content = os.pread(descriptor, length, offset)
    while len(content) < length:  # Linux returns 2 GiB at most
        more = os.pread(descriptor, length - len(content), offset + len(content))
        if not more:
            raise EOFError(f"{len(content)} of {length} bytes are there.")
        content += more
    return content
