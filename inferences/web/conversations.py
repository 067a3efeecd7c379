"""Pages of conversations: the turns of one, a session as a timeline, and two compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db import OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from inferences.models import Inference, RegisteredModel
from inferences.search.filters import And, Filter, InSession, TimeWindow
from inferences.search.pagination import BadCursor, Page, Pagination
from inferences.search.query import InferenceQuery
from inferences.store.conversations import conversation_of, part_at
from inferences.store.reading import find_inference
from inferences.store.token_prices import prices_for
from inferences.web.access import visible_model
from inferences.web.conversation_panel import PLAIN, change_query, number_in
from inferences.web.record import detail
from inferences.web.view_models.conversations import (
    excerpt,
    last_user_text,
    rest_of_text,
    view_conversation,
)
from inferences.web.view_models.failed_calls import FailedCall, failed_call_of
from inferences.web.view_models.usage import (
    Figures,
    figures_of,
    sessions_of,
)
from inferences.web.view_models.word_diff import compare_words
from istore.db.replica import reads_replica
from istore.db.statement_timeout import statement_timeout
from istore.web.pages import render_page
from protocols.conversations import Conversation, answer_text, prompt_text
from protocols.text_requests import SESSION_KEYS

SESSION_PAGE = 20
BEFORE = 5  # shown before the inference that a link leads to
PREVIOUS_AMONG = 5  # rows of the same microsecond are few
COMPARED = ("answer", "prompt")
LAYOUTS = ("side", "inline")
TWO = "Select two inferences to compare their texts."


@login_required
@require_safe
def turns(request: HttpRequest, model_id: str, inference_id: str) -> HttpResponse:
    """Render further turns of a long conversation, or the rest of a long text."""
    model = visible_model(request, model_id)
    inference = find_inference(model, inference_id)
    if inference is None:  # the whole path may be an id that ends like this URL
        return detail(request, model_id, f"{inference_id}/turns")
    conversation = conversation_of(inference)
    if conversation is None:
        raise Http404
    context: dict[str, Any] = {"model": model, "inference": inference}
    if place := request.GET.get("part"):
        part = part_at(conversation, place)
        if part is None:
            raise Http404
        context["part"] = rest_of_text(part, place, number_in(request, "after"))
        partial = "inferences/conversations/_rest.html"
        page = "inferences/conversations/rest.html"
    else:
        context["conversation"] = view_conversation(
            conversation,
            first=number_in(request, "turns"),
            is_plain=request.GET.get("texts") == PLAIN,
        )
        partial = "inferences/conversations/_turns.html"
        page = "inferences/conversations/turns.html"
    return render_page(request, page, partial, context)


# -- a session


@dataclass(frozen=True, slots=True)
class Entry:
    """One inference of a session."""

    inference: Inference
    asked: str
    answered: str
    figures: Figures
    is_here: bool
    previous: str = ""  # the id of the one before it on the page
    failed: FailedCall | None = None


@login_required
@require_safe
@reads_replica
def session(request: HttpRequest, model_id: str) -> HttpResponse:
    """Render the inferences of a session, oldest first, some at a time."""
    model = visible_model(request, model_id)
    key, value = request.GET.get("key", ""), request.GET.get("value", "")
    if key not in SESSION_KEYS or not value or "\0" in value:
        raise Http404
    at = request.GET.get("at", "")
    cursor = request.GET.get("cursor") or None
    context: dict[str, Any] = {"model": model, "key": key, "value": value}
    context["from_beginning"] = urlencode({"key": key, "value": value})
    context["here"] = urlencode(
        {"key": key, "value": value, **({"at": at} if at else {})}
    )
    try:
        page, has_earlier = _session_page(model, value, at, cursor)
        context |= {
            "entries": _entries(model, page.inferences, at),
            "next": page.next and urlencode({"cursor": page.next}),
            "has_earlier": has_earlier or cursor,
        }
    except BadCursor:
        context["problem"] = "This link leads to no page of the session."
    except OperationalError:
        context["problem"] = "Finding the session takes too long."
    status = 400 if context.get("problem") else 200
    return render_page(
        request,
        "inferences/conversations/session.html",
        "inferences/conversations/_entries.html",
        context,
        status,
    )


def _session_page(
    model: RegisteredModel, session: str, at: str, cursor: str | None
) -> tuple[Page[Inference], bool]:
    """Return a page of a session, and whether there are more before its first.

    With ``at`` the pages begin a few before that inference, so that a link leads to it wherever it
    is in a long session.
    """
    filters: Filter = InSession(session)
    here = None if "\0" in at else at and find_inference(model, at)
    earlier: list[Inference] = []
    with statement_timeout():
        if here:
            before = And((filters, TimeWindow(end=here.created_at)))
            query = InferenceQuery(before, Pagination("desc", BEFORE + 2))
            found = query.page(model).inferences
            earlier = [each for each in found if each.id < here.id]
            filters = And((filters, TimeWindow(start=here.created_at)))
        query = InferenceQuery(filters, Pagination("asc", SESSION_PAGE, cursor=cursor))
        page = query.page(model)
    if not here:
        return page, False
    following = [each for each in page.inferences if each.id >= here.id]
    shown = [] if cursor else earlier[:BEFORE][::-1]
    return Page([*shown, *following], page.next), len(earlier) > BEFORE


def _entries(
    model: RegisteredModel, inferences: Sequence[Inference], at: str
) -> list[Entry]:
    prices = prices_for(model.project)
    entries: list[Entry] = []
    for inference in inferences:
        found = conversation_of(inference)
        choices = found.choices if found else ()
        entries.append(
            Entry(
                inference,
                last_user_text(found) if found else "",
                excerpt(choices[0]) if choices else "",
                figures_of(inference, found, prices),
                inference.inference_id == at,
                entries[-1].inference.inference_id if entries else "",
                failed_call_of(inference.payload),
            )
        )
    return entries


def previous_in_session(
    model: RegisteredModel, inference: Inference
) -> Inference | None:
    """Return the inference before this one in its session; None without one."""
    for _, value in sessions_of(inference):
        both: Filter = And(
            (
                InSession(value),
                TimeWindow(end=inference.created_at),
            )
        )
        query = InferenceQuery(both, Pagination("desc", PREVIOUS_AMONG))
        with statement_timeout():
            page = query.page(model).inferences
        earlier = [each for each in page if each.id < inference.id]
        if earlier:
            return earlier[0]
    return None


# -- two texts


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def compare(request: HttpRequest, model_id: str) -> HttpResponse:
    """Render the differences of two answers or prompts; POST takes the selection of a list."""
    model = visible_model(request, model_id)
    here = reverse("inferences:compare", args=[model.project, model.model_id])
    if request.method == "POST":
        ids = list(dict.fromkeys(request.POST.getlist("inference_id")))
        if len(ids) == 2 and request.POST.get("everything") != "true":
            return redirect(f"{here}?{urlencode({'a': ids[1], 'b': ids[0]})}")
        messages.error(request, TWO)
        return redirect("inferences:browse", model.project, model.model_id)
    second = _inference(model, request.GET.get("b", ""))
    if request.GET.get("a"):
        first: Inference | None = _inference(model, request.GET["a"])
    else:
        first = _previous(model, second)
    context: dict[str, Any] = {"model": model, "second": second, "first": first}
    if first is None:
        context["problem"] = "There is none before it in its session."
        return render(request, "inferences/conversations/compare.html", context)
    what = _one_of(request, "what", COMPARED)
    context |= {
        "what": what,
        "layout": _one_of(request, "layout", LAYOUTS),
        "difference": compare_words(_text(first, what), _text(second, what)),
        "kinds": [
            (each, change_query(request, what=each), each == what) for each in COMPARED
        ],
        "layouts": [
            (
                each,
                change_query(request, layout=each),
                each == request.GET.get("layout", "side"),
            )
            for each in LAYOUTS
        ],
        "swapped": change_query(request, a=second.inference_id, b=first.inference_id),
    }
    return render(request, "inferences/conversations/compare.html", context)


def _one_of(request: HttpRequest, name: str, choices: tuple[str, ...]) -> str:
    given = request.GET.get(name, choices[0])
    return given if given in choices else choices[0]


def _inference(model: RegisteredModel, inference_id: str) -> Inference:
    found = None if "\0" in inference_id else find_inference(model, inference_id)
    if found is None:
        raise Http404
    return found


def _previous(model: RegisteredModel, inference: Inference) -> Inference | None:
    try:
        return previous_in_session(model, inference)
    except OperationalError:
        return None


def _text(inference: Inference, what: str) -> str:
    conversation = conversation_of(inference) or Conversation()
    written = (
        answer_text(conversation) if what == "answer" else prompt_text(conversation)
    )
    return written.replace("\0", "\ufffd")
