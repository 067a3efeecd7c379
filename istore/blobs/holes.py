"""Ranges of a file that are taken back: afterwards they read as zeros, and hold no block.

A hole gives back the whole blocks inside it. Members are often smaller than a block, so a range
is widened over zeros beside it, which are ranges that went before.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterable, Iterator
from typing import IO

from istore.blobs.durable_files import sync_file
from istore.blobs.range_file import read_exactly

KEEP_SIZE, PUNCH_HOLE = 0x01, 0x02  # modes of Linux's fallocate
UNSUPPORTED = (errno.EOPNOTSUPP, errno.ENOSYS, errno.ENODEV)
ZEROS_AT_ONCE = 1024**2

_libc = ctypes.CDLL(None, use_errno=True)
# glibc has ``fallocate64`` everywhere, musl may not, but its ``off_t`` always has 64 bits.
_fallocate = getattr(_libc, "fallocate64", None) or getattr(_libc, "fallocate", None)
if _fallocate:
    _fallocate.argtypes = (
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_int64,
        ctypes.c_int64,
    )


def erase_ranges(file: IO[bytes], ranges: Iterable[tuple[int, int]]) -> None:
    """Turn the ranges (offset, length) of a file into zeros, durable when this returns.

    The blocks inside are given back where the file system can. What lies beyond the end of the
    file is left out. Zeros are written by nobody else, so processes may do this side by side.
    """
    descriptor = file.fileno()
    size = os.fstat(descriptor).st_size
    for start, end in merge_ranges(ranges):
        if start < (end := min(end, size)):
            _erase(descriptor, start, end, size)
    sync_file(file)


def is_zero(content: bytes) -> bool:
    """Return whether every byte is zero."""
    return content == bytes(len(content))


def merge_ranges(
    ranges: Iterable[tuple[int, int]], gap: int = 0
) -> Iterator[tuple[int, int]]:
    """Yield the ranges as (start, end), in order, joined where at most ``gap`` lies between."""
    span: tuple[int, int] | None = None
    for offset, length in sorted(ranges):
        end = offset + length
        if span and offset <= span[1] + gap:
            span = span[0], max(span[1], end)
            continue
        if span:
            yield span
        span = offset, end
    if span:
        yield span


def _erase(descriptor: int, start: int, end: int, size: int) -> None:
    block = os.fstat(descriptor).st_blksize
    first, last = start - start % block, min(end + -end % block, size)
    if _range_is_zero(descriptor, first, start):
        start = first
    if _range_is_zero(descriptor, end, last):
        end = last
    if not _punch(descriptor, start, end - start):
        for position in range(start, end, ZEROS_AT_ONCE):
            zeros = bytes(min(ZEROS_AT_ONCE, end - position))
            while zeros:
                written = os.pwrite(descriptor, zeros, position)
                zeros, position = zeros[written:], position + written


def _range_is_zero(descriptor: int, start: int, end: int) -> bool:
    return is_zero(read_exactly(descriptor, start, end - start))


def _punch(descriptor: int, offset: int, length: int) -> bool:
    """Punch a hole, and return whether this file system can. Raises ``OSError``."""
    if _fallocate is None:
        return False
    while _fallocate(descriptor, PUNCH_HOLE | KEEP_SIZE, offset, length):
        number = ctypes.get_errno()
        if number in UNSUPPORTED:
            return False
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number))
    return True
