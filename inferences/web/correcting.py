"""Change one inference by hand: its metadata, ground truth and protection."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from inferences.ground_truth.labels import Labels
from inferences.ground_truth.truths import read_truth
from inferences.ground_truth.upsert import find_truth, put_truth, remove_truth
from inferences.models import Inference, RegisteredModel
from inferences.models.metadata_values import MetadataValue, metadata_type
from inferences.predictions.geometry import stored_box
from inferences.previews.pictures import Measure
from inferences.store import metadata_edits, protection
from inferences.store.protection import Protection
from inferences.web.access import visible_inference, visible_model
from inferences.web.errors import sentence
from inferences.web.record import detail
from inferences.web.undo import with_undo
from inferences.web.view_models.questions import Question
from istore.accounts.access import caller_of
from istore.errors import StoreError
from istore.models import Role

UNDO_MAX_CHARS = 100_000  # the undo form is stored in the session
View = Callable[[HttpRequest, str, str], HttpResponse]


def posted_to(name: str) -> Callable[[View], View]:
    """Decorate a POST view, so that GET on its URL shows the inference of that id.

    Inference ids may hold slashes, so an id may end like the URL of an action.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def either(
            request: HttpRequest, model_id: str, inference_id: str
        ) -> HttpResponse:
            if request.method == "POST":
                return view(request, model_id, inference_id)
            return detail(request, model_id, f"{inference_id}/{name}")

        return either

    return decorate


def _back(
    request: HttpRequest, model: RegisteredModel, inference_id: str
) -> HttpResponse:
    """Redirect to the inference, with the query of the list that it was opened from."""
    question = Question(QueryDict(request.POST.get("within", "").removeprefix("?")))
    here = reverse(
        "inferences:detail", args=[model.project, model.model_id, inference_id]
    )
    return redirect(f"{here}{question.context}")


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@posted_to("change-metadata")
def change_metadata(
    request: HttpRequest, model_id: str, inference_id: str
) -> HttpResponse:
    """Set metadata by ``key``, ``type`` and ``value``; with ``remove`` delete the key."""
    model = visible_model(request, model_id, Role.EDITOR)
    inference = visible_inference(request, model_id, inference_id)
    caller, key = caller_of(request), request.POST.get("key", "").strip()
    before = inference.payload.metadata.get(key)
    try:
        if "remove" in request.POST:
            if metadata_edits.remove_value(caller, model, inference_id, key):
                said = f"{key} is removed."
                messages.success(
                    request, _undo_metadata(request, inference, key, before, said)
                )
            else:
                messages.error(request, f"There is no {key} any more.")
        else:
            given = request.POST
            type_ = metadata_type(given.get("type", ""))
            value = MetadataValue(key, type_, given.get("value", ""))
            replace = "replace" in given
            metadata_edits.put_value(
                caller, model, inference_id, value, replace=replace
            )
            said = f"{key} is {value.text[:80]} now."
            if before != [str(value.type), value.text]:
                said = _undo_metadata(request, inference, key, before, said)
            messages.success(request, said)
    except ValueError as error:
        messages.error(request, str(error))
    except StoreError as problem:
        messages.error(request, sentence(problem))
    return _back(request, model, inference_id)


def _undo_metadata(
    request: HttpRequest,
    inference: Inference,
    key: str,
    before: list[str] | None,
    said: str,
) -> str:
    fields = [("within", request.POST.get("within", "")), ("key", key)]
    if before is None:
        fields += [("remove", "true")]
    else:
        kind, text = before
        fields += [("type", kind), ("value", text), ("replace", "true")]
    return _with_undo(request, "change-metadata", inference, fields, said)


def _with_undo(
    request: HttpRequest,
    name: str,
    inference: Inference,
    fields: list[tuple[str, str]],
    said: str,
) -> str:
    """Return the message with a form that restores the old value, unless that is too long."""
    if sum(len(value) for _, value in fields) > UNDO_MAX_CHARS:
        return said
    model = inference.registered_model
    ids = [model.project, model.model_id, inference.inference_id]
    return with_undo(request, said, reverse(f"inferences:{name}", args=ids), fields)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@posted_to("change-truth")
