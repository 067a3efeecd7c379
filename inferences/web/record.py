"""The page of one inference, and its blobs and previews."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.db import OperationalError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.utils.safestring import SafeString
from django.views.decorators.http import require_safe

from inferences.models import (
    Inference,
    MetadataChange,
    MetadataType,
    RegisteredModel,
)
from inferences.previews.media import (
    serve_blob,
    serve_content,
    serve_preview,
    serve_preview_of,
)
from inferences.search import text as queries
from inferences.search.filters import And, InferenceFilter, TimeWindow
from inferences.search.pagination import BadQuestion, Pagination
from inferences.search.query import InferenceQuery
from inferences.search.vectors import EmbeddingFilter
from inferences.store.conversations import content_of, conversation_of, part_at
from inferences.store.notes import warnings_of
from inferences.store.reading import find_inference
from inferences.web.access import visible_inference, visible_model
from inferences.web.conversation_panel import conversation_context
from inferences.web.held_in import holdings_of
from inferences.web.list_markup import ListMarkup, write_passage
from inferences.web.view_models.answers import answer_of, text_of
from inferences.web.view_models.browsing import cards
from inferences.web.view_models.conversations import AUDIO_TYPES
from inferences.web.view_models.inputs import looks
from inferences.web.view_models.json_text import highlight
from inferences.web.view_models.matches import detection_test
from inferences.web.view_models.neighbours import neighbours
from inferences.web.view_models.passages import (
    IN_PAGE,
    PAGE_BYTES,
    passages_of,
    wanted_of,
)
from inferences.web.view_models.questions import Question
from inferences.web.view_models.timeline import timeline
from inferences.web.view_models.truths import truth_view
from istore.addresses import model_address
from istore.db.statement_timeout import statement_timeout
from istore.web.filenames import file_stem
from istore.web.pages import render_page

ROWS_SHOWN = 300
CHANGES_SHOWN = 50
SIMILAR_SHOWN = 8
JSON_OPEN_LINES = 60


@login_required
@require_safe
def detail(request: HttpRequest, model_id: str, inference_id: str) -> HttpResponse:
    """Render the page of one inference."""
    inference = visible_inference(request, model_id, inference_id)
    model, payload = inference.registered_model, inference.payload
    hash_ = bytes(inference.data_hash).hex()
    look = looks([inference])[inference.id]
    question = Question(request.GET)
    test = detection_test(question)
    answer = answer_of(model, inference, look.picture, from_blob=True, test=test)
    text = text_of(inference)
    written, is_whole = highlight(text)
    notes = payload.notes or {}
    truth = truth_view(model, inference, look.picture, answer)
    address = model_address(model.project.project_id, model.model_id)
    context = {
        "model": model,
        "inference": inference,
        "payload": payload,
        "look": look,
        "answer": truth.answer,
        "rows": truth.answer.found[:ROWS_SHOWN],
        "json": written,
        "json_is_whole": is_whole,
        "json_is_long": written.count("\n") > JSON_OPEN_LINES,
        "answer_size": (notes.get("answer") or {}).get("size") or len(text.encode()),
        "metadata": [(k, t, v) for k, (t, v) in sorted(payload.metadata.items())],
        "notes": notes,
        "warnings": warnings_of(notes),
        "timeline": timeline(notes),
        "hash": hash_,
        "neighbours": neighbours(model, inference, question),
        "question": question,
        "truth": truth,
        "passages": _passages(model, inference, question),
        "holdings": holdings_of(inference),
        "changes": _changes(model, inference),
        "types": list(MetadataType.values),
        "api_url": f"{settings.ISTORE_URL}/api/v1/{address}/inferences/"
        f"{quote(inference_id, safe='')}",
        "as_python": (repr(model.model_id), repr(inference_id)),
        "as_query": _as_query(inference, hash_),
        "may_compare": bool(model.embedding_size),
        "full": full_picture(payload.data_content_type),
        **conversation_context(request, model, inference, answer),
    }
    return render_page(
        request, "inferences/detail.html", "inferences/_inference.html", context
    )


def _passages(
    model: RegisteredModel, inference: Inference, question: Question
) -> list[SafeString]:
    """Return the passages in which the query of the list found its words."""
    found = passages_of(
        model, [inference], wanted_of(question), limit=IN_PAGE, bytes_limit=PAGE_BYTES
    )
    return list(map(write_passage, found.get(inference.id, ())))


def _changes(model: RegisteredModel, inference: Inference) -> list[MetadataChange]:
    rows = MetadataChange.objects.filter(registered_model=model, row_id=inference.id)
    return list(rows.order_by("-id")[:CHANGES_SHOWN])


def _as_query(inference: Inference, hash_: str) -> str:
    """Return a text query that finds the inference: by input hash and time.

    It also finds others of the same input in the same microsecond.
    """
    moment = inference.created_at
    return queries.write(
        And(
            (
                TimeWindow(moment, moment),
                InferenceFilter(data_hash=bytes.fromhex(hash_)),
            )
        )
    )


def full_picture(content_type: str) -> bool:
    """Return whether browsers can show a picture of this type as it is stored."""
    return content_type in ("image/png", "image/jpeg", "image/webp", "image/gif")


@login_required
@require_safe
def similar(request: HttpRequest, model_id: str, inference_id: str) -> HttpResponse:
    """Render a strip of the nearest inferences by embedding."""
    model = visible_model(request, model_id)
    if find_inference(model, inference_id) is None:
        return detail(request, model_id, f"{inference_id}/similar")
    query = InferenceQuery(
        pagination=Pagination("asc", SIMILAR_SHOWN + 1),
        embedding=EmbeddingFilter(similar_to=inference_id),
    )
    context: dict[str, Any] = {}
    try:
        with statement_timeout():
            page = query.page(model).inferences
        others = [
            inference for inference in page if inference.inference_id != inference_id
        ]
        found = cards(model, others[:SIMILAR_SHOWN], [])
        context["items"] = ListMarkup(model).strip(found)
    except (BadQuestion, OperationalError) as error:
        slow = isinstance(error, OperationalError)
        context["problem"] = "Finding them takes too long." if slow else str(error)
    return render(request, "inferences/_similar.html", context)


@login_required
@require_safe
def media(
    request: HttpRequest, model_id: str, inference_id: str, kind: str
) -> HttpResponseBase:
    """Return the stored input or answer, or a preview of the input.

    With ``part`` it is that part of the conversation: a preview of a picture, or its bytes.
    """
    model = visible_model(request, model_id)
    inference = find_inference(model, inference_id)
    if inference is None:  # the whole path may be an id that ends like this URL
        return detail(request, model_id, f"{inference_id}/{kind}")
    if place := request.GET.get("part"):
        return _media_of_part(request, inference, kind, place)
    if kind == "preview":
        return serve_preview(request, inference.payload.input_key)
    if kind == "part":
        raise Http404
    return serve_blob(request, inference, kind)


def _media_of_part(
    request: HttpRequest, inference: Inference, kind: str, place: str
) -> HttpResponseBase:
    """Return a picture, audio or a file from within the conversation of an inference."""
    conversation = conversation_of(inference)
    part = part_at(conversation, place) if conversation else None
    if part is None or kind not in ("preview", "part"):
        raise Http404
    content = content_of(part)
    if kind == "preview":
        return serve_preview_of(request, content)
    media_type = part.media_type.partition(";")[0].strip().lower()
    content_type = (
        media_type if media_type in AUDIO_TYPES else "application/octet-stream"
    )
    return serve_content(
        request, content, content_type, file_stem(part.name, part.kind)
    )
