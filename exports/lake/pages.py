"""The page of the lake: its tables, and SQL over them."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from exports.lake import dropping
from exports.lake.doors import SQL_MAX_CHARS, find_table, list_tables, query
from istore.accounts.access import caller_of
from istore.errors import Conflict, StoreError
from istore.models import Role

ROWS = 200  # on a page; the API and the command give more


class QueryForm(forms.Form):
    sql = forms.CharField(
        max_length=SQL_MAX_CHARS,
        label="SQL",
        help_text="One SELECT, as DuckDB understands it.",
        widget=forms.Textarea(
            attrs={"rows": 6, "spellcheck": "false", "class": "mono"}
        ),
    )


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def sql(request: HttpRequest) -> HttpResponse:
    """List the tables that a person may see; a POST runs one SELECT over them."""
    caller = caller_of(request)
    projects = list(caller.visible_projects())
    tables = list_tables(projects)
    form = QueryForm(request.POST or None, initial={"sql": _first(tables)})
    editable = {p.project_id for p in projects if caller.may(Role.EDITOR, p)}
    context: dict[str, Any] = {
        "form": form,
        "tables": tables,
        "limit": ROWS,
        "editable": editable,
    }
    status = 200
    if request.method == "POST" and form.is_valid():
        try:
            context["found"] = query(projects, form.cleaned_data["sql"], ROWS)
        except StoreError as error:
            form.add_error("sql" if error.status == 400 else None, str(error))
            status = error.status
    if form.errors and status == 200:
        status = 400
    return render(request, "exports/lake.html", context, status=status)


@login_required
@require_POST
def drop(request: HttpRequest, name: str) -> HttpResponse:
    """Drop a table that no schedule writes."""
    caller = caller_of(request)
    row = find_table(caller.visible_projects(), name)
    if row is None:
        raise Http404
    if not caller.may(Role.EDITOR, row.model.project):
        raise PermissionDenied
    try:
        dropping.drop(caller, row)
        messages.success(
            request, f"The table {name} is dropped; its files are being removed."
        )
    except Conflict as error:
        messages.error(request, str(error))
    return redirect("exports:lake")


def _first(tables: list[Any]) -> str:
    """Return a query to begin with."""
    filled = [table for table in tables if table.location]
    if not filled:
        return ""
    return (
        f"SELECT timestamp::DATE AS day, count(*) AS rows\nFROM {filled[0].name}\n"
        "GROUP BY day ORDER BY day DESC"
    )
