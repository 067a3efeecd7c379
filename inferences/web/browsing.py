"""The browse page of a model's inferences: the list, its filters, its counts.

The first response holds only the list. Counts are fetched by separate requests (``facets``,
``part=count``) with a statement timeout, so that the list never waits for an aggregate.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import quote, urlencode

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.db import OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_safe

from inferences.models import Inference, RegisteredModel
from inferences.models.row_ids import first_id_at, moment_of
from inferences.predictions.model_types import type_of
from inferences.search.filters import And, matching
from inferences.search.filters.ground_truth import TruthFilter
from inferences.search.filters.metadata import READERS
from inferences.search.pagination import BadCursor, BadQuestion, Page
from inferences.search.query import InferenceQuery
from inferences.store.reading import join_payloads
from inferences.web.access import visible_model
from inferences.web.errors import sentence
from inferences.web.list_markup import ListMarkup
from inferences.web.saved import address_of
from inferences.web.view_models import facets as counting
from inferences.web.view_models.activity import count_in_time
from inferences.web.view_models.browsing import Offer, cards, offer
from inferences.web.view_models.facets import (
    choosers,
    key_facet,
    plain_key,
    preset_choices,
)
from inferences.web.view_models.legend import legend
from inferences.web.view_models.matches import detection_test
from inferences.web.view_models.patches import patches_of
from inferences.web.view_models.questions import COLUMNS, Question, Row
from istore.db.statement_timeout import statement_timeout
from istore.errors import StoreError
from istore.web.pages import htmx_of, render_page

# Enough to fill a large screen; patches are of so many inferences.
PAGE_SIZES = {"gallery": 24, "table": 30, "patches": 48}
SORTED_BY_OVERLAP = (
    240  # inferences with ground truth, among which patches are sorted by IoU
)
# Of small pictures a screen holds a multiple. A browser keeps the size that a person chose, and
# whether there is text below the pictures, in cookies: links say what is shown, not how large.
MULTIPLES = {1: 3, 2: 2}
SIZE_COOKIE, CAPTIONS_COOKIE = "thumbnails", "captions"
SIZES = range(1, 7)
GALLERY_SIZES = {"compact": 2, "": 3, "large": 5}  # by the density of the address
NEW_AT_ONCE = 24
# Row ids are times of events, and a slow inference is stored after quicker ones that
# began later. So live updates start this long before the newest row shown.
TAIL_SECONDS = 60


@login_required
@require_safe
def browse(request: HttpRequest, model_id: str) -> HttpResponse:
    """Render the browse page of a model, or the part of it that is requested."""
    model = visible_model(request, model_id)
    if not request.GET and (first := model.saved_views.filter(is_default=True).first()):
        return redirect(address_of(first))
    question = Question(request.GET)
    part = request.GET.get("part")
    if part == "count":
        return _count(request, model, question)
    if part == "new":
        return _new(request, model, question)
    offered = offer(model)
    question.leave_out(offered.card_keys([]))
    here = reverse("inferences:browse", args=[model.project, model.model_id])
    address = f"{here}{question.pinned if question.cursor else question.link()}"
    counts = request.GET.get("counts") == "true"
    htmx = htmx_of(request)
    if question.was_a_form and not htmx:
        return redirect(_counting(address) if counts else address)
    size = _size(request, question)
    page, problem = _page(model, question, size)
    context = {
        **_list(model, question, offered, page, size),
        "finds_shapes": finds_shapes(model),
        "size": size,
        "captions": request.COOKIES.get(CAPTIONS_COOKIE) == "1",
        "offer": offered,
        "problem": problem,
        "saved": list(model.saved_views.all()),
        "proxy_url": settings.ISTORE_PROXY_URL,
        "quoted": quote(model.model_id, safe=""),
        "all_columns": [(n, t, n in question.columns) for n, t in COLUMNS.items()],
        "count_address": _counting(address),
        "legend": legend(model, question),
        "colours_page": _colours_page(model, question),
    }
    if counts:
        counted = _facets(model, question)
        labels = counted.labels if counted else ()
        context |= {"counts": True, "facets": counted}
        context["legend"] = legend(model, question, labels)
    if part == "more":
        return render(request, "inferences/_more.html", context)
    if request.headers.get("HX-Target") == "browse":
        response = _whole(request, model, question, offered, context)
    elif htmx and not htmx.boosted:
        response = render_page(
            request, "inferences/browse.html", "inferences/_results.html", context
        )
    else:
        response = _whole(request, model, question, offered, context)
    patch_vary_headers(response, ["HX-Request", "HX-Target"])
    if htmx and not htmx.history_restore_request:
        response["HX-Push-Url"] = address
    return response


def _whole(
    request: HttpRequest,
    model: RegisteredModel,
    question: Question,
    offered: Offer,
    context: dict[str, Any],
) -> HttpResponse:
    known = [(key.key, key.type) for key in offered.keys]
    counted = context.get("facets")
    context |= {
        "rows": [*question.other_rows(known), Row()],
        "keys": [plain_key(question, *place) for place in known],
        "presets": counted.presets if counted else preset_choices(question),
        "choosers": counted.choosers if counted else choosers(question),
    }
    return render(request, "inferences/browse.html", context)


def _size(request: HttpRequest, question: Question) -> int:
    """Return how large a gallery's pictures are: as chosen by the slider, or by the address."""
    chosen = request.COOKIES.get(SIZE_COOKIE, "")
    if chosen in map(str, SIZES):
        return int(chosen)
    return GALLERY_SIZES[question.density]


