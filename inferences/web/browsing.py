"""The browse page of a model's inferences: the list, its filters, its counts.

The first response holds only the list. Counts are fetched by separate requests (``facets``,
``part=count``) with a statement timeout, so that the list never waits for an aggregate.
"""

from __future__ import annotations

from dataclasses import dataclass
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

from inferences.models import Inference, RegisteredModel, SavedView
from inferences.models.row_ids import first_id_at, moment_of
from inferences.predictions.model_types import type_of
from inferences.search.filters import matching
from inferences.search.filters.metadata import READERS
from inferences.search.pagination import BadCursor, BadQuestion, Page
from inferences.search.query import InferenceQuery
from inferences.search.window_sort import WindowPage, page_of_window
from inferences.store.reading import join_payloads
from inferences.store.text_indexing import is_searched
from inferences.web import chosen_columns
from inferences.web.access import holds_role, visible_model
from inferences.web.errors import sentence
from inferences.web.list_markup import ListMarkup
from inferences.web.patch_markup import PatchMarkup
from inferences.web.saved import address_of
from inferences.web.table_markup import TableMarkup, value_page
from inferences.web.view_models import facets as counting
from inferences.web.view_models.activity import count_in_time
from inferences.web.view_models.browsing import Offer, cards, offer
from inferences.web.view_models.colours import colours_of
from inferences.web.view_models.facets import (
    choosers,
    key_facet,
    plain_key,
    preset_choices,
)
from inferences.web.view_models.groups import count_groups, group_choices
from inferences.web.view_models.legend import legend
from inferences.web.view_models.matches import detection_test
from inferences.web.view_models.panel_plots import key_plot, score_plot, volume_plot
from inferences.web.view_models.passages import passages_of, wanted_of
from inferences.web.view_models.patches import patches_of
from inferences.web.view_models.questions import Question, Row
from inferences.web.view_models.sorting import (
    fix_window,
    window_filters,
    window_value,
)
from inferences.web.view_models.table import table_of, usual_view
from istore.db.compiled_queries import CompiledQuery, parameter
from istore.db.replica import reads_replica
from istore.db.statement_timeout import statement_timeout
from istore.errors import StoreError
from istore.models import Role
from istore.web.pages import htmx_of, render_page

# Enough to fill a large screen; patches are of so many inferences.
PAGE_SIZES = {"gallery": 24, "table": 30, "patches": 48}
# Of small pictures a screen holds a multiple. A browser keeps the size that a person chose, and
# whether there is text below the pictures, in cookies: links say what is shown, not how large.
MULTIPLES = {1: 3, 2: 2}
SIZE_COOKIE, CAPTIONS_COOKIE = "thumbnails", "captions"
SIZES = range(1, 7)
GALLERY_SIZES = {"compact": 2, "": 3, "large": 5}  # by the density of the address
NEW_AT_ONCE = 24
SAVED_VIEWS = CompiledQuery(
    lambda: SavedView.objects.filter(registered_model=parameter("model")), None
)
# Row ids are times of events, and a slow inference is stored after quicker ones that
# began later. So live updates start this long before the newest row shown.
TAIL_SECONDS = 60


