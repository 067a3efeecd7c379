"""Tags of the pages of one model: its tabs, and what its filter panel offers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from django import template
from django.urls import NoReverseMatch, reverse
from django.utils.safestring import SafeString

from inferences.models import InferenceAction, RegisteredModel
from inferences.predictions.model_types import type_of
from inferences.web import list_downloads
from inferences.web.access import holds_role
from inferences.web.choice_markup import slug, write_choices
from inferences.web.view_models.browsing import Offer
from inferences.web.view_models.facets import Choice
from inferences.web.view_models.meant import Meant, first_meant
from inferences.web.view_models.questions import Question, Row
from istore.models import Role
from istore.web.escaping import escape

register = template.Library()

# A tab stands where one of its names resolves: an app that is not installed has none.
TABS = (
    ("inferences", "Inferences", "grid", Role.VIEWER, ("inferences:browse",)),
    ("statistics", "Statistics", "chart", Role.VIEWER, ("inferences:statistics",)),
    ("embeddings", "Embeddings", "grid", Role.VIEWER, ("inferences:map",)),
    ("quality", "Quality", "target", Role.VIEWER, ("quality:page",)),
    ("storage", "Storage", "archive", Role.VIEWER, ("retention:policy",)),
    ("datasets", "Datasets", "stack", Role.VIEWER, ("datasets:of-model",)),
    ("exports", "Exports", "download", Role.VIEWER, ("exports:model", "exports:list")),
    ("services", "Services", "plug", Role.VIEWER, ("services:model",)),
    ("try", "Try it", "play", Role.EDITOR, ("inferences:try",)),
    ("settings", "Settings", "gear", Role.EDITOR, ("inferences:settings",)),
)
OF_A_QUESTION = ("inferences", "statistics", "embeddings", "quality")
# What a list offers to do with a selection, where its name resolves.
ACTIONS = (
    ("Review", "eye", Role.EDITOR, "inferences:review"),
    ("Export", "download", Role.EDITOR, "exports:new"),
    ("Add to dataset", "stack", Role.EDITOR, "datasets:add"),
    ("Protect", "shield", Role.EDITOR, "inferences:protect"),
    ("Tag", "tag", Role.EDITOR, "inferences:tag"),
    ("Delete", "trash", Role.EDITOR, "inferences:remove"),
)
PLAIN_TYPES = ("string", "int", "float")
VALUE_LINKED = 200  # characters of a value that is a link to those with the same
# What takes two of a list, of models whose inputs are texts.
OF_TEXTS = (("Compare texts", "compare", Role.VIEWER, "inferences:compare"),)


@dataclass(frozen=True, slots=True)
class Action:
    title: str
    icon: str
    address: str
    is_danger: bool


@dataclass(frozen=True, slots=True)
class Tab:
    title: str
    icon: str
    address: str
    is_current: bool


@register.simple_tag(takes_context=True)
def model_tabs(
    context: template.Context, model: RegisteredModel, active: str
) -> list[Tab]:
    """The tabs that this installation has and this person may open.

    Those that are about a question keep the one of this page.
    """
    may_edit = may(context, "editor", model)
    question = context.get("question")
    asked = question.context if isinstance(question, Question) else ""
    tabs = []
    for key, title, icon, role, names in TABS:
        if key == "embeddings" and not model.embedding_size:
            continue
        address = _address(names, model)
        if address and (role == Role.VIEWER or may_edit):
            address += asked if key in OF_A_QUESTION else ""
            tabs.append(Tab(title, icon, address, key == active))
    return tabs


@register.simple_tag(takes_context=True)
def selection_actions(
    context: template.Context, model: RegisteredModel, of_list: bool = False
) -> list[Action]:
    """What this person may do with a selection in this installation, or with one inference."""
    may_edit = may(context, "editor", model)
    has_texts = of_list and type_of(model.task_type).has_prompt
    found = []
    for title, icon, role, name in (*(OF_TEXTS if has_texts else ()), *ACTIONS):
        if not of_list and title == "Protect":  # the page has a button of its own
            continue
        address = _address((name,), model)
        if address and (role == Role.VIEWER or may_edit):
            found.append(Action(title, icon, address, title == "Delete"))
    return found


@register.simple_tag
def list_of_value(model: RegisteredModel, key: str, type_: str, value: str) -> str:
    """The address of the inferences with the same metadata value; "" where no short filter says it."""
    row = Row(key, type_, "=", value)
    is_plain = type_ in PLAIN_TYPES and len(value) <= VALUE_LINKED
    if not is_plain or Row.read(str(row)) != row:
        return ""
    address = reverse("inferences:browse", args=[model.project, model.model_id])
    return f"{address}?{urlencode({'metadata': str(row)})}"


@dataclass(frozen=True, slots=True)
class ListDownload:
    """The download of a list in one step: the address that starts it, and the formats."""

    address: str
    formats: list[tuple[str, str]]

    @property
    def usual(self) -> tuple[str, str]:
        return self.formats[0]


@register.simple_tag(takes_context=True)
def list_download(
    context: template.Context, model: RegisteredModel
) -> ListDownload | None:
    """How this person downloads a list of the model; None for whom may not export."""
    offered = list_downloads.formats.single
    address = _address(("exports:start",), model)
    if offered is None or address is None or not may(context, "editor", model):
        return None
    return ListDownload(address, offered(model))


def _address(names: tuple[str, ...], model: RegisteredModel) -> str | None:
    for name in names:
        try:
            return reverse(name, args=[model.project, model.model_id])
        except NoReverseMatch:
            continue
    return None


@register.simple_tag(takes_context=True)
def may(context: template.Context, role: str, model: RegisteredModel) -> bool:
    """Whether the person has this role in the model's project."""
    request = context.get("request")
    return request is not None and holds_role(request, Role(role), model)