def _colours_page(model: RegisteredModel, question: Question) -> str:
    page = reverse("inferences:colours", args=[model.project, model.model_id])
    return f"{page}?{urlencode({'within': question.link()})}"


def _counting(address: str) -> str:
    """Return the URL of the page with facets in it, for browsers without JavaScript."""
    return f"{address}{'&' if '?' in address else '?'}counts=true"


def _facets(model: RegisteredModel, question: Question) -> counting.Facets | None:
    """Return the facets; None if there is nothing to count or it exceeds the timeout."""
    try:
        return counting.count_facets(model, question)
    except (ValidationError, OperationalError):
        return None


def _list(
    model: RegisteredModel,
    question: Question,
    offered: Offer,
    page: Page[Inference],
    size: int = GALLERY_SIZES[""],
) -> dict[str, Any]:
    shown = offered.card_keys(question.shown_keys)
    if question.view == "patches":
        return _patches(model, question, page, size) | {"shown": shown}
    made = cards(model, page.inferences, shown, detection_test(question))
    markup = ListMarkup(model, question.context)
    is_table = question.view == "table"
    return {
        "model": model,
        "question": question,
        "shown": shown,
        "cards": made,
        "items": markup.rows(made, question.columns)
        if is_table
        else markup.cards(made),
        "next": page.next and f"{question.pinned}&cursor={page.next}",
        "newest": page.inferences[0].id if page.inferences else 0,
    }


def _patches(
    model: RegisteredModel, question: Question, page: Page[Inference], size: int
) -> dict[str, Any]:
    found = patches_of(model, page.inferences, question, detection_test(question))
    sizes = "160 320" if size <= GALLERY_SIZES[""] else "320 640"
    return {
        "model": model,
        "question": question,
        "cards": page.inferences,
        "patches": found,
        "items": ListMarkup(model, question.context).patches(found.shown, sizes),
        "next": page.next and f"{question.pinned}&cursor={page.next}",
        "newest": 0,
    }


def finds_shapes(model: RegisteredModel) -> bool:
    """Return whether the answers of a model may have shapes: by its type, or for want of one."""
    return not model.task_type or type_of(model.task_type).shape is not None


def _page(
    model: RegisteredModel, question: Question, size: int
) -> tuple[Page[Inference], str]:
    """Return the page and "", or an empty page and the kind of problem."""
    limit = PAGE_SIZES[question.view]
    if question.view == "gallery":
        limit *= MULTIPLES.get(size, 1)
    try:
        filters = question.filters
        if question.sort == "iou":
            limit = SORTED_BY_OVERLAP
            filters = And((filters, TruthFilter("given")))
        query = InferenceQuery(
            filters,
            question.pagination(limit),
            embedding=question.embedding,
        )
        with statement_timeout():
            return query.page(model), ""
    except ValidationError:
        return Page([], None), "filters"
    except BadCursor:
        return Page([], None), "cursor"
    except BadQuestion as error:
        return Page([], None), str(error)
    except StoreError as error:  # raised by the service that embeds a text
        return Page([], None), sentence(error)
    except OperationalError:
        return Page([], None), "slow"


def _new(
    request: HttpRequest, model: RegisteredModel, question: Question
) -> HttpResponse:
    """Render what arrived since the row id ``after``, newest first.

    It may hold rows that the page shows already; its script leaves them out.
    """
    try:
        after = moment_of(int(request.GET.get("after", "")))
        since = first_id_at(after - timedelta(seconds=TAIL_SECONDS))
        found = matching(model, question.filters)
    except (ValueError, OverflowError, ValidationError):
        raise Http404 from None
    try:
        with statement_timeout():
            rows = found.filter(id__gt=since).newest_first()[:NEW_AT_ONCE]
            page = Page(join_payloads(model, list(rows)), None)
    except OperationalError:
        page = Page([], None)
    context = _list(model, question, offer(model), page)
    return render(request, "inferences/_more.html", context)


def _count(
    request: HttpRequest, model: RegisteredModel, question: Question
) -> HttpResponse:
    try:
        count = count_in_time(model, question.filters)
        context = {"count": count, "is_slow": count is None}
    except ValidationError:
        context = {}
    return render(request, "inferences/_count.html", context)


@login_required
@require_safe
def facets(request: HttpRequest, model_id: str) -> HttpResponse:
    """Render the facets of the filter panel, and the volume over time."""
    model = visible_model(request, model_id)
    question = Question(request.GET)
    context: dict[str, Any] = {"model": model, "question": question}
    try:
        counted = counting.count_facets(model, question)
        page = reverse("inferences:browse", args=[model.project, model.model_id])
        context |= {
            "facets": counted,
            "legend": legend(model, question, counted.labels),
            "page": page,
        }
    except ValidationError:
        return HttpResponse(status=204)
    except OperationalError:
        context["facets"] = None
    return render(request, "inferences/_facets.html", context)


@login_required
@require_safe
def one_key(request: HttpRequest, model_id: str) -> HttpResponse:
    """Render the distribution of one metadata key's values over the matches."""
    model = visible_model(request, model_id)
    question = Question(request.GET)
    key, type_ = request.GET.get("of", ""), request.GET.get("of_type", "")
    if not key or type_ not in READERS:
        raise Http404
    context: dict[str, Any] = {"model": model, "question": question}
    try:
        context["facet"] = key_facet(model, question, key, type_)
    except ValidationError:
        return HttpResponse(status=204)
    except OperationalError:
        context |= {"facet": plain_key(question, key, type_), "is_slow": True}
    return render(request, "inferences/_key_facet.html", context)
