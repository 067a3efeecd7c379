"""The receiver of OTLP over HTTP: ``POST /v1/traces``, in protobuf or JSON.

A 200 says that every span is stored durably, but for those that the partial success counts as
rejected. All else is a ``Status`` in the encoding of the request. Clients repeat a request after
429, 502, 503 and 504; a repeat stores what is not there yet.

https://opentelemetry.io/docs/specs/otlp/#otlphttp
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import IO, Any, cast

import orjson
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceResponse,
)

from istore.accounts.access import Caller
from istore.api.failures import as_store_error
from istore.api.problems import Problem, headers_of
from istore.db import clock
from istore.errors import BadInput, StoreError
from protocols.otlp import json_messages, messages
from protocols.otlp.spans import Spans, Unreadable
from protocols.otlp.wire import write_status
from traces.api.bodies import read_body
from traces.api.callers import sending_token
from traces.intake import Receipt, store_spans

PROTOBUF, JSON = "application/x-protobuf", "application/json"
PROTOBUF_TYPES = (PROTOBUF, "application/protobuf", "application/octet-stream")
REASONS_TOLD = 5
RETRY_SECONDS = 2
# The codes of gRPC for the statuses of HTTP: INVALID_ARGUMENT, UNAUTHENTICATED, …
CODES = {400: 3, 401: 16, 403: 7, 413: 8, 415: 3, 429: 8, 503: 14, 507: 14}
INTERNAL = 13

log = logging.getLogger(__name__)


@method_decorator(csrf_exempt, name="dispatch")
class TracesView(View):
    """Stores the spans of one ``ExportTraceServiceRequest``."""

    http_method_names = ["post"]
    takes_files = True  # a batch of long conversations is larger than other calls
    limit_setting = "ISTORE_OTLP_MAX_BYTES"  # of the body as it is sent, too
    passes_on = True  # it decompresses the body itself

    def post(self, request: HttpRequest) -> HttpResponse:
        is_json = request.content_type == JSON
        try:
            token = sending_token(request)
            sent = _read(request, is_json)
            receipt = store_spans(Caller(token=token), token.project, sent, clock.now())
        except Exception as error:
            ours = as_store_error(error)
            if ours is None:
                log.exception("Spans could not be stored")
                ours = Problem(
                    500, "internal-error", "Something went wrong on our side."
                )
            return _refuse(ours, is_json)
        return _respond(receipt, is_json)


def _read(request: HttpRequest, is_json: bool) -> Spans:
    if not is_json and request.content_type not in PROTOBUF_TYPES:
        detail = f"Send {PROTOBUF} or {JSON}."
        raise Problem(415, "unsupported-media-type", detail)
    body = read_body(
        cast(IO[bytes], request),  # it is read like a file
        request.META.get("HTTP_CONTENT_ENCODING", ""),
        settings.ISTORE_OTLP_MAX_BYTES,
    )
    try:
        if is_json:
            return json_messages.read_spans(
                body,
                depth=settings.ISTORE_JSON_MAX_DEPTH,
                values=settings.ISTORE_OTLP_MAX_VALUES,
            )
        return messages.read_spans(body)
    except Unreadable as error:
        raise BadInput("malformed-body", str(error)) from None


def _respond(receipt: Receipt, is_json: bool) -> HttpResponse:
    response = ExportTraceServiceResponse()
    if receipt.refused:
        response.partial_success.rejected_spans = len(receipt.refused)
        told = list(dict.fromkeys(receipt.refused))
        more = (
            f" And {len(told) - REASONS_TOLD} more reasons."
            if told[REASONS_TOLD:]
            else ""
        )
        response.partial_success.error_message = " ".join(told[:REASONS_TOLD]) + more
    if is_json:
        return HttpResponse(json_format.MessageToJson(response, indent=None), JSON)
    return HttpResponse(response.SerializeToString(), PROTOBUF)


def _refuse(error: StoreError, is_json: bool) -> HttpResponse:
    """Return a ``Status``. What may succeed later is a 503, the one that clients repeat."""
    status = int(error.status)
    headers: dict[str, Any] = headers_of(error)
    if status == HTTPStatus.INSUFFICIENT_STORAGE:
        status = HTTPStatus.SERVICE_UNAVAILABLE
    if status in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS):
        headers.setdefault("Retry-After", str(RETRY_SECONDS))
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Bearer, Basic realm="inference store"'
    code, message = CODES.get(status, INTERNAL), str(error)
    if is_json:
        body = orjson.dumps({"code": code, "message": message})
        return HttpResponse(body, JSON, status, headers=headers)
    return HttpResponse(write_status(code, message), PROTOBUF, status, headers=headers)
