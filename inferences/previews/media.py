"""Serve blobs over HTTP: stored bytes as attachments, pictures as previews made here.

A stored input is bytes from anyone, so it is served as an attachment under a sandbox
policy. A page shows only raster images inline, which were decoded and encoded again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from hashlib import sha256
from http import HTTPStatus
from typing import IO, TypeVar

from django.core import signing
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    StreamingHttpResponse,
)
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_safe

from inferences.models import Inference
from inferences.previews import pictures
from istore import blobs
from istore.errors import Forbidden
from istore.web.filenames import file_stem

CHUNK = 256 * 1024
RANGE = re.compile(r"bytes=([0-9]{0,19})-([0-9]{0,19})")
CROP = re.compile(",".join(["([0-9]{1,4})"] * 4), re.ASCII)
Response = TypeVar("Response", bound=HttpResponseBase)
SANDBOX = "sandbox; default-src 'none'"


def serve_blob(
    request: HttpRequest, inference: Inference, kind: str
) -> HttpResponseBase:
    """Return the input or answer of an inference. The caller must have checked access."""
    payload = inference.payload
    content_type: str | None
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
    """Return the preview of a picture, in the ``size`` that the query asks for.

    With ``crop`` it is of a part: left, top, right and bottom in thousandths of the picture.
    It answers 404 if there is no picture, or 204 with ``missing=empty``, for pages that do not
    know whether there is one; and 503 while all workers are busy.
    """
    size, crop = _size(request), _crop(request.GET.get("crop", ""))
    if not key:
        return _no_preview(request)
    tag = pictures.etag(key, size, crop)
    return _preview(request, lambda: pictures.preview(key, size, crop), tag)


def serve_preview_of(request: HttpRequest, content: bytes | None) -> HttpResponse:
    """Return the preview of a picture within a conversation, as ``serve_preview`` does."""
    size = _size(request)
    if content is None:
        return _no_preview(request)
    tag = f'"{sha256(content).hexdigest()[:32]}-{size}"'
    return _preview(request, lambda: pictures.preview_of(content, size), tag)


def serve_content(
    request: HttpRequest, content: bytes | None, content_type: str, filename: str
) -> HttpResponse:
    """Return bytes from within a conversation as an attachment, in a sandbox as blobs are."""
    if content is None:
        raise Http404
    tag = f'"{sha256(content).hexdigest()[:32]}"'
    if tag in request.headers.get("If-None-Match", ""):
        return _for_revalidation(HttpResponse(status=304), tag)
    response = HttpResponse(content, content_type=content_type)
    response["Content-Disposition"] = content_disposition_header(True, filename) or ""
    response["Content-Security-Policy"] = SANDBOX
    return _for_revalidation(response, tag)


def _size(request: HttpRequest) -> int:
    asked = request.GET.get("size", "320")
    if asked not in map(str, pictures.SIZES):
        raise Http404
    return int(asked)


def _preview(request: HttpRequest, make: Callable[[], bytes], tag: str) -> HttpResponse:
    try:
        made = make()
    except (FileNotFoundError, blobs.BlobDamaged, pictures.Unreadable):
        return _no_preview(request)
    except pictures.Busy:
        return HttpResponse(status=503, headers={"Retry-After": "5"})
    if tag in request.headers.get("If-None-Match", ""):
        response = HttpResponse(status=304)
    else:
        response = HttpResponse(made, content_type="image/webp")
    return _for_revalidation(response, tag)


def _crop(given: str) -> pictures.Crop | None:
    """Return the part of a picture; None for the whole. Raises ``Http404`` if it is none."""
    if not given:
        return None
    found = CROP.fullmatch(given)
    if found is None:
        raise Http404
    left, top, right, bottom = map(int, found.groups())
    if not (left < right <= 1000 and top < bottom <= 1000):
        raise Http404
    return left, top, right, bottom


def _no_preview(request: HttpRequest) -> HttpResponse:
    if request.GET.get("missing") != "empty":
        raise Http404
    return HttpResponse(status=204, headers={"Cache-Control": "no-store"})


def serve(
    request: HttpRequest, key: str, content_type: str, filename: str
) -> HttpResponseBase:
    """Return the bytes under a key, all of them or the one requested range.

    A blob never changes, so its ETag is made of its key. A range of another blob, as ``If-Range``
    tells, is answered with the whole of this one.
    """
    tag = f'"{sha256(key.encode()).hexdigest()[:32]}"'
    if tag in request.headers.get("If-None-Match", "") and blobs.exists(key):
        return _for_revalidation(HttpResponse(status=304), tag)
    try:
        size = blobs.size(key)
        file = blobs.open_blob(key)
    except FileNotFoundError:
        raise Http404 from None
    first, last = 0, size - 1
    is_of_this = request.headers.get("If-Range", tag) == tag
    wanted = _range(request.headers.get("Range", "") if is_of_this else "", size)
    if wanted == ():
        refused = HttpResponse(status=HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
        refused["Content-Range"] = f"bytes */{size}"
        file.close()
        return refused
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
    response["Content-Disposition"] = content_disposition_header(True, filename) or ""
    response["Content-Security-Policy"] = SANDBOX
    return _for_revalidation(response, tag)


def _for_revalidation(response: Response, tag: str) -> Response:
    """Let the browser ask each time, as access can change; it gets a 304 if nothing did."""
    response["ETag"] = tag
    response["Cache-Control"] = "private, no-cache"
    return response


def _range(header: str, size: int) -> tuple[int, int] | tuple[()] | None:
    """Return the first and last byte; None for the whole blob, () for an unsatisfiable range."""
    found = RANGE.fullmatch(header.strip())
    if not found or not any(found.groups()):
        return None  # absent, or a form that a server may ignore (RFC 9110, 14.2)
    start, end = found.groups()
    if not start:
        length = min(int(end), size)
        return (size - length, size - 1) if length else ()
    first, last = int(start), min(int(end or size - 1), size - 1)
    if end and int(end) < int(start):
        return None
    return (first, last) if first < size else ()


def part_of(file: IO[bytes], first: int, last: int) -> Iterator[bytes]:
    """Yield the bytes between two positions, both included; close the file at the end."""
    with file:
        file.seek(first)
        left = last - first + 1
        while left > 0 and (chunk := file.read(min(CHUNK, left))):
            left -= len(chunk)
            yield chunk


@require_safe
def linked_blob(request: HttpRequest) -> HttpResponseBase:
    """Return the blob of a signed link, to whoever has the link, until it expires."""
    try:
        key = blobs.key_of_link(request.GET.get("signature", ""))
    except signing.SignatureExpired:
        raise Forbidden("url-expired", "This link has expired.") from None
    except signing.BadSignature:
        raise Forbidden("signature-invalid", "This link was not made here.") from None
    there = blobs.current_key(key)
    if there is None:
        raise Http404  # the link outlives the inference
    name = key.rpartition("/")[2].replace("#", "-")
    return serve(request, there, "application/octet-stream", name)
