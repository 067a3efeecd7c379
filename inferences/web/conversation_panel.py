"""The conversation on the page of one inference."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest

from inferences.models import Inference, RegisteredModel
from inferences.predictions.model_types import type_of
from inferences.predictions.parsers.values import Text
from inferences.store.conversations import conversation_of
from inferences.store.stored_requests import is_too_large
from inferences.store.token_prices import prices_for
from inferences.web.view_models.answers import Answer
from inferences.web.view_models.conversations import view_conversation
from inferences.web.view_models.failed_calls import failed_call_of
from inferences.web.view_models.usage import figures_of, sessions_of

PLAIN = "plain"


def conversation_context(
    request: HttpRequest, model: RegisteredModel, inference: Inference, answer: Answer
) -> dict[str, Any]:
    """Return what the page of an inference shows of its conversation; {} if it is none."""
    content = answer.content if isinstance(answer.content, Text) else None
    if content is None and not type_of(model.task_type).has_prompt:
        return {}
    conversation = conversation_of(inference, content)
    if conversation is None or (not conversation.choices and not conversation.turns):
        return {}
    shown = view_conversation(
        conversation,
        first=number_in(request, "turns"),
        choice=number_in(request, "choice"),
        is_plain=request.GET.get("texts") == PLAIN,
    )
    return {
        "conversation": shown,
        "failed": failed_call_of(inference.payload),
        "figures": figures_of(inference, conversation, prices_for(model.project)),
        "sessions": [
            (key, value, urlencode({"key": key, "value": value}))
            for key, value in sessions_of(inference)
        ],
        "choice_links": [
            (each.number, change_query(request, choice=each.value), each.is_current)
            for each in shown.choices
        ],
        "is_too_large": is_too_large(inference.data_size),
        # Without a server behind the proxy nothing would answer.
        "may_send_again": bool(conversation.turns and model.upstream_url),
        "texts_link": change_query(
            request, texts="" if request.GET.get("texts") == PLAIN else PLAIN
        ),
    }


def change_query(request: HttpRequest, **parameters: str) -> str:
    """Return the query string of the page with other values of some parameters."""
    query = request.GET.copy()
    for name, value in parameters.items():
        query.pop(name, None)
        if value:
            query[name] = value
    return f"?{query.urlencode()}"


def number_in(request: HttpRequest, name: str) -> int:
    """Return a parameter that is a small number; 0 for anything else."""
    given = request.GET.get(name, "")
    return int(given) if given.isdecimal() and len(given) < 8 else 0
