"""What the proxy says itself about a call of a session: in the API's form."""

from __future__ import annotations

import orjson

from istore.api.problems import CONTENT_TYPE, problem
from proxy.answers import Refused, Send, send_whole


async def send_problem(send: Send, refused: Refused) -> None:
    body = orjson.dumps(problem(refused.status, refused.code, str(refused)))
    content_type = (b"content-type", CONTENT_TYPE.encode())
    await send_whole(send, refused.status, [content_type, *refused.headers], body)
