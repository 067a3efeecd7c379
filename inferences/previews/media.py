"""Blobs over HTTP: what was stored as an attachment, pictures as previews of our making.

A stored input is somebody's bytes: it leaves as an attachment under a sandbox. What a
page shows inline is a raster image that was decoded and encoded again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from http import HTTPStatus
from typing import IO

from django.core import signing
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_safe

from inferences.models import Inference
from inferences.previews import pictures
from istore import blobs
from istore.api.problems import plain
from istore.web.filenames import file_stem

CHUNK = 256 * 1024
RANGE = re.compile(r"bytes=([0-9]{0,19})-([0-9]{0,19})")
SANDBOX = "sandbox; default-src 'none'"


def serve_blob(request: HttpRequest, inference: Inference, kind: str) -> HttpResponse:
    """The input or answer of an inference whose reader was checked before."""
    payload = inference.payload
    if kind == blobs.INPUT:
        key, content_type = payload.input_key, payload.data_content_type
    else:
        answer = (payload.notes or {}).get("answer") or {}
        key, content_type = payload.answer_storage_key, answer.get("content_type")
    if not key:
        raise Http404
    name = f"{file_stem(inference.inference_id, 'inference')}-{kind}"
    return serve(request, key, content_type or "application/octet-stream", name)


def serve_preview(request: HttpRequest, key: str) -> HttpResponse:
    """The picture under a key, made small to the ``size`` that the address asks for."""
    asked = request.GET.get("size", "320")
    if not key or asked not in map(str, pictures.SIZES):
        raise Http404
    size = int(asked)
    try:
        made = pictures.preview(key, size)
    except (FileNotFoundError, pictures.Unreadable):
        raise Http404 from None
    except pictures.Busy:
        return HttpResponse(status=503, headers={"Retry-After": "5"})
    tag = pictures.etag(key, size)
    if tag in request.headers.get("If-None-Match", ""):
        response = HttpResponse(status=304)
    else:
        response = HttpResponse(made, content_type="image/webp")
    response["ETag"] = tag
    # Who may see it can change: the browser asks again, and is told "as before".
    response["Cache-Control"] = "private, no-cache"
    return response


def serve(
    request: HttpRequest, key: str, content_type: str, filename: str
) -> HttpResponse:
    """The bytes under a key, whole or the one range that was asked for."""
    try:
        size = blobs.size(key)
        file = blobs.open_blob(key)
    except FileNotFoundError:
        raise Http404 from None
    first, last = 0, size - 1
    wanted = _range(request.META.get("HTTP_RANGE", ""), size)
    if wanted == ():
        response = HttpResponse(status=HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
        response["Content-Range"] = f"bytes */{size}"
        file.close()
        return response
    if wanted:
        first, last = wanted
    response = StreamingHttpResponse(
        part_of(file, first, last), content_type=content_type
    )
    if wanted:
        response.status_code = HTTPStatus.PARTIAL_CONTENT
        response["Content-Range"] = f"bytes {first}-{last}/{size}"
    response["Content-Length"] = last - first + 1
    response["Accept-Ranges"] = "bytes"
    response["Content-Disposition"] = content_disposition_header(True, filename)
    response["Content-Security-Policy"] = SANDBOX
    # A blob never changes, but who may see it does: the browser asks again.
    response["Cache-Control"] = "private, no-cache"
    return response


def _range(header: str, size: int) -> tuple[int, int] | tuple[()] | None:
    """First and last byte; None for the whole, () for what cannot be satisfied."""
    found = RANGE.fullmatch(header.strip())
    if not found or not any(found.groups()):
        return None  # absent, or of a kind we need not understand (RFC 9110, 14.2)
    start, end = found.groups()
    if not start:
        length = min(int(end), size)
        return (size - length, size - 1) if length else ()
    first, last = int(start), min(int(end or size - 1), size - 1)
    if end and int(end) < int(start):
        return None
    return (first, last) if first < size else ()


def part_of(file: IO[bytes], first: int, last: int) -> Iterator[bytes]:
    """The bytes between two places, both included; closes the file at the end."""
    with file:
        file.seek(first)
        left = last - first + 1
        while left > 0 and (chunk := file.read(min(CHUNK, left))):
            left -= len(chunk)
            yield chunk


@require_safe
def linked_blob(request: HttpRequest) -> HttpResponse:
    """The blob that a signed link opens, for whoever holds it, until it expires."""
    try:
        key = blobs.key_of_link(request.GET.get("signature", ""))
    except signing.SignatureExpired:
        return plain(403, "url-expired", "This link has expired.")
    except signing.BadSignature:
        return plain(403, "signature-invalid", "This link was not made here.")
    name = key.rpartition("/")[2]
    return serve(request, key, "application/octet-stream", name)
