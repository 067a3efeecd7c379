"""Review: one inference after another of a list, to look at and to correct the ground truth.

The address holds the question of the list, and at which inference one is (``at``). A selection is
posted here and becomes such an address: of named inferences (``only``), or of all that match but
some (``skip``).
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from inferences.models import Inference, RegisteredModel
from inferences.search.pagination import BadQuestion
from inferences.search.query import InferenceQuery
from inferences.store.notes import warnings_of
from inferences.store.reading import find_inference
from inferences.web.access import visible_model
from inferences.web.conversation_panel import conversation_context
from inferences.web.errors import sentence
from inferences.web.record import ROWS_SHOWN, full_picture
from inferences.web.selection import select
from inferences.web.view_models.answers import answer_of
from inferences.web.view_models.inputs import looks
from inferences.web.view_models.matches import detection_test
from inferences.web.view_models.questions import Question
from inferences.web.view_models.review import NAMED_MAX, Chosen, review_of
from inferences.web.view_models.truths import truth_view
from istore.db.statement_timeout import statement_timeout
from istore.errors import StoreError
from istore.web.pages import render_page


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def review(request: HttpRequest, model_id: str) -> HttpResponse:
    """Render the review at one inference; a posted selection leads to its review."""
    model = visible_model(request, model_id)
    page = reverse("inferences:review", args=[model.project, model.model_id])
    if request.method == "POST":
        return _review_selection(request, model, page)
    question = Question(request.GET)
    given = request.GET
    chosen = Chosen(
        question,
        tuple(dict.fromkeys(given.getlist("only")[:NAMED_MAX])),
        tuple(dict.fromkeys(given.getlist("skip")[:NAMED_MAX])),
    )
    context: dict[str, Any] = {
        "model": model,
        "question": question,
        "listed": _list_of(model, question),
    }
    at = given.get("at", "")
    inference = find_inference(model, at) if at else None
    if inference is None:
        if at:
            messages.error(request, f"{at} is no longer there.")
        inference, problem = _first(model, chosen)
        context["problem"] = problem
    if inference is not None:
        context |= _at(request, model, inference, chosen, page)
    return render_page(
        request, "inferences/review.html", "inferences/_review.html", context
    )


def _list_of(model: RegisteredModel, question: Question) -> str:
    """Return the address of the list that is reviewed."""
    page = reverse("inferences:browse", args=[model.project, model.model_id])
    return f"{page}{question.context or '?view=gallery'}"


def _review_selection(
    request: HttpRequest, model: RegisteredModel, page: str
) -> HttpResponse:
    chosen = select(request)
    named = chosen.excluded if chosen.question else chosen.ids
    listed = Question.of_link(request.POST.get("query", ""))
    if len(named) > NAMED_MAX or not (named or chosen.question):
        words = (
            f"A review takes up to {NAMED_MAX} single inferences: select all that match, "
            "or fewer."
        )
        messages.error(request, words if named else "Nothing is selected.")
        return redirect(_list_of(model, listed))
    if chosen.question:
        return redirect(Chosen(chosen.question, skip=named).address(page))
    return redirect(Chosen(listed, only=named).address(page))


def _first(model: RegisteredModel, chosen: Chosen) -> tuple[Inference | None, str]:
    """Return the inference that a review begins with, or None and the reason."""
    if chosen.only:
        names = (find_inference(model, name) for name in chosen.only)
        return next(filter(None, names), None), ""
    question, skip = chosen.question, set(chosen.skip)
    try:
        query = InferenceQuery(
            question.filters,
            question.pagination(len(skip) + 1),
            embedding=question.embedding,
        )
        with statement_timeout():
            rows = query.page(model).inferences
    except ValidationError:
        return None, "A filter cannot be read."
    except BadQuestion as error:
        return None, str(error)
    except StoreError as error:  # raised by the service that embeds a text
        return None, sentence(error)
    except OperationalError:
        return None, "Finding the first takes too long: narrow the filter."
    return next((row for row in rows if row.inference_id not in skip), None), ""


def _at(
    request: HttpRequest,
    model: RegisteredModel,
    inference: Inference,
    chosen: Chosen,
    page: str,
) -> dict[str, Any]:
    look = looks([inference])[inference.id]
    test = detection_test(chosen.question)
    answer = answer_of(model, inference, look.picture, from_blob=True, test=test)
    truth = truth_view(model, inference, look.picture, answer)
    under_review = review_of(model, inference, chosen, page)
    counted = reverse("inferences:browse", args=[model.project, model.model_id])
    query = chosen.question.context.removeprefix("?") or urlencode({"view": "gallery"})
    return {
        "inference": inference,
        "payload": inference.payload,
        "look": look,
        "answer": truth.answer,
        "rows": truth.answer.found[:ROWS_SHOWN],
        "truth": truth,
        "warnings": warnings_of(inference.payload.notes),
        "full": full_picture(inference.payload.data_content_type),
        "review": under_review,
        "count_address": f"{counted}?{query}&part=count",
        **conversation_context(request, model, inference, answer),
    }
