"""The page of one inference, and what it shows of its blobs."""

from __future__ import annotations

from urllib.parse import quote

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from inferences import previews
from inferences.media import serve_blob
from inferences.models import Inference
from inferences.pages.access import visible_inference, visible_model
from inferences.presentation.answers import answer_of, text_of
from inferences.presentation.inputs import looks
from inferences.presentation.json_text import highlighted
from inferences.presentation.timeline import timeline
from inferences.querying import find_inference

ROWS_SHOWN = 300
JSON_OPEN_LINES = 60


@login_required
@require_safe
def detail(request: HttpRequest, model_id: str, inference_id: str) -> HttpResponse:
    inference = visible_inference(request, model_id, inference_id)
    model, payload = inference.registered_model, inference.payload
    look = looks([inference])[inference.id]
    answer = answer_of(model, inference, look.picture, from_blob=True)
    text = text_of(inference)
    written, is_whole = highlighted(text)
    notes = payload.notes or {}
    beside = model.inferences.live()
    context = {
        "model": model,
        "inference": inference,
        "payload": payload,
        "look": look,
        "answer": answer,
        "rows": answer.found[:ROWS_SHOWN],
        "json": written,
        "json_is_whole": is_whole,
        "json_is_long": written.count("\n") > JSON_OPEN_LINES,
        "answer_size": (notes.get("answer") or {}).get("size") or len(text.encode()),
        "metadata": [(k, t, v) for k, (t, v) in sorted(payload.metadata.items())],
        "notes": notes,
        "warnings": notes.get("warnings") or [],
        "timeline": timeline(notes),
        "hash": bytes(inference.data_hash).hex(),
        "newer": beside.filter(id__gt=inference.id).oldest_first().first(),
        "older": beside.filter(id__lt=inference.id).newest_first().first(),
        "api_url": f"{settings.ISTORE_URL}/api/v1/models/{quote(model_id, safe='')}"
        f"/inferences/{quote(inference_id, safe='')}",
    }
    return render(request, "inferences/detail.html", context)


@login_required
@require_safe
def media(
    request: HttpRequest, model_id: str, inference_id: str, kind: str
) -> HttpResponse:
    """The input or answer as it was stored, or a preview of the input."""
    model = visible_model(request, model_id)
    inference = find_inference(model, inference_id)
    if inference is None:  # an id of somebody's that ends like one of our addresses
        return detail(request, model_id, f"{inference_id}/{kind}")
    if kind == "preview":
        return _preview(request, inference)
    return serve_blob(request, inference, kind)


def _preview(request: HttpRequest, inference: Inference) -> HttpResponse:
    asked = request.GET.get("size", "320")
    key = inference.payload.data_storage_key
    if not key or asked not in map(str, previews.SIZES):
        raise Http404
    size = int(asked)
    try:
        made = previews.preview(key, size)
    except (FileNotFoundError, previews.Unreadable):
        raise Http404 from None
    except previews.Busy:
        return HttpResponse(status=503, headers={"Retry-After": "5"})
    tag = previews.etag(key, size)
    if tag in request.headers.get("If-None-Match", ""):
        response = HttpResponse(status=304)
    else:
        response = HttpResponse(made, content_type="image/webp")
    response["ETag"] = tag
    # Who may see it can change: the browser asks again, and is told "as before".
    response["Cache-Control"] = "private, no-cache"
    return response
