"""Call a session on behalf of a person, with the pipelines of its interface."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

from istore.errors import Unavailable
from services import proxy_relay, sessions
from services.models import InferenceSession

ANSWER_BYTES = 1024**2
HEADERS = {"content-type": "application/json", "accept": "application/json"}


@dataclass(frozen=True, slots=True)
class Called:
    """The result of a call: the answer as JSON text, or a sentence that says why there is none."""

    text: str = ""
    error: str = ""
    seconds: float = 0.0
    recorded: str = ""
    inference_id: str = ""


def call(actor: object, session: InferenceSession, request: Any) -> Called:
    """Call the session, wait, and return the result, which says if the call failed.

    Raises ``Conflict`` if the session has ended.
    """
    from inference_store.adapters import create_pipeline

    service = session.service
    try:
        requests = list(create_pipeline(service.input_pipeline)([request]))
    except ValueError as error:
        return Called(error=f"The input pipeline: {error}")
    if len(requests) != 1:
        message = f"The input pipeline makes {len(requests)} requests of one."
        return Called(error=message)
    began = time.monotonic()
    try:
        secret = sessions.short_lived_token(actor, session)
        body = json.dumps(requests[0]).encode()
        connection, response = proxy_relay.ask(
            session, service.endpoint, secret, body, HEADERS
        )
        try:
            content = response.read(ANSWER_BYTES)
        finally:
            connection.close()
    except OSError as error:
        return Called(error=f"The answer broke off: {error}")
    except Unavailable as error:
        return Called(error=str(error))
    seconds = time.monotonic() - began
    if response.status >= 300:
        return Called(error=_describe(content, response.status), seconds=seconds)
    text, problem_text = _output(service.output_pipeline, content)
    return Called(
        text=text,
        error=problem_text,
        seconds=seconds,
        recorded=response.headers.get("inference-store", ""),
        inference_id=response.headers.get("inference-id", ""),
    )


def _output(pipeline: Any, content: bytes) -> tuple[str, str]:
    from inference_store.adapters import create_pipeline

    try:
        answer = json.loads(content)
    except ValueError:  # a stream, no JSON, or larger than the page shows
        return content.decode(errors="replace"), ""
    if pipeline:
        items = answer if isinstance(answer, list) else [answer]
        try:
            answer = list(create_pipeline(pipeline)(items))
        except ValueError as error:
            return "", f"The output pipeline: {error}"
    return json.dumps(answer, ensure_ascii=False), ""


def _describe(content: bytes, status: int) -> str:
    """Return the sentence of a problem, or of another form of error that servers use."""
    try:
        told = json.loads(content)
        said = told.get("detail") or told.get("error")
        said = said.get("message") if isinstance(said, dict) else said
    except (ValueError, AttributeError):
        said = None
    return f"{said or content[:500].decode(errors='replace')} ({status})"
