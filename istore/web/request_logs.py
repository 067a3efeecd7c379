"""Two log lines for each request of the web server: its start and its end."""

from __future__ import annotations

import re
import secrets

import structlog
from django.http import HttpRequest
from django_structlog.middlewares import RequestMiddleware

from istore.web.client_address import came_from_trusted_proxy

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
log = structlog.get_logger(__name__)


class RequestLogMiddleware(RequestMiddleware):
    """Middleware that logs method, path, status, person and address.

    Nothing else of the request is logged. Queries contain signatures and searched values, and an
    erasure does not reach the log.
    """

    def prepare(self, request: HttpRequest) -> None:
        structlog.contextvars.bind_contextvars(
            request_id=_request_id(request), ip=request.META.get("REMOTE_ADDR", "")
        )
        self.bind_user_id(request)
        log.info("request_started", request=self.format_request(request))

    @staticmethod
    def format_request(request: HttpRequest) -> str:
        return f"{request.method} {request.path}"


def _request_id(request: HttpRequest) -> str:
    """Return the request id: that of a trusted proxy, so both logs can be joined, or a new one."""
    given: str = request.META.get("HTTP_X_REQUEST_ID", "")
    if came_from_trusted_proxy(request) and REQUEST_ID.fullmatch(given):
        return given
    return secrets.token_hex(16)