@register.simple_tag
def offered_labels(offer: Offer, question: Question) -> list[Choice]:
    """The labels the model has met, nothing counted yet."""
    chosen = question.labels
    known = [Choice(n, None, n in chosen, hue=hue) for n, hue in offer.labels]
    names = {choice.name for choice in known}
    return [*known, *(Choice(n, None, True) for n in chosen if n not in names)]


@register.simple_tag
def field_error(question: Question, name: str, swap: bool = False) -> SafeString:
    """What is wrong with a field of the form; CSS hides it where it is empty."""
    said = escape(" ".join(question.errors.get(name, ())))
    swapped = ' hx-swap-oob="true"' if swap else ""
    return SafeString(f'<p class="field-error" id="error-{name}"{swapped}>{said}</p>')


@register.simple_tag
def chosen_source(offer: Offer, question: Question) -> list[Choice]:
    """The sources the model has met, nothing counted yet."""
    chosen = question.query.get("source")
    names = dict.fromkeys([*offer.sources, *([chosen] if chosen else [])])
    return [Choice(name, None, name == chosen) for name in names]


@register.simple_tag
def action_choices(question: Question) -> list[Choice]:
    chosen = question.query.get("action")
    return [Choice(name, None, name == chosen) for name in InferenceAction.labels]


@register.simple_tag
@register.simple_tag
def meant_by(model: RegisteredModel, chosen: Any) -> list[Meant]:
    """The first inferences of a selection of another app: ids, or a question without some ids."""
    question = None if chosen.ids else chosen.question
    return first_meant(model, chosen.ids, question, chosen.excluded)


@register.simple_tag
def edge(value: Any) -> str:
    """The edge of a bin: a moment in RFC 3339, or a number as short as it can be."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="seconds")[:19] + "Z"
    return f"{value:.6g}"


@register.simple_tag
def choice_list(choices: Iterable[Choice], name: str, kind: str) -> SafeString:
    """Values to choose from, each a checkbox or a radio of this field."""
    return write_choices(choices, name, kind)


register.filter("slug", slug)
