"""The page of a model's inferences: the list, its filters, its count."""

from __future__ import annotations

from urllib.parse import quote

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_safe

from inferences.models import RegisteredModel
from inferences.pages.access import visible_model
from inferences.presentation.activity import count_in_time
from inferences.presentation.browsing import cards, offer
from inferences.presentation.questions import Question, Row
from inferences.querying import BadCursor, InferenceQuery, Page, Pagination
from istore.access import caller_of
from istore.models import Role
from istore.pages import render_page

PAGE_SIZES = {"gallery": 24, "table": 50}


@login_required
@require_safe
def browse(request: HttpRequest, model_id: str) -> HttpResponse:
    model = visible_model(request, model_id)
    question = Question(request.GET)
    offered = offer(model)
    question.leave_out(offered.shown([]))
    here = reverse("inferences:browse", args=[model.model_id])
    address = f"{here}?{question.query.urlencode()}"
    if question.was_a_form and not request.htmx:
        return redirect(address)
    if request.GET.get("part") == "count":
        return _count(request, model, question)
    problem, page = "", Page([], None)
    try:
        page = _page(model, question)
    except ValidationError:
        problem = "filters"
    except BadCursor:
        problem = "cursor"
    shown = offered.shown(question.shown_keys)
    context = {
        "model": model,
        "question": question,
        "offer": offered,
        "shown": shown,
        "rows": [*question.rows, Row()],
        "cards": cards(model, page.inferences, shown),
        "next": page.next and f"{question.link()}&cursor={page.next}",
        "problem": problem,
        "may_edit": caller_of(request).may(Role.EDITOR, model.project),
        "proxy_url": settings.ISTORE_PROXY_URL,
        "quoted": quote(model.model_id, safe=""),
    }
    response = render_page(
        request, "inferences/browse.html", "inferences/_results.html", context
    )
    if request.htmx and question.was_a_form:
        response["HX-Push-Url"] = address
    return response


def _page(model: RegisteredModel, question: Question) -> Page:
    limit = PAGE_SIZES[question.view]
    pagination = Pagination("desc", limit, cursor=question.cursor)
    query = InferenceQuery(question.filterset.inference_filter, pagination)
    return query.page(model)


def _count(
    request: HttpRequest, model: RegisteredModel, question: Question
) -> HttpResponse:
    try:
        count = count_in_time(model, question.filterset.inference_filter)
    except ValidationError:
        count = None
    return render(request, "inferences/_count.html", {"count": count})
