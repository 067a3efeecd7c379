"""The colours of a model's labels, as people choose them."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from inferences.models import LabelName, RegisteredModel
from inferences.web.access import visible_model
from inferences.web.view_models.colours import DISTINCT, colours_of
from inferences.web.view_models.questions import Question
from istore.accounts.access import caller_of
from istore.models import AuditEntry, Role

LABELS_SHOWN = 200


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def colours(request: HttpRequest, model_id: str) -> HttpResponse:
    """Render the form that recolours a label, or set ``hue`` of ``label`` (blank: as it appeared)."""
    model = visible_model(request, model_id, Role.EDITOR)
    query = request.POST if request.method == "POST" else request.GET
    question = Question(QueryDict(query.get("within", "").removeprefix("?")))
    if request.method == "POST":
        _recolour(request, model)
        browse = reverse("inferences:browse", args=[model.project, model.model_id])
        return redirect(f"{browse}{question.link()}")
    chosen = colours_of(model)
    context = {
        "model": model,
        "question": question,
        "labels": [(name, *chosen.of(name)) for name in chosen.labels[:LABELS_SHOWN]],
        "hues": range(DISTINCT),
    }
    return render(request, "inferences/colours.html", context)


def _recolour(request: HttpRequest, model: RegisteredModel) -> None:
    label, given = request.POST.get("label", ""), request.POST.get("hue", "")
    if given and given not in map(str, range(DISTINCT)):
        raise Http404
    rows = LabelName.objects.filter(registered_model=model, name=label)
    if "\0" in label or not rows.update(hue=int(given) if given else None):
        raise Http404
    AuditEntry.write(
        caller_of(request),
        "label.recolour",
        label,
        model.project,
        model_id=model.model_id,
    )
    messages.success(request, f"{label} has another colour, on every page.")
