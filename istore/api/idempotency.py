"""``Idempotency-Key``: a repeated POST gets the response of the first.

The key's row is committed before the work begins, and the response is kept in it for a day.
The same key with another request is a 422; a repeat while the first is in progress is a 409.
After a 5xx the row is deleted, so the call may be retried. The key of a call whose process died
stays "in progress" for the longest time a call may take (``AT_WORK``), and is then free.
"""

from __future__ import annotations

import hashlib
import re
from datetime import timedelta
from typing import Any

import orjson
from django.db.models import Q
from django.db.models.functions import Now
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from istore.errors import BadInput, Conflict, Unprocessable
from istore.models import IdempotentCall

HEADER = "Idempotency-Key"
FORM = re.compile(r"[\x21-\x7e]{1,255}")
KEPT = timedelta(hours=24)
AT_WORK = timedelta(minutes=10)
NOT_OURS_FROM = 500


class Repeated(Exception):
    """Raised for a request that was answered before; ``response`` is that answer."""

    def __init__(self, call: IdempotentCall) -> None:
        super().__init__(call.key)
        assert call.content is not None
        self.response = Response(orjson.loads(bytes(call.content)), status=call.status)


class IdempotentMixin(APIView):
    """Understands the header on POSTs; a view needs nothing else."""

    call: IdempotentCall | None = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        key = request.headers.get(HEADER)
        if request.method == "POST" and key is not None:
            self.call = _begin(request, key)

    def handle_exception(self, exc: Exception) -> Response:
        if isinstance(exc, Repeated):
            return exc.response
        return super().handle_exception(exc)

    def finalize_response(
        self, request: Request, response: Any, *args: Any, **kwargs: Any
    ) -> Any:
        call, self.call = self.call, None
        if call is not None:
            if response.status_code >= NOT_OURS_FROM:
                call.delete()
            else:
                call.status, call.content = (
                    response.status_code,
                    _write(response.data),
                )
                call.save(update_fields=["status", "content"])
        return super().finalize_response(request, response, *args, **kwargs)


def _begin(request: Request, key: str) -> IdempotentCall:
    """Return the new row of this call, in progress. Raises ``Repeated`` or a ``Problem``."""
    if not FORM.fullmatch(key):
        message = f"{HEADER} has 1 to 255 visible ASCII characters."
        raise BadInput("invalid-header", message)
    caller = f"token {request.auth.pk}" if request.auth else f"user {request.user.pk}"
    said = f"{request.method} {request.get_full_path()}\n".encode() + request.body
    fingerprint = hashlib.sha256(said).digest()
    mine = IdempotentCall.objects.filter(caller=caller, key=key)
    mine.filter(_out_of_date()).delete()
    call, new = IdempotentCall.objects.get_or_create(
        caller=caller, key=key, defaults={"fingerprint": fingerprint}
    )
    if new:
        return call
    if bytes(call.fingerprint) != fingerprint:
        message = f"This {HEADER} belongs to another request."
        raise Unprocessable("idempotency-key-reused", message)
    if call.status is None:
        message = "The first of these requests is still at work."
        raise Conflict("idempotency-in-progress", message)
    raise Repeated(call)


def _out_of_date() -> Q:
    died = Q(status=None, created_at__lt=Now() - AT_WORK)
    return died | Q(created_at__lt=Now() - KEPT)


def forget_old_calls() -> int:
    """Delete the rows whose time is over, and return how many. Beat calls it."""
    return IdempotentCall.objects.filter(_out_of_date()).delete()[0]


def _write(data: Any) -> bytes:
    return orjson.dumps(data, default=str)
