"""A model server for tests that answers after some seconds, which the query says.

``granian --interface asginl tests.slow_upstream:application``
"""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qs

from tests.echo_upstream import application as echo


async def application(scope, receive, send):
    if scope["type"] == "http":
        asked = parse_qs(scope["query_string"].decode())
        await asyncio.sleep(float(asked.get("seconds", ["0"])[0]))
    await echo(scope, receive, send)
