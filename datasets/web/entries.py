"""The gallery of a version, the page of one entry, and what is done with entries."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.db import OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_POST, require_safe

from datasets import distribution, lifecycle, listing
from datasets.entry_filters import entries_matching
from datasets.models import Dataset, DatasetEntry
from datasets.web.access import (
    act,
    address_of,
    entries_text,
    entry_ids,
    go_back,
    take_out,
    version_of,
    visible_dataset,
)
from datasets.web.cards import EntryMarkup, colours_in, entry_cards
from datasets.web.head import head
from inferences.models import InferenceKey, RegisteredModel
from inferences.previews.media import serve_preview
from inferences.search.filters.all_kinds import TERMS
from inferences.web.browsing import CAPTIONS_COOKIE, cards_at_once, picture_size
from inferences.web.errors import sentence
from inferences.web.view_models.colours import Colours
from inferences.web.view_models.facets import Choice
from inferences.web.view_models.json_text import highlight
from inferences.web.view_models.legend import legend
from inferences.web.view_models.matches import detection_test
from inferences.web.view_models.questions import Question
from inferences.web.view_models.truths import said_of
from istore.accounts.access import caller_of
from istore.db.clock import now
from istore.db.statement_timeout import statement_timeout
from istore.errors import StoreError
from istore.models import Project, Role
from istore.web.pages import htmx_of, render_page

COUNTED_MOST = 100_000
NEIGHBOUR_SECONDS = 1.0
LEGEND_SECONDS = 2.0  # the gallery has a legend without counts until then
TASKS_SHOWN = 10
JUST_NOW = timedelta(minutes=5)
OFFERED_LABELS = 200
ROWS_SHOWN = 300
# Terms of the query language that say something about an entry.
ASKED = (
    *("label:", "score", "split:", "truth:", "truth.label:", "meta.", "has:", "no:"),
    *("since:", "until:", "source:", "action:", "hash:", "dataset:"),
)


@login_required
@require_safe
def show_entries(
    request: HttpRequest, project_id: str, name: str, version: str | None = None
) -> HttpResponse:
    """Render the gallery of a version, or the part of it that is requested."""
    dataset = visible_dataset(request, project_id, name)
    if version is None and "version" in request.GET:  # addresses of earlier releases
        return _as_path(request, dataset)
    number = version_of(dataset, version)
    question = Question(request.GET)
    colours = colours_in(dataset)
    part = request.GET.get("part")
    if part == "count":
        return _count(request, dataset, number, question)
    if part == "legend":
        return _legend(request, dataset, number, question, colours)
    address = f"{request.path}{question.link()}"
    htmx = htmx_of(request)
    if question.was_a_form and not htmx:
        return redirect(address)
    size = picture_size(request, question)
    entries, following, problem = _page(dataset, number, question, size)
    cards = entry_cards(entries, colours, detection_test(question))
    here = address_of(dataset, number)
    context: dict[str, Any] = {
        "question": question,
        "cards": cards,
        "items": EntryMarkup(here, question.context).cards(cards),
        "next": following and f"{question.link()}&cursor={following}",
        "problem": problem,
        "size": size,
        "captions": request.COOKIES.get(CAPTIONS_COOKIE) == "1",
    }
    if part == "more":
        return render(request, "inferences/_more.html", context)
    context |= {
        **head(request, dataset, number, "entries"),
        "legend": legend(colours, question),
        "splits": dataset.splitting_of(number).names,
        "may_move": number == dataset.working and dataset.splitting_of(number).may_move,
        "adding": _latest(dataset),
        "completions": _completions(dataset, colours),
        "is_part": bool(question.cursor),
        "as_question": question.context,
    }
    if part == "page":  # of the page that waited for an addition
        return render(request, "datasets/dataset.html", context)
    response = render_page(
        request, "datasets/dataset.html", "datasets/_entries.html", context
    )
    patch_vary_headers(response, ["HX-Request"])
    if htmx and not htmx.history_restore_request:
        response["HX-Push-Url"] = address
    return response


def _as_path(request: HttpRequest, dataset: Dataset) -> HttpResponse:
    query = request.GET.copy()
    number = version_of(dataset, query.pop("version")[-1])
    written = query.urlencode()
    address = address_of(dataset, number)
    return redirect(f"{address}?{written}" if written else address)


def _latest(dataset: Dataset) -> list[Any]:
    """Return the additions that go on, and the last one if it ended only now."""
    tasks = dataset.adding_tasks.select_related("model").order_by("-created_at")
    found = list(tasks[:TASKS_SHOWN])
    since = now() - JUST_NOW
    return [
        task
        for n, task in enumerate(found)
        if task.is_active or (n == 0 and task.finished_at and task.finished_at > since)
    ]


def _page(
    dataset: Dataset, version: int, question: Question, size: int
) -> tuple[list[DatasetEntry], int | None, str]:
    """Return a page of entries, its cursor and "", or no entries and the kind of problem."""
    after = question.cursor or "0"
    if not (after.isascii() and after.isdecimal() and len(after) < 19):
        return [], None, "cursor"
    try:
        with statement_timeout():
            entries, following = listing.entries_page(
                dataset,
                version,
                limit=cards_at_once(size),
                after=int(after),
                filters=question.filters,
            )
    except ValidationError as error:
        return [], None, "" if question.errors else " ".join(error.messages)
    except OperationalError:
        return [], None, "slow"
    return entries, following, ""


def _count(
    request: HttpRequest, dataset: Dataset, version: int, question: Question
) -> HttpResponse:
    context: dict[str, Any] = {}
    try:
        with statement_timeout():
            rows = entries_matching(dataset, version, question.filters).order_by()
            count = rows[: COUNTED_MOST + 1].count()
        context = {"count": min(count, COUNTED_MOST), "is_more": count > COUNTED_MOST}
    except ValidationError:
        pass
    except OperationalError:
        context["is_slow"] = True
    return render(request, "datasets/_count.html", context)


def _legend(
    request: HttpRequest,
    dataset: Dataset,
    version: int,
    question: Question,
    colours: Colours,
) -> HttpResponse:
    """Render the legend with the number of entries of each label."""
    try:
        with statement_timeout(LEGEND_SECONDS):
            counts = _answers(dataset, version, question)
    except (ValidationError, OperationalError):
        return HttpResponse(status=204)
    chosen = question.labels
    choices = [
        Choice(label, count, label in chosen)
        for label, count in distribution.by_total(counts)
    ]
    context = {
        "legend": legend(colours, question, choices),
        "counts": True,
        "page": request.path,
    }
    return render(request, "inferences/_legend.html", context)


def _answers(dataset: Dataset, version: int, question: Question) -> distribution.Counts:
    if not question.is_filtered and version != dataset.working:
        return distribution.distribution_of(dataset, version).answers
    return distribution.count_answers(dataset, version, question.filters)


def _completions(dataset: Dataset, colours: Colours) -> dict[str, Any]:
    """Return the terms that entries can be asked by, and the words that complete them."""
    splits = dataset.splitting_of(dataset.working).names
    labels = colours.labels[:OFFERED_LABELS]
    terms = [text for name in ASKED for text in TERMS[name].offers or [name]]
    words = ["truth:given", "truth:missing", "has:input", "no:input", "no:detections"]
    known = {"label:": labels, "truth.label:": labels, "split:": splits}
    return {"terms": [*terms, *words, "OR ", "NOT "], "known": known}


@login_required
@require_safe
def show_entry(
    request: HttpRequest,
    project_id: str,
    name: str,
    entry_id: str,
    version: str | None = None,
) -> HttpResponse:
    """Render the page of one entry of a version, or what the drawer shows of it."""
    dataset = visible_dataset(request, project_id, name)
    number = version_of(dataset, version)
    question = Question(request.GET)
    rows = dataset.entries_of(number).with_split(dataset.splitting_of(number))
    entry = rows.select_related("source", "blob").filter(pk=int(entry_id)).first()
    if entry is None:
        raise Http404
    test = detection_test(question)
    (card,) = entry_cards([entry], colours_in(dataset), test, most=1000)
    written, is_whole = highlight(entry.answer)
    context = {
        **head(request, dataset, number, "entries"),
        "question": question,
        "entry": entry,
        "card": card,
        "look": card.look,
        "answer": card.answer,
        "rows": card.answer.found[:ROWS_SHOWN],
        "truth_text": said_of(entry.truth) if entry.truth else "",
        "truth_json": highlight_json(entry.truth),
        "json": written,
        "json_is_whole": is_whole,
        "hash": bytes(entry.data_hash).hex(),
        "source_model": find_source_model(dataset.project, entry),
        "others": _others(dataset, entry),
        "neighbours": _neighbours(dataset, number, entry, question),
        "splits": dataset.splitting_of(number).names,
        "may_move": dataset.splitting_of(number).may_move,
        "picture": f"{address_of(dataset, number)}/entries/{entry.pk}/picture",
        "metadata": sorted((k, v[0], v[1]) for k, v in entry.metadata.items()),
    }
    return render_page(request, "datasets/entry.html", "datasets/_entry.html", context)


def highlight_json(value: Any) -> str:
    """Return JSON as the pages write it; empty for none."""
    if value is None:
        return ""
    written, _ = highlight(json.dumps(value, ensure_ascii=False))
    return written


def find_source_model(project: Project, entry: DatasetEntry) -> RegisteredModel | None:
    """Return the model of the inference that an entry was copied from, if that is still there."""
    model = RegisteredModel.objects.filter(
        project=project, model_id=entry.model_id
    ).first()
    keys = InferenceKey.objects.filter(
        registered_model=model,
        inference_id=entry.inference_id,
        removed_at=None,
        row_id__isnull=False,
    )
    return model if model is not None and keys.exists() else None


def _others(dataset: Dataset, entry: DatasetEntry) -> list[tuple[Dataset, int]]:
    """Return other datasets whose working version has the same input, with an entry of each."""
    others = Dataset.objects.live().filter(project=dataset.project)
    found = DatasetEntry.objects.current().filter(
        dataset__in=others.exclude(pk=dataset.pk), data_hash=entry.data_hash
    )
    first: dict[int, tuple[Dataset, int]] = {}
    for other in found.select_related("dataset__project").order_by("pk")[:100]:
        first.setdefault(other.dataset_id, (other.dataset, other.pk))
    return list(first.values())


def _neighbours(
    dataset: Dataset, version: int, entry: DatasetEntry, question: Question
) -> tuple[int | None, int | None]:
    """Return the entries before and after one in the list; None where finding them takes long."""
    try:
        rows = entries_matching(dataset, version, question.filters)
        keys = rows.values_list("pk", flat=True)
        with statement_timeout(NEIGHBOUR_SECONDS):
            before = keys.filter(pk__lt=entry.pk).order_by("-pk").first()
            after = keys.filter(pk__gt=entry.pk).order_by("pk").first()
    except (ValidationError, OperationalError):
        return None, None
    return before, after


@login_required
@require_safe
def picture(
    request: HttpRequest,
    project_id: str,
    name: str,
    entry_id: str,
    version: str | None = None,
) -> HttpResponse:
    """Return a preview of an entry's input."""
    dataset = visible_dataset(request, project_id, name)
    entry = dataset.entries.select_related("blob").filter(pk=int(entry_id)).first()
    if entry is None or entry.blob is None:
        raise Http404
    return serve_preview(request, entry.blob.storage_key)


