"""Connections of threads that use the database now and then, and that nobody closes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection


@contextmanager
def connection_as_found() -> Iterator[None]:
    """Close this thread's connection afterwards if it had none before."""
    had_none = connection.connection is None
    try:
        yield
    finally:
        if had_none:
            connection.close()
