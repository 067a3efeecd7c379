"""A short use of the database in a thread that may have no connection of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection


@contextmanager
def brief_use() -> Iterator[None]:
    """Close the connection afterwards if it was opened in this block.

    Blobs are read and deleted in threads of pools. Nobody would close what such a thread opened.
    """
    was_open = connection.connection is not None
    try:
        yield
    finally:
        if not was_open and not connection.in_atomic_block:
            connection.close()