@login_required
@require_POST
def remove(request: HttpRequest, project_id: str, name: str) -> HttpResponse:
    """Take entries out of the working version, with an undo for those of published versions.

    A page with several groups of entries says which group is meant.
    """
    dataset = visible_dataset(request, project_id, name, Role.EDITOR)
    group = request.GET.get("group")
    ids = entry_ids(request, f"entry-{group}" if group else "entry")

    def take(caller: Any) -> list[int]:
        chosen = dataset.entries.current().filter(pk__in=ids)
        there = list(chosen.values_list("pk", flat=True))
        lifecycle.remove_entries(caller, dataset, there)
        return there

    return take_out(request, dataset, take)


@login_required
@require_POST
def put_back(request: HttpRequest, project_id: str, name: str) -> HttpResponse:
    """Undo the removal of entries from the working version."""
    dataset = visible_dataset(request, project_id, name, Role.EDITOR)
    try:
        count = lifecycle.put_back(caller_of(request), dataset, entry_ids(request))
    except StoreError as error:
        messages.error(request, sentence(error))
        return go_back(request, dataset)
    if count:
        messages.success(request, f"{entries_text(count)} put back.")
    else:
        messages.error(request, "Nothing is put back: the dataset changed meanwhile.")
    return go_back(request, dataset)


@login_required
@require_POST
def move(request: HttpRequest, project_id: str, name: str) -> HttpResponse:
    """Move entries to another split, with all of the same input or group."""
    dataset = visible_dataset(request, project_id, name, Role.EDITOR)
    ids, split = entry_ids(request), request.POST.get("split", "")
    return act(
        request,
        dataset,
        lambda caller, found: lifecycle.move_entries(caller, found, ids, split),
        f"{entries_text(len(ids))} moved to {split}.",
    )


def list_address(dataset: Dataset, version: int, written: str) -> str:
    """Return the address of the entries of a version that a text query finds."""
    return f"{address_of(dataset, version)}?{urlencode({'q': written})}"
