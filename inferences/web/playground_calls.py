"""Call a model through the proxy on behalf of a person at a page.

The proxy requires a token. Each call creates its own, which expires within minutes and is
revoked when the answer has arrived.
"""

from __future__ import annotations

import base64
import http.client
import json
import logging
import time
import uuid
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from django.conf import settings

from inferences.models import RegisteredModel
from inferences.predictions.model_types import type_of
from istore.accounts.tokens import create_token, revoke_token
from istore.db import clock
from istore.errors import Unavailable
from istore.models import Role

if TYPE_CHECKING:
    from django.contrib.auth.models import User

PATIENCE_SECONDS = 30
ANSWER_MAX_BYTES = 4 * 1024**2
UPSTREAM_KEY = "Upstream-Authorization"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Tried:
    """The result of a call. ``inference_ids`` were recorded; if none, ``why_not`` says why."""

    status: int
    text: str
    took: timedelta
    inference_ids: list[str] = field(default_factory=list)
    why_not: str = ""

    @property
    def is_answer(self) -> bool:
        return self.status == http.HTTPStatus.OK


def tensor_request(model: RegisteredModel, name: str, content: bytes | str) -> bytes:
    """Return a V2 request with one element: bytes in base64, a text as it is."""
    tensor: dict[str, Any] = {"name": name, "shape": [1], "datatype": "BYTES"}
    if isinstance(content, bytes):
        tensor["parameters"] = {"content_type": "base64"}
        tensor["data"] = [base64.b64encode(content).decode("ascii")]
    else:
        tensor["data"] = [content]
    request = {
        "id": f"try-{uuid.uuid4()}",
        "parameters": {"inference_action": type_of(model.task_type).action},
        "inputs": [tensor],
    }
    return json.dumps(request).encode()


def try_model(
    user: User, model: RegisteredModel, body: bytes, path: str = "", key: str = ""
) -> Tried:
    """Call the model, and return the proxy's answer, errors included.

    ``path`` is that of a text API below the model's address; without one it is a V2 call. ``key``
    is that of the model server, which goes with this call and is kept nowhere. Raises a 503 if
    the proxy does not answer.
    """
    seconds = (settings.ISTORE_UPSTREAM_TOTAL_SECONDS or 600) + PATIENCE_SECONDS
    expires_at = clock.now() + timedelta(seconds=seconds)
    token, secret = create_token(
        f"tried by {user}"[:255], model.project, Role.EDITOR, user, expires_at
    )
    try:
        headers = {
            "Authorization": f"Bearer {secret}",
            "Content-Type": "application/json",
        }
        if key:
            headers[UPSTREAM_KEY] = f"Bearer {key}"
        return _ask(model, headers, body, seconds, path)
    finally:
        revoke_token(token, user)


def _ask(
    model: RegisteredModel,
    headers: dict[str, str],
    body: bytes,
    seconds: float,
    below: str,
) -> Tried:
    parts = urlsplit(settings.ISTORE_PROXY_INTERNAL_URL)
    is_https = parts.scheme == "https"
    kind = http.client.HTTPSConnection if is_https else http.client.HTTPConnection
    name = quote(model.model_id, safe="")
    path = f"{parts.path.rstrip('/')}/" + (
        f"models/{name}/{below}" if below else f"v2/models/{name}/infer"
    )
    began = time.monotonic()
    with closing(kind(parts.hostname or "", parts.port, timeout=seconds)) as connection:
        try:
            connection.request("POST", path, body, headers)
            response = connection.getresponse()
            text = response.read(ANSWER_MAX_BYTES).decode("utf-8", "replace")
        except (OSError, http.client.HTTPException) as error:
            log.warning("The proxy does not answer: %s", type(error).__name__)
            raise Unavailable(
                "dependency-unavailable", "The proxy does not answer. Is it up?"
            ) from None
    took = timedelta(seconds=time.monotonic() - began)
    store = response.getheader("Inference-Store", "")
    ids = (response.getheader("Inference-Id") or "").split(",")
    recorded = store.strip() == "recorded"
    return Tried(
        response.status,
        text,
        took,
        [each.strip() for each in ids if each.strip()] if recorded else [],
        "" if recorded else store or "The proxy did not say that it was recorded.",
    )
