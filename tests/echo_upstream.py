"""A model server for tests: answers at once, each answer its own.

``granian --interface asginl tests.echo_upstream:application``
"""

from __future__ import annotations

import hashlib
import json


async def application(scope, receive, send):
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    asked = json.loads(body) if body else {}
    digest = hashlib.sha256(body).hexdigest()
    output = {"name": "digest", "datatype": "BYTES", "shape": [1], "data": [digest]}
    answer = {"model_name": "echo", "id": asked.get("id"), "outputs": [output]}
    content = json.dumps(answer).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(content)).encode()),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": content})
