"""Connections that a thread keeps from one request to the next."""

from __future__ import annotations

import select
from typing import Any

from django.db import connection


def close_ended_connection(**_: Any) -> None:
    """Close this thread's connection if the server has ended it, so that a new one is opened.

    The server says nothing on an idle connection but its end, so there is something to read: no
    query has to find out, and a restart of the database fails no later call.
    """
    kept = connection.connection
    if kept is None or kept.closed:
        return
    ready = select.poll()
    ready.register(kept.fileno(), select.POLLIN)
    if ready.poll(0):
        connection.close()
