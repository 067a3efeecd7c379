"""Tags of the pages of one model: its tabs."""

from __future__ import annotations

from dataclasses import dataclass

from django import template
from django.urls import NoReverseMatch, reverse

from inferences.models import RegisteredModel
from istore.access import caller_of
from istore.models import Role

register = template.Library()

# A tab stands where one of its names resolves: an app that is not installed has none.
TABS = (
    ("inferences", "Inferences", "grid", Role.VIEWER, ("inferences:browse",)),
    ("statistics", "Statistics", "chart", Role.VIEWER, ("inferences:statistics",)),
    ("quality", "Quality", "target", Role.VIEWER, ("inferences:quality",)),
    ("storage", "Storage", "archive", Role.VIEWER, ("retention:policy",)),
    ("exports", "Exports", "download", Role.VIEWER, ("exports:model", "exports:list")),
    ("services", "Services", "plug", Role.VIEWER, ("services:model",)),
    ("try", "Try it", "play", Role.EDITOR, ("inferences:try",)),
    ("settings", "Settings", "gear", Role.EDITOR, ("inferences:settings",)),
)


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
    """The tabs that this installation has and this person may open."""
    may_edit = may(context, "editor", model)
    tabs = []
    for key, title, icon, role, names in TABS:
        address = _address(names, model)
        if address and (role == Role.VIEWER or may_edit):
            tabs.append(Tab(title, icon, address, key == active))
    return tabs


def _address(names: tuple[str, ...], model: RegisteredModel) -> str | None:
    for name in names:
        try:
            return reverse(name, args=[model.model_id])
        except NoReverseMatch:
            continue
    return None


@register.simple_tag(takes_context=True)
def may(context: template.Context, role: str, model: RegisteredModel) -> bool:
    """Whether the person has this role in the model's project; asked once a page."""
    request = context.get("request")
    if request is None:
        return False
    known: dict[tuple[str, int], bool] = request.__dict__.setdefault("_roles_held", {})
    place = (role, model.project_id)
    if place not in known:
        known[place] = caller_of(request).may(Role(role), model.project)
    return known[place]
