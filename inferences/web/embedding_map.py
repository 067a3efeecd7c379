"""The page of a model's map of embeddings, its points, and the start of a new map."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any
from urllib.parse import urlencode

import orjson
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from inferences.embedding_maps import neighbours
from inferences.embedding_maps.principal_components import basis_of
from inferences.models import MapBasis, RegisteredModel
from inferences.search.filters.map_area import current_layout
from inferences.web.access import visible_model
from inferences.web.errors import sentence
from inferences.web.view_models import embedding_map as view_model
from inferences.web.view_models.browsing import Offer, offer
from inferences.web.view_models.questions import Question
from istore.accounts.access import person_of
from istore.db.replica import reads_replica
from istore.errors import Conflict
from istore.models import Role
from istore.tasks.pages import stop_task

LAYOUTS = {"pca": "Principal components", "tsne": "Neighbours (t-SNE)"}


@login_required
@require_safe
@reads_replica
def show_map(request: HttpRequest, model_id: str) -> HttpResponse:
    """Render the page; its script fetches the points, which are in ``part=points``."""
    model = visible_model(request, model_id)
    question = Question(request.GET)
    layout = "tsne" if request.GET.get("layout") == "tsne" else "pca"
    offered = offer(model)
    colours = _colours(offered)
    colour = request.GET.get("colour") or colours[0][0]
    if request.GET.get("part") == "points":
        return _points(model, question, layout, colour)
    task = model.map_tasks.order_by("-number").first()
    if request.GET.get("part") == "task":
        part = {"model": model, "task": task, "asked": _query_string(request)}
        return render(request, "inferences/_map_task.html", part)
    number = current_layout(model)
    context: dict[str, Any] = {
        "model": model,
        "question": question,
        "layout": layout,
        "layouts": [
            (title, f"?{_changed(request, layout=name)}", name == layout)
            for name, title in LAYOUTS.items()
        ],
        "colour": colour,
        "colours": colours,
        "task": task,
        "number": number,
        "asked": _query_string(request),
        "list_address": reverse(
            "inferences:browse", args=[model.project, model.model_id]
        ),
        "written": question.written,
    }
    if number is not None:
        context["twins"] = view_model.near_duplicates(model)
        context["outliers"] = view_model.outliers(model)
    return render(request, "inferences/map.html", context)


def _query_string(request: HttpRequest) -> str:
    return f"?{_changed(request)}"


def _changed(request: HttpRequest, **changes: str) -> str:
    query = request.GET.copy()
    for name in ("part", *changes):
        query.pop(name, None)
    query.update(changes)
    return query.urlencode()


def _colours(offered: Offer) -> list[tuple[str, str]]:
    """Return what can colour points, with titles; what tells most comes first.

    An embedder has no labels: then a key colours them, or ground truth where there is no key.
    """
    labels = [("label", "label")] if offered.labels else []
    keys = [(f"{k.key}:{k.type}", f"{k.key} ({k.type})") for k in offered.keys]
    keys.sort(key=lambda key: not key[0].endswith(":string"))
    truth = [("truth", "ground truth")]
    return [*labels, *truth, *keys] if labels else [*keys, *truth]


def _points(
    model: RegisteredModel, question: Question, layout: str, colour: str
) -> HttpResponse:
    """Return the points as JSON, or a sentence as ``problem``."""
    basis: MapBasis | None = None
    number: int | None
    try:
        if layout == "pca":
            basis = basis_of(model)
            number = basis.number if basis else None
        else:
            number = current_layout(model)
        if number is None:
            return _json({"problem": "This model has too few embeddings for a map."})
        found = view_model.points(model, question.filters, basis, colour)
    except ValidationError as error:
        return _json({"problem": " ".join(error.messages)})
    except OperationalError:
        return _json({"problem": "This takes too long: narrow the filter."})
    share = {"share": round(basis.share, 3)} if basis else {}
    return _json({"map": f"{layout}.{number}", **share, **asdict(found)})


def _json(content: dict[str, Any]) -> HttpResponse:
    return HttpResponse(orjson.dumps(content), content_type="application/json")


@login_required
@require_POST
def start_map(request: HttpRequest, model_id: str) -> HttpResponse:
    """Start to lay out the model's map of neighbours, or stop it, and show the page again."""
    model = visible_model(request, model_id, Role.EDITOR)
    address = reverse("inferences:map", args=[model.project, model.model_id])
    if request.POST.get("act") == "stop":
        task = model.map_tasks.order_by("-number").first()
        if task:
            stop_task(request, task)
    else:
        try:
            neighbours.start(person_of(request), model)
        except Conflict as error:
            return HttpResponse(sentence(error), status=error.status)
    return redirect(f"{address}?{urlencode({'layout': 'tsne'})}")