@login_required
@require_safe
@reads_replica
def browse(request: HttpRequest, model_id: str) -> HttpResponse:
    """Render the browse page of a model, or the part of it that is requested."""
    model = visible_model(request, model_id)
    if not request.GET and (first := model.saved_views.filter(is_default=True).first()):
        return redirect(address_of(first))
    question = Question(request.GET, usual_view=usual_view(model))
    part = request.GET.get("part")
    if part == "count":
        return _count(request, model, question)
    if part == "new":
        return _new(request, model, question)
    if part == "groups":
        return _groups(request, model, question)
    was_remembered = part is None and chosen_columns.recall(request, question)
    offered = offer(model)
    question.leave_out(offered.card_keys([]))
    here = reverse("inferences:browse", args=[model.project, model.model_id])
    address = f"{here}{question.pinned if question.cursor else question.link()}"
    counts = request.GET.get("counts") == "true"
    htmx = htmx_of(request)
    if (question.was_a_form or was_remembered) and not htmx:
        return redirect(_counting(address) if counts else address)
    size = picture_size(request, question)
    listed = _page(model, question, size)
    searches_texts = is_searched(model)
    context = {
        **_list(request, model, question, offered, listed, size),
        "finds_shapes": finds_shapes(model),
        "searches_texts": searches_texts,
        "field_names": question.field_names(searches_texts),
        "size": size,
        "captions": request.COOKIES.get(CAPTIONS_COOKIE) == "1",
        "offer": offered,
        "problem": listed.problem,
        "saved": SAVED_VIEWS.all(model=model.pk),
        "proxy_url": settings.ISTORE_PROXY_URL,
        "quoted": quote(model.model_id, safe=""),
        "groupings": group_choices(question, offered) if is_table(question) else [],
        "ungrouped": question.link(group=None),
        "usual_columns": question.link(columns=chosen_columns.USUAL, pinned=None),
        "count_address": _counting(address),
        "legend": legend(colours_of(model), question),
        "colours_page": _colours_page(model, question),
    }
    if counts:
        counted = _facets(model, question)
        labels = counted.labels if counted else ()
        context |= {"counts": True, "facets": counted}
        context["legend"] = legend(colours_of(model), question, labels)
        context |= _plots(model, question, counted)
    if question.group and counts:
        context |= _group_context(model, question)
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
    chosen_columns.remember(request, response, question)
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


def picture_size(request: HttpRequest, question: Question) -> int:
    """Return how large a gallery's pictures are: as chosen by the slider, or by the address."""
    chosen = request.COOKIES.get(SIZE_COOKIE, "")
    if chosen in map(str, SIZES):
        return int(chosen)
    return GALLERY_SIZES[question.density]


def cards_at_once(size: int) -> int:
    """Return how many cards a page of a gallery has."""
    return PAGE_SIZES["gallery"] * MULTIPLES.get(size, 1)


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


def _plots(
    model: RegisteredModel, question: Question, counted: counting.Facets | None
) -> dict[str, Any]:
    """Return the plots of the panel and of the bar; none if nothing was counted."""
    if counted is None:
        return {}
    return {
        "score_plot": score_plot(model, question, counted),
        "volume_plot": volume_plot(model, question, counted),
    }


def is_table(question: Question) -> bool:
    return question.view == "table"


@dataclass(frozen=True, slots=True)
class Listed:
    """A page of a list, or the kind of problem because of which it is empty.

    ``question`` is the one to link to further pages with. ``window`` says of how many matches a
    page is that is sorted within the newest of them.
    """

    page: Page[Inference]
    question: Question
    problem: str = ""
    window: WindowPage | None = None


def _list(
    request: HttpRequest,
    model: RegisteredModel,
    question: Question,
    offered: Offer,
    listed: Listed,
    size: int = GALLERY_SIZES[""],
) -> dict[str, Any]:
    page, shown = listed.page, offered.card_keys(question.shown_keys)
    if question.view == "patches":
        return _patches(model, listed, size) | {"shown": shown}
    passages = passages_of(model, page.inferences, wanted_of(question))
    made = cards(model, page.inferences, shown, detection_test(question), passages)
    context = {
        "model": model,
        "question": question,
        "shown": shown,
        "cards": made,
        "window": listed.window,
        "newest": page.inferences[0].id if page.inferences else 0,
    }
    onward: dict[str, list[str]] = {}
    if is_table(question):
        table = table_of(model, question, offered, made)
        may_edit = holds_role(request, Role.EDITOR, model)
        edit = value_page(model) if may_edit else ""
        markup = TableMarkup(model, listed.question.context, table, edit)
        # Further rows have the columns of the first ones.
        onward = {"columns": table.names}
        context |= {"table": table, "items": markup.rows(made)}
    else:
        context["items"] = ListMarkup(model, question.context).cards(made)
    context |= {
        "next": page.next
        and f"{listed.question.pinned_link(**onward)}&cursor={page.next}",
        "searched_until": page.searched_until,
        "tail": question.link(**onward),
    }
    return context