def change_truth(
    request: HttpRequest, model_id: str, inference_id: str
) -> HttpResponse:
    """Set the ground truth, in the form that ``form`` names; with ``remove`` delete it.

    Forms are ``labels`` (separated by commas), ``value``, ``text``, ``boxes`` and ``json``.
    """
    model = visible_model(request, model_id, Role.EDITOR)
    inference = visible_inference(request, model_id, inference_id)
    caller, before = caller_of(request), find_truth(model, inference_id)
    fields = [("within", request.POST.get("within", ""))]
    if before is None:
        fields += [("remove", "true")]
    else:
        fields += [("form", "json"), ("json", json.dumps(before.truth))]
    try:
        if "remove" in request.POST:
            if not remove_truth(caller, model, inference_id):
                messages.error(request, "There is no ground truth any more.")
                return _back(request, model, inference_id)
            said = "The ground truth is removed."
        else:
            labels = Labels.of(model)
            truth = read_truth(_give(request.POST), model.task_type, labels)
            put_truth(caller, model, inference_id, truth)
            said = "The ground truth is saved."
        messages.success(
            request, _with_undo(request, "change-truth", inference, fields, said)
        )
    except ValueError as error:
        messages.error(request, str(error))
    except StoreError as problem:
        messages.error(request, f"Not saved: {sentence(problem)}")
    return _back(request, model, inference_id)


def _give(posted: Any) -> Any:
    """Return the ground truth of the form, as the API takes it. Raises ``ValueError``."""
    form = posted.get("form", "")
    if form == "labels":
        words = (word.strip() for word in posted.get("labels", "").split(","))
        return {"labels": [word for word in words if word]}
    if form == "value":
        try:
            return {"value": float(posted.get("value", ""))}
        except ValueError:
            raise ValueError("Not saved: this is no number.") from None
    if form == "text":
        return {"text": posted.get("text", "")}
    try:
        read = json.loads(posted.get("boxes" if form == "boxes" else "json", ""))
    except (ValueError, RecursionError):
        raise ValueError("Not saved: this is no JSON.") from None
    if form != "boxes":
        return read
    return {"boxes": _turned_back(read, posted.get("turn", ""))}


def _turned_back(boxes: Any, turn: str) -> Any:
    """Return boxes drawn over a picture that EXIF rotates, in the pixels of the file.

    Items that are no boxes are passed on unchanged, so that validation names their place.
    """
    if not turn:
        return boxes
    try:
        orientation, width, height = map(int, turn.split())
    except ValueError:
        raise ValueError("Not saved: this is no turn of a picture.") from None
    if not isinstance(boxes, list) or not all(map(_is_box, boxes)):
        return boxes
    drawn_over = Measure(width, height, orientation)
    return [stored_box(box, drawn_over) for box in boxes]


def _is_box(box: Any) -> bool:
    sides = ("xmin", "ymin", "xmax", "ymax")
    return isinstance(box, dict) and all(
        type(box.get(side)) in (int, float) for side in sides
    )


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@posted_to("change-protection")
def change_protection(
    request: HttpRequest, model_id: str, inference_id: str
) -> HttpResponse:
    model = visible_model(request, model_id, Role.EDITOR)
    wanted = Protection(request.POST.get("protect") == "true")
    try:
        done = protection.protect_one(caller_of(request), model, inference_id, wanted)
        if done is None:
            raise Http404
    except StoreError as problem:
        messages.error(request, sentence(problem))
    else:
        word = "protected" if wanted.is_protected else "no longer protected"
        lost = ""
        if wanted.is_protected and done.input_expired_at:
            at = f"{done.input_expired_at:%Y-%m-%d %H:%M}"
            lost = f" Its input had expired on {at} UTC: the record alone is kept."
        messages.success(request, f"It is {word}.{lost}")
    return _back(request, model, inference_id)
