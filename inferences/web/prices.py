"""The page of token prices of a project."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from inferences.models import TokenPrice
from inferences.store.token_prices import add_price, prices_for, remove_price
from inferences.web.forms import PriceForm
from istore.accounts.access import caller_of
from istore.db import clock
from istore.errors import Conflict
from istore.models import Role
from istore.web.pages import visible_project


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def prices(request: HttpRequest, project_id: str) -> HttpResponse:
    """Render the prices that hold in a project; POST adds one of its own."""
    is_new = request.method == "POST"
    role = Role.ADMINISTRATOR if is_new else Role.VIEWER
    project = visible_project(request, project_id, role)
    caller = caller_of(request)
    form = PriceForm(
        request.POST if is_new else None,
        initial={
            "valid_from": clock.now().date().isoformat(),
            "model_pattern": request.GET.get("model", "")[:200],
        },
    )
    if is_new and form.is_valid():
        price = form.save(commit=False)
        price.project = project
        try:
            add_price(caller, price)
        except Conflict as error:
            form.add_error("valid_from", error.message)
        else:
            messages.success(request, f"{price.model_pattern} has a price.")
            return redirect("inferences:prices", project.project_id)
    context = {
        "project": project,
        "form": form,
        "prices": [_row(price) for price in prices_for(project)],
        "may_edit": caller.may(Role.ADMINISTRATOR, project),
    }
    status = 400 if form.errors else 200
    return render(request, "inferences/prices.html", context, status=status)


def _row(price: TokenPrice) -> tuple[TokenPrice, list[str]]:
    """Return a price with its amounts: input, cached input ("" for as input), output."""
    amounts = (price.input_price, price.cached_input_price, price.output_price)
    return price, ["" if each is None else f"{each.normalize():f}" for each in amounts]


@login_required
@require_POST
def remove(request: HttpRequest, project_id: str, price: str) -> HttpResponse:
    """Remove a price of a project; those of all projects are removed in the administration."""
    project = visible_project(request, project_id, Role.ADMINISTRATOR)
    found = TokenPrice.objects.filter(project=project, pk=int(price)).first()
    if found is None:
        raise Http404
    remove_price(caller_of(request), found)
    messages.success(request, f"The price of {found.model_pattern} is removed.")
    return redirect("inferences:prices", project.project_id)