def _patches(model: RegisteredModel, listed: Listed, size: int) -> dict[str, Any]:
    question, page = listed.question, listed.page
    found = patches_of(model, page.inferences, question, detection_test(question))
    sizes = "160 320" if size <= GALLERY_SIZES[""] else "320 640"
    return {
        "model": model,
        "question": question,
        "cards": page.inferences,
        "patches": found,
        "window": listed.window,
        "items": PatchMarkup(model, question.context).patches(found.shown, sizes),
        "next": page.next and f"{question.pinned}&cursor={page.next}",
        "searched_until": page.searched_until,
        "newest": 0,
    }


def finds_shapes(model: RegisteredModel) -> bool:
    """Return whether the answers of a model may have shapes: by its type, or for want of one."""
    return not model.task_type or type_of(model.task_type).shape is not None


def _page(model: RegisteredModel, question: Question, size: int) -> Listed:
    """Return the page, or an empty one with the kind of problem."""
    empty: Page[Inference] = Page([], None)
    if question.group:
        return Listed(empty, question)
    limit = PAGE_SIZES[question.view]
    if question.view == "gallery":
        limit = cards_at_once(size)
    try:
        with statement_timeout():
            return _read(model, question, limit)
    except ValidationError:
        return Listed(empty, question, "filters")
    except BadCursor:
        return Listed(empty, question, "cursor")
    except BadQuestion as error:
        return Listed(empty, question, str(error))
    except StoreError as error:  # raised by the service that embeds a text
        return Listed(empty, question, sentence(error))
    except OperationalError:
        return Listed(empty, question, "slow")


def _read(model: RegisteredModel, question: Question, limit: int) -> Listed:
    if by := window_value(model, question):
        fixed = fix_window(model, question)
        pagination = question.pagination(limit)
        found = page_of_window(model, window_filters(fixed), by, pagination)
        return Listed(found.page, fixed, window=found)
    query = InferenceQuery(
        question.filters,
        question.pagination(limit),
        embedding=question.embedding,
        may_stop=True,
    )
    return Listed(query.page(model), question)


def _groups(
    request: HttpRequest, model: RegisteredModel, question: Question
) -> HttpResponse:
    """Render the groups of a table, which its page asks for by itself."""
    context = {"model": model, "question": question}
    context |= _group_context(model, question)
    return render(request, "inferences/_groups.html", context)


def _group_context(model: RegisteredModel, question: Question) -> dict[str, Any]:
    try:
        groups = count_groups(model, question.filters, question.group)
    except ValidationError:
        return {"groups": None, "problem": "filters"}
    except OperationalError:
        return {"groups": None, "problem": "slow"}
    return {"groups": groups, "are_counted": True}


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
    context = _list(request, model, question, offer(model), Listed(page, question))
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
@reads_replica
def facets(request: HttpRequest, model_id: str) -> HttpResponse:
    """Render the facets of the filter panel, and the volume over time."""
    model = visible_model(request, model_id)
    question = Question(request.GET, usual_view=usual_view(model))
    context: dict[str, Any] = {"model": model, "question": question}
    try:
        counted = counting.count_facets(model, question)
        page = reverse("inferences:browse", args=[model.project, model.model_id])
        context |= {
            "facets": counted,
            "legend": legend(colours_of(model), question, counted.labels),
            "page": page,
            **_plots(model, question, counted),
        }
    except ValidationError:
        return HttpResponse(status=204)
    except OperationalError:
        context["facets"] = None
    return render(request, "inferences/_facets.html", context)


@login_required
@require_safe
@reads_replica
def one_key(request: HttpRequest, model_id: str) -> HttpResponse:
    """Render the distribution of one metadata key's values over the matches."""
    model = visible_model(request, model_id)
    question = Question(request.GET, usual_view=usual_view(model))
    key, type_ = request.GET.get("of", ""), request.GET.get("of_type", "")
    if not key or type_ not in READERS:
        raise Http404
    context: dict[str, Any] = {"model": model, "question": question}
    try:
        context["facet"] = facet = key_facet(model, question, key, type_)
        context["plot"] = key_plot(model, question, facet)
    except ValidationError:
        return HttpResponse(status=204)
    except OperationalError:
        context |= {"facet": plain_key(question, key, type_), "is_slow": True}
    return render(request, "inferences/_key_facet.html", context)
