"""Error responses to calls of sessions, in the form of the REST API."""

from __future__ import annotations

import orjson

from istore.api.problems import CONTENT_TYPE, problem
from proxy.answers import Refused, Send, send_whole


async def send_problem(send: Send, refused: Refused) -> None:
    """Send the response of a ``Refused`` as ``application/problem+json``."""
    body = orjson.dumps(problem(refused.status, refused.code, str(refused)))
    content_type = (b"content-type", CONTENT_TYPE.encode())
    await send_whole(send, refused.status, [content_type, *refused.headers], body)
