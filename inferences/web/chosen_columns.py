"""The columns that a person chose for the table of a model, kept by the browser.

The address holds them, so a link shows the same table to everybody. Whoever opens the list without
columns in the address gets those of the last time, by a cookie whose path is that of the list:
each model has its own, and no other page is sent it.
"""

from __future__ import annotations

from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse, QueryDict

from inferences.web.view_models.questions import Question

COOKIE = "columns"
NAMES = ("columns", "pinned")
USUAL = ["usual"]  # in an address: the usual columns again, and nothing kept
BYTES_MOST = 3_500  # browsers keep cookies of up to 4 KB
A_YEAR = 365 * 24 * 3600


def recall(request: HttpRequest, question: Question) -> bool:
    """Take over the columns that were kept if the address names none; return whether it did."""
    if question.query.getlist("columns") == USUAL:
        question.query.pop("columns")
        question.query.pop("pinned", None)
        return False
    if question.view != "table" or "columns" in question.query:
        return False
    kept = QueryDict(request.COOKIES.get(COOKIE, ""))
    if not kept.get("columns"):
        return False
    for name in NAMES:
        if values := [each for each in kept.getlist(name) if "\0" not in each]:
            question.query.setlist(name, values)
    return True


def remember(request: HttpRequest, response: HttpResponse, question: Question) -> None:
    """Keep the columns that the address names; forget them where it asks for the usual ones."""
    path = request.get_full_path().partition("?")[0]
    given = request.GET.getlist("columns")
    if ";" in path or not given or question.view != "table":
        return
    if given == USUAL:
        response.delete_cookie(COOKIE, path)
        return
    chosen = {name: question.query.getlist(name) for name in NAMES}
    value = urlencode({n: v for n, v in chosen.items() if v}, doseq=True)
    if len(value) <= BYTES_MOST:
        response.set_cookie(
            COOKIE,
            value,
            A_YEAR,
            path=path,
            secure=request.is_secure(),
            httponly=True,
            samesite="Lax",
        )
