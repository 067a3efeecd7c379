"""Error responses to calls of sessions, in the form of the REST API."""

from __future__ import annotations

import orjson

from istore.api.problems import CONTENT_TYPE, problem
from proxy.answers import Refused


def in_problem(refused: Refused) -> tuple[str, bytes]:
    """Return the content type and the body of a ``Refused``: ``application/problem+json``."""
    body = orjson.dumps(problem(refused.status, refused.code, str(refused)))
    return CONTENT_TYPE, body
