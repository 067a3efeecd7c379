"""Soft-deleted inferences, for administrators: find, restore or permanently remove them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_POST, require_safe

from inferences.models import Inference, InferenceQuerySet, RegisteredModel
from inferences.search import text
from inferences.search.filters import Filter
from inferences.store import soft_deletion
from inferences.tasks import notify_removals
from inferences.web.access import visible_model
from istore.accounts.access import caller_of
from istore.db.statement_timeout import statement_timeout
from istore.models import Role

PAGE_SIZE = 50


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the page."""

    inference: Inference

    @property
    def deleted_at(self) -> datetime | None:
        return self.inference.payload.deleted_at

    @property
    def goes_at(self) -> datetime | None:
        """When it is removed automatically (``ISTORE_SOFT_DELETE_DAYS``); None if never."""
        days = settings.ISTORE_SOFT_DELETE_DAYS
        if not days or self.inference.is_protected or self.deleted_at is None:
            return None
        return self.deleted_at + timedelta(days=days)


@login_required
@require_safe
def deleted(request: HttpRequest, model_id: str) -> HttpResponse:
    """Render the soft-deleted inferences of a model."""
    model = visible_model(request, model_id, Role.ADMINISTRATOR)
    query = request.GET.get("q", "").strip()
    found, problem = soft_deletion.DeletedPage([], None), ""
    try:
        with statement_timeout():
            found = soft_deletion.page(
                model, _filter(query), PAGE_SIZE, _place(request)
            )
    except ValueError as error:
        problem = str(error)
    except OperationalError:
        problem = "This takes too long. Narrow the filter."
    following: dict[str, Any] = {"q": query} if query else {}
    following["below"] = found.next
    context = {
        "model": model,
        "query": query,
        "lines": [Line(each) for each in found.inferences],
        "next": f"?{urlencode(following)}" if found.next is not None else "",
        "problem": problem,
        "days": settings.ISTORE_SOFT_DELETE_DAYS,
    }
    status = 400 if problem else 200
    return render(request, "inferences/deleted.html", context, status=status)


@login_required
@require_POST
def change_deleted(request: HttpRequest, model_id: str) -> HttpResponse:
    """Restore or remove the ticked inferences, or all that match."""
    model = visible_model(request, model_id, Role.ADMINISTRATOR)
    query, act = request.POST.get("q", "").strip(), request.POST.get("act")
    names = request.POST.getlist("inference_id")[:1000]
    everything = request.POST.get("everything") == "true"
    back = reverse("inferences:deleted", args=[model.project, model.model_id])
    if query:
        back += f"?{urlencode({'q': query})}"
    try:
        filters = _filter(query)
    except ValueError as error:
        messages.error(request, str(error))
        return redirect(back)
    if not (names or everything) or act not in ("restore", "remove"):
        messages.error(request, "Choose inferences first.")
        return redirect(back)

    def chosen() -> InferenceQuerySet:
        if everything:
            return soft_deletion.soft_deleted(model, filters)
        return soft_deletion.find_soft_deleted(model, names)

    _do(request, model, act, chosen)
    return redirect(back)


def _do(request: HttpRequest, model: RegisteredModel, act: str, chosen: Any) -> None:
    caller = caller_of(request)
    if act == "restore":
        done = soft_deletion.restore(caller, model, chosen)
        said = "restored"
    else:
        done = soft_deletion.intend_removal(caller, model, chosen)
        notify_removals(model.pk)
        said = "removed for good"
    noun = "inference is" if done.count == 1 else "inferences are"
    more = " There are more: do it again." if done.more else ""
    messages.success(request, f"{done.count} {noun} {said}.{more}")


def _filter(query: str) -> Filter | None:
    """Return the filter of a text query. Raises ``ValueError`` that says what is wrong in it."""
    return text.parse(query) if query else None


def _place(request: HttpRequest) -> int | None:
    try:
        place = int(request.GET.get("below", ""))
    except ValueError:
        return None
    return place if -(2**63) <= place < 2**63 else None
