"""Change one inference by hand: its metadata, ground truth and protection."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from inferences.ground_truth.accepted_answers import truth_of_answer
from inferences.ground_truth.labels import Labels
from inferences.ground_truth.truths import read_truth
from inferences.ground_truth.upsert import find_truth, put_truth, remove_truth
from inferences.models import Inference, RegisteredModel
from inferences.models.metadata_values import MetadataValue, metadata_type
from inferences.predictions.parse import deconstructed
from inferences.store import metadata_edits, protection
from inferences.store.protection import Protection
from inferences.web.access import visible_inference, visible_model
from inferences.web.errors import sentence
from inferences.web.record import detail
from inferences.web.undo import with_undo
from inferences.web.view_models.answers import text_of
from inferences.web.view_models.drawing import DRAWN_FORMS, turned_back
from inferences.web.view_models.inputs import looks
from inferences.web.view_models.questions import Question
from istore.accounts.access import caller_of
from istore.errors import StoreError
from istore.models import Role
from istore.web.pages import redirect_back

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
    request: HttpRequest, model: RegisteredModel, inference_id: str, address: str = ""
) -> HttpResponse:
    """Redirect to an address of ours, or to the inference within the list it was opened from."""
    question = Question(QueryDict(request.POST.get("within", "").removeprefix("?")))
    here = reverse(
        "inferences:detail", args=[model.project, model.model_id, inference_id]
    )
    return redirect_back(request, address, f"{here}{question.context}")


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

    Forms are ``labels`` (separated by commas), ``value``, ``text``, ``boxes``, ``polygons``,
    ``json``, and ``answer``, which accepts what the model said. A form of the review goes on
    to ``onward`` when it is saved, and back to ``here`` when it is not.
    """
    model = visible_model(request, model_id, Role.EDITOR)
    inference = visible_inference(request, model_id, inference_id)
    caller, before = caller_of(request), find_truth(model, inference_id)
    fields = [("within", request.POST.get("within", ""))]
    if here := request.POST.get(
        "here"
    ):  # undo leads back to the inference under review
        fields += [("here", here), ("onward", here)]
    if before is None:
        fields += [("remove", "true")]
    else:
        fields += [("form", "json"), ("json", json.dumps(before.truth))]
    try:
        if "remove" in request.POST:
            if not remove_truth(caller, model, inference_id):
                messages.error(request, "There is no ground truth any more.")
                return _back(request, model, inference_id, request.POST.get("here", ""))
            said = "The ground truth is removed."
        else:
            if request.POST.get("form") == "answer":
                given = _accepted(model, inference, request.POST.get("least", ""))
            else:
                given = _give(request.POST)
            truth = read_truth(given, model.task_type, Labels.of(model))
            put_truth(caller, model, inference_id, truth)
            said = "The ground truth is saved."
        messages.success(
            request, _with_undo(request, "change-truth", inference, fields, said)
        )
    except ValueError as error:
        messages.error(request, str(error))
    except StoreError as problem:
        messages.error(request, f"Not saved: {sentence(problem)}")
    else:
        return _back(request, model, inference_id, request.POST.get("onward", ""))
    return _back(request, model, inference_id, request.POST.get("here", ""))


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
    is_drawn = form in DRAWN_FORMS
    try:
        read = json.loads(posted.get(form if is_drawn else "json", ""))
    except (ValueError, RecursionError):
        raise ValueError("Not saved: this is no JSON.") from None
    return {form: turned_back(read, posted.get("turn", ""))} if is_drawn else read


def _accepted(model: RegisteredModel, inference: Inference, least: str) -> Any:
    """Return the answer as ground truth, of its shapes those of the least score."""
    try:
        score = float(least or 0)
    except ValueError:
        raise ValueError("Not saved: the least score is no number.") from None
    picture = looks([inference])[inference.id].picture
    answer = deconstructed(model, text_of(inference))
    return truth_of_answer(model.task_type, answer, score, picture)


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
