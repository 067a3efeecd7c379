"""The playground: send a picture, a text or a request through the proxy from the page.

A stored request is sent again with its turns as a person edited them.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.safestring import SafeString
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_safe

from inferences.models import RegisteredModel
from inferences.predictions.model_types import type_of
from inferences.predictions.model_types.base import Takes
from inferences.store.reading import find_inference
from inferences.web.access import visible_model
from inferences.web.errors import sentence
from inferences.web.markdown import render_markdown
from inferences.web.playground_calls import tensor_request, try_model
from inferences.web.sending_again import ROLES, Draft, draft_of, edited_request
from inferences.web.view_models.answers import answer_of_text
from inferences.web.view_models.conversations import TEXT_SHOWN
from inferences.web.view_models.json_text import highlight
from istore.accounts.access import person_of
from istore.errors import StoreError
from istore.models import Role
from protocols.conversations import read_conversation, turn_text
from protocols.json_text import parse

INPUT_MAX_BYTES = 16 * 1024**2
CHOICES_SHOWN = 10
WAITS_MOST = 20  # polls; the record normally appears within one or two seconds
EXAMPLE = """{"inputs": [{"name": "features", "datatype": "FP64", "shape": [1, 3],
             "data": [13.5, 2.1, 0.4]}]}"""


@login_required
@sensitive_post_parameters("key")
@require_http_methods(["GET", "HEAD", "POST"])
def try_it(request: HttpRequest, model_id: str) -> HttpResponse:
    """Render the playground of a model; POST calls the model."""
    model = visible_model(request, model_id, Role.EDITOR)
    again = _again(request, model)
    usual = "turns" if again else type_of(model.task_type).takes or Takes.FILE
    form = request.POST.get("form") or usual
    context: dict[str, Any] = {
        "model": model,
        "form": form,
        "again": again,
        "roles": ROLES,
        "turns": _turns(request, again),
        "more": request.POST.get("more", ""),
        "name": request.POST.get("name") or ("text" if form == "text" else "image"),
        "text": request.POST.get("text", ""),
        "body": request.POST.get("body") or EXAMPLE,
    }
    status = 200
    if request.method == "POST":
        try:
            body, path = _body(request, model, again)
            key = _key(request) if path else ""
            tried = try_model(person_of(request), model, body, path, key)
        except ValueError as error:
            context["problem"], status = str(error), 400
        except StoreError as error:
            context["problem"], status = sentence(error), error.status
        else:
            written, is_whole = highlight(tried.text)
            context |= {
                "tried": tried,
                "json": written,
                "json_is_whole": is_whole,
                "answer": answer_of_text(model, tried.text),
                "texts": _texts(tried.text)
                if type_of(model.task_type).has_prompt
                else [],
                "ids": [unquote(each) for each in tried.inference_ids],
            }
    return render(request, "inferences/try.html", context, status=status)


def _texts(answer: str) -> list[SafeString]:
    """Return what a text model says, a text for each choice."""
    conversation = read_conversation(None, parse(answer))
    choices = conversation.choices if conversation else ()
    texts = (turn_text(choice)[:TEXT_SHOWN] for choice in choices[:CHOICES_SHOWN])
    return [render_markdown(text.replace("\0", "\ufffd")) for text in texts]


def _again(request: HttpRequest, model: RegisteredModel) -> Draft | None:
    """Return the stored request that ``again`` names, to be edited and sent again."""
    given = request.POST if request.method == "POST" else request.GET
    name = given.get("again", "")
    if not name:
        return None
    inference = None if "\0" in name else find_inference(model, name)
    if inference is None:
        raise Http404
    return draft_of(inference)


def _turns(request: HttpRequest, again: Draft | None) -> list[dict[str, Any]]:
    """Return the fields of the turns, with what was typed into them."""
    if again is None:
        return []
    given = request.POST
    return [
        {
            "field": field,
            "text": given.get(f"text-{field.number}", field.text).replace(
                "\0", "\ufffd"
            ),
            "role": given.get(f"role-{field.number}", field.role),
            "is_dropped": bool(given.get(f"drop-{field.number}")),
        }
        for field in again.fields
    ]


def _body(
    request: HttpRequest, model: RegisteredModel, again: Draft | None
) -> tuple[bytes, str]:
    """Return the request of the form, and its path below the model if it is not V2.

    Raises ``ValueError``.
    """
    given = request.POST
    name = given.get("name", "").strip() or "image"
    if given.get("form") == "turns" and again is not None:
        sent = edited_request(again, given)
        if sent.path:
            return sent.text.encode("utf-8", "replace"), sent.path
        return tensor_request(model, again.tensor or name, sent.text), ""
    if given.get("form") == "request":
        return given.get("body", "").encode(), ""
    if given.get("form") == "text":
        if not given.get("text"):
            raise ValueError("Type a text first.")
        return tensor_request(model, name, given["text"]), ""
    file = request.FILES.get("file")
    if file is None:
        raise ValueError("Choose a file first.")
    if (file.size or 0) > INPUT_MAX_BYTES:
        raise ValueError(f"A file has at most {INPUT_MAX_BYTES // 1024**2} MiB here.")
    return tensor_request(model, name, file.read()), ""


def _key(request: HttpRequest) -> str:
    """Return the key of the model server. Raises ``ValueError`` if it cannot be in a header."""
    key = request.POST.get("key", "").strip()
    if not (key.isascii() and key.isprintable()):
        raise ValueError("The key of the model server has letters, digits and signs.")
    return key


@login_required
@require_safe
def tried(request: HttpRequest, model_id: str) -> HttpResponse:
    """Render a link to the record of the call, or that it has not been stored yet."""
    model = visible_model(request, model_id)
    inference_id = request.GET.get("id", "")
    waits = request.GET.get("waits", "0")
    number = int(waits) + 1 if waits.isdecimal() and len(waits) < 5 else WAITS_MOST
    found = "\0" not in inference_id and find_inference(model, inference_id)
    context = {
        "model": model,
        "id": inference_id,
        "found": found,
        "waits": number,
        "is_late": number >= WAITS_MOST,
    }
    return render(request, "inferences/_tried.html", context)
