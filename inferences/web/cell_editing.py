"""Change one metadata value in its cell of the table.

The form takes the place of the value, and the value that of the form; without JavaScript the form
is a page of its own. The value that a person saw travels along: if somebody has changed it
meanwhile, nothing is saved and the form says what it is now.
"""

from __future__ import annotations

import json
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.safestring import SafeString
from django.views.decorators.http import require_http_methods

from inferences.models import MetadataType, RegisteredModel
from inferences.models.metadata_values import MetadataValue, metadata_type
from inferences.store import metadata_edits
from inferences.store.metadata_slots import usual_place
from inferences.store.reading import find_inference
from inferences.web.access import visible_model
from inferences.web.errors import sentence
from inferences.web.table_markup import cell_of, value_page, write_editable
from inferences.web.undo import with_undo
from inferences.web.view_models.browsing import FORM_TYPES
from inferences.web.view_models.table import is_editable
from istore.accounts.access import caller_of
from istore.errors import StoreError
from istore.models import Role
from istore.web.pages import htmx_of, redirect_back

SAID_CHARS = 80
UNDO_MAX_CHARS = 100_000  # an undo form without htmx is stored in the session


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def edit_value(request: HttpRequest, model_id: str) -> HttpResponse:
    """Show the form of one value, or save what it sends."""
    model = visible_model(request, model_id, Role.EDITOR)
    given = request.POST if request.method == "POST" else request.GET
    inference_id, key = given.get("inference_id", ""), given.get("key", "")
    if not key or "\0" in inference_id + key:
        raise Http404
    if request.method == "POST":
        return _save(request, model, inference_id, key)
    before = _value(model, inference_id, key)
    if "show" in given:
        return HttpResponse(_cell(model, inference_id, key, before))
    return _form(request, model, inference_id, key, before)


def _value(model: RegisteredModel, inference_id: str, key: str) -> list[str] | None:
    """Return the type and text of the value, or None. Raises ``Http404`` without inference."""
    inference = find_inference(model, inference_id)
    if inference is None or not is_editable(key):
        raise Http404
    found: list[str] | None = inference.payload.metadata.get(key)
    return found


def _cell(
    model: RegisteredModel,
    inference_id: str,
    key: str,
    given: list[str] | None,
    attributes: str = "",
) -> SafeString:
    address = value_page(model)
    return SafeString(write_editable(address, inference_id, key, given, attributes))


def _form(
    request: HttpRequest,
    model: RegisteredModel,
    inference_id: str,
    key: str,
    seen: list[str] | None,
    problem: str = "",
) -> HttpResponse:
    """Render the form, with what was typed if it could not be saved."""
    typed = request.POST
    context = {
        "model": model,
        "inference_id": inference_id,
        "key": key,
        "cell": cell_of(inference_id, key),
        "types": list(MetadataType.values),
        "type": typed.get("type") or (seen[0] if seen else _usual_type(model, key)),
        "value": typed.get("value", seen[1] if seen else ""),
        "has_value": seen is not None,
        "expected": json.dumps(seen),
        "back": typed.get("back", request.headers.get("Referer", "")),
        "problem": problem,
    }
    template = "_value_form" if htmx_of(request) else "value"
    status = 400 if problem and not htmx_of(request) else 200
    return render(request, f"inferences/{template}.html", context, status=status)


def _usual_type(model: RegisteredModel, key: str) -> str:
    place = usual_place(model, key)
    found = FORM_TYPES[place.value_kind] if place else "string"
    return found if found in MetadataType.values else "json"


def _save(
    request: HttpRequest, model: RegisteredModel, inference_id: str, key: str
) -> HttpResponse:
    before, given = _value(model, inference_id, key), request.POST
    try:
        expected = _expected(given.get("expected", ""))
        after = _write(request, model, inference_id, key, expected)
    except (ValueError, StoreError) as error:
        said = sentence(error) if isinstance(error, StoreError) else str(error)
        now = _value(model, inference_id, key)
        return _form(request, model, inference_id, key, now, said)
    said = f"{key} is {after[1][:SAID_CHARS]} now." if after else f"{key} is removed."
    if "undo" in given:
        said = f"Undone: {said}"
    undo = None if after == before or "undo" in given else _undo(key, before, after)
    here = reverse("inferences:edit-value", args=[model.project, model.model_id])
    fields = [("inference_id", inference_id), ("back", given.get("back", ""))]
    if htmx_of(request):
        # What is undone is in the message, and the cell somewhere else on the page.
        is_undone = "undo" in given
        elsewhere = ' hx-swap-oob="true"' if is_undone else ""
        context = {
            "cell": _cell(model, inference_id, key, after, elsewhere),
            "said": said,
            "address": here,
            "fields": [*fields, *undo] if undo else [],
        }
        return render(request, "inferences/_value_saved.html", context)
    if undo and sum(len(value) for _, value in undo) <= UNDO_MAX_CHARS:
        said = with_undo(request, said, here, [*fields, *undo])
    messages.success(request, said)
    listed = reverse("inferences:browse", args=[model.project, model.model_id])
    return redirect_back(request, given.get("back", ""), listed)


def _expected(text: str) -> list[str] | metadata_edits.Unchecked | None:
    """Return the value that the form was shown with; ``UNCHECKED`` where it does not say."""
    if not text:
        return metadata_edits.UNCHECKED
    try:
        seen: Any = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("Not saved: the form is damaged.") from None
    return seen if seen is None or isinstance(seen, list) else None


def _write(
    request: HttpRequest,
    model: RegisteredModel,
    inference_id: str,
    key: str,
    expected: list[str] | metadata_edits.Unchecked | None,
) -> list[str] | None:
    """Write the value of the form and return it; None for one that was removed."""
    caller, given = caller_of(request), request.POST
    if "remove" in given:
        metadata_edits.remove_value(caller, model, inference_id, key, expected)
        return None
    value = MetadataValue(
        key, metadata_type(given.get("type", "")), given.get("value", "")
    )
    metadata_edits.put_value(
        caller, model, inference_id, value, replace=True, expected=expected
    )
    return [str(value.type), value.text]


def _undo(
    key: str, before: list[str] | None, after: list[str] | None
) -> list[tuple[str, str]]:
    """Return the fields of the form that takes the change back, unless it was changed again."""
    fields = [("key", key), ("expected", json.dumps(after)), ("undo", "true")]
    if before is None:
        return [*fields, ("remove", "true")]
    return [*fields, ("type", before[0]), ("value", before[1])]
