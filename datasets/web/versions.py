"""The versions of a dataset as a timeline, publishing another, and comparing two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib.auth.decorators import login_required
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_POST, require_safe

from datasets import lifecycle, summary
from datasets.models import Dataset, DatasetVersion
from datasets.web.access import act, address_of, version_of, visible_dataset
from datasets.web.head import head
from istore.db.statement_timeout import statement_timeout
from istore.models import Role

LABELS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Moment:
    """A version on the timeline; ``step`` is what it changed, None if counting took too long."""

    number: int
    address: str
    compare: str
    step: summary.Step | None
    published: DatasetVersion | None = None

    @property
    def entries(self) -> int | None:
        return self.published.summary.get("entries") if self.published else None

    @property
    def splits(self) -> list[tuple[str, int]]:
        found = self.published.summary.get("splits", {}) if self.published else {}
        return sorted(found.items(), key=lambda pair: -pair[1])


@login_required
@require_safe
def show_versions(request: HttpRequest, project_id: str, name: str) -> HttpResponse:
    """Render the timeline: what each version added and took out, newest first."""
    dataset = visible_dataset(request, project_id, name)
    context = head(request, dataset, dataset.working, "versions")
    context["moments"] = _moments(dataset, context["has_changed"])
    return render(request, "datasets/versions.html", context)


def _moments(dataset: Dataset, has_changed: bool) -> list[Moment]:
    steps: dict[int, summary.Step] | None
    try:
        with statement_timeout():
            steps = summary.steps(dataset)
    except OperationalError:
        steps = None
    published: dict[int, DatasetVersion | None] = {
        each.number: each for each in dataset.versions.all()
    }
    if has_changed:
        published = {dataset.working: None, **published}
    base = address_of(dataset)
    return [
        Moment(
            number,
            address_of(dataset, number),
            f"{base}/compare?before={number - 1}&after={number}" if number > 1 else "",
            None if steps is None else steps.get(number, summary.Step()),
            version,
        )
        for number, version in published.items()
    ]


@login_required
@require_POST
def publish(request: HttpRequest, project_id: str, name: str) -> HttpResponse:
    """Publish the working version."""
    dataset = visible_dataset(request, project_id, name, Role.EDITOR)
    note = request.POST.get("note", "")[:1000].replace("\0", "")
    return act(
        request,
        dataset,
        lambda caller, found: lifecycle.publish(caller, found, note),
        "The version is published and will not change.",
    )


@login_required
@require_safe
def compare(request: HttpRequest, project_id: str, name: str) -> HttpResponse:
    """Render the comparison of two versions."""
    dataset = visible_dataset(request, project_id, name)
    last = str(dataset.published or 1)
    before = version_of(dataset, request.GET.get("before", last))
    after = version_of(dataset, request.GET.get("after", "working"))
    context: dict[str, Any] = {
        **head(request, dataset, dataset.working, "versions"),
        "before": before,
        "after": after,
        "numbers": range(1, dataset.working + 1),
    }
    try:
        with statement_timeout():
            compared = summary.compare(dataset, before, after)
            sides = [summary.splits(dataset, each) for each in (before, after)]
    except OperationalError:
        context["is_slow"] = True
        return render(request, "datasets/compare.html", context)
    context |= {
        "compared": compared,
        "labels": _bars(compared.labels),
        "splits": _bars(
            {
                name: (sides[0].get(name, 0), sides[1].get(name, 0))
                for name in dict.fromkeys([*sides[0], *sides[1]])
            }
        ),
    }
    return render(request, "datasets/compare.html", context)


def _bars(
    pairs: dict[str, tuple[int, int]],
) -> list[tuple[str, int, int, float, float]]:
    """Return the first counts before and after, each with its percentage of the largest."""
    largest = max((n for pair in pairs.values() for n in pair), default=0) or 1
    return [
        (
            label,
            first,
            second,
            round(100 * first / largest, 2),
            round(100 * second / largest, 2),
        )
        for label, (first, second) in list(pairs.items())[:LABELS_SHOWN]
    ]
