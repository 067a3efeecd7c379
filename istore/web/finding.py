"""Find models, datasets, views, services, pages and inferences by a part of their name.

Apps register how to find what they have. The page works without scripts; ``palette.js`` shows
its list in a dialog, wherever a person is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from istore.accounts.access import Caller, caller_of
from istore.hooks import Hook

EACH_MOST = 6  # of each kind
LONGEST = 500  # characters of a text; an inference id has at most 450


@dataclass(frozen=True, slots=True)
class Found:
    """Something with a page of its own; ``note`` tells it from others of the same name."""

    name: str
    address: str
    note: str = ""
    icon: str = "right"


# Returns what the caller may see and the text names, the best first; for "" what they open most.
Source = Callable[[Caller, str, int], list[Found]]
sources: Hook[Source] = Hook()  # by the title of what they find


@login_required
@require_safe
def find(request: HttpRequest) -> HttpResponse:
    """Render what was found for ``q``; with ``part=found`` the list alone."""
    text = request.GET.get("q", "").strip()[:LONGEST]
    caller = caller_of(request)
    found = [(title, hits) for title, hits in _ask_all(caller, text) if hits]
    context = {"text": text, "groups": found}
    is_part = request.GET.get("part") == "found"
    return render(request, "_found.html" if is_part else "find.html", context)


def _ask_all(caller: Caller, text: str) -> Iterator[tuple[str, list[Found]]]:
    for title, source in sources.items():
        yield title, source(caller, text, EACH_MOST)
    yield "Pages", _find_pages(caller, text)


def _find_pages(caller: Caller, text: str) -> list[Found]:
    pages = [
        ("Models", "inferences:models", "grid", False),
        ("Datasets", "datasets:overview", "stack", False),
        ("Exports", "exports:overview", "download", False),
        ("Projects", "projects", "box", False),
        ("Register a model", "inferences:register", "plus", False),
        ("Services", "services:services", "plug", False),
        ("API documentation", "api-docs", "book", False),
        ("Change password", "password", "lock", False),
        ("Operations", "operations", "live", True),
        ("Administration", "admin:index", "shield", True),
    ]
    is_staff = bool(caller.user and caller.user.is_staff)
    return [
        Found(name, reverse(address), "", icon)
        for name, address, icon, is_of_staff in pages
        if text.lower() in name.lower() and (is_staff or not is_of_staff)
    ]
