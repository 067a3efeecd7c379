"""Who may send spans: a token of the store, as Bearer or as the password of Basic authentication.

Langfuse's clients send ``Basic <public key>:<secret key>``: the secret key is the token, and the
public key may be anything. Some exporters, LiteLLM's for one, send the value of
``OTEL_EXPORTER_OTLP_HEADERS`` as it is written, so ``Bearer%20<token>`` is read as well.
"""

from __future__ import annotations

import base64
import binascii
from urllib.parse import unquote

from django.http import HttpRequest

from istore.accounts.access import COUNTED, Caller
from istore.accounts.tokens import find_token
from istore.api import rate_limits
from istore.errors import Forbidden, RateLimited, StoreError
from istore.models import Role, Token


class NotAuthenticated(StoreError):
    """No valid token was sent."""

    status = 401


def sending_token(request: HttpRequest) -> Token:
    """Return the token of a call that may write to its project.

    Raises ``NotAuthenticated``, ``Forbidden`` or ``RateLimited``.
    """
    secret = _secret(request.META.get("HTTP_AUTHORIZATION", ""))
    if not secret:
        raise NotAuthenticated("not-authenticated", "Send a token of the store.")
    token = find_token(secret)
    if token is None:
        _limit(request, rate_limits.by_address(request.META.get("REMOTE_ADDR", "")))
        message = "The token is unknown, expired or revoked."
        raise NotAuthenticated("not-authenticated", message)
    _limit(request, rate_limits.by_token(token.pk))
    if not Caller(token=token).may(Role.EDITOR, token.project):
        raise Forbidden("permission-denied", "This needs the role editor.")
    return token


def _secret(header: str) -> str:
    scheme, _, given = unquote(header).partition(" ")
    given = given.strip()
    if scheme.lower() == "bearer":
        return given
    if scheme.lower() != "basic":
        return ""
    try:
        pair = base64.b64decode(given, validate=True).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return ""
    return pair.partition(":")[2]


def _limit(request: HttpRequest, caller: str) -> None:
    request.META[COUNTED] = True
    if wait := rate_limits.seconds_to_wait(caller):
        message = "These are more calls than a minute holds."
        raise RateLimited("rate-limited", message, retry_after=wait)
