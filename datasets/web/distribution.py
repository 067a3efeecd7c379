"""The page of a version's labels and splits: plots, a table by split, and how it is split."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from datasets import lifecycle
from datasets.distribution import Counts, Distribution, by_total, distribution_of
from datasets.forms import SplittingForm
from datasets.models import Dataset
from datasets.web.access import act, address_of, all_errors, version_of, visible_dataset
from datasets.web.entries import list_address
from datasets.web.head import head
from inferences.search import text
from inferences.search.filters import (
    DetectionFilter,
    Filter,
    InDataset,
    InferenceFilter,
    TruthLabelFilter,
)
from inferences.search.filters.intersection import all_of
from inferences.web.view_models.questions import Question
from istore.db.statement_timeout import statement_timeout
from istore.models import Role
from istore.web.plots import Names, Plot, Series, bar_plot

DRAWN = 24  # labels of a plot
LISTED = 100  # of the table
WHOLE = "all entries"


@login_required
@require_safe
def show_distribution(
    request: HttpRequest, project_id: str, name: str, version: str | None = None
) -> HttpResponse:
    """Render the labels of answers and ground truth by split, of all entries or of a query."""
    dataset = visible_dataset(request, project_id, name)
    number = version_of(dataset, version)
    question = Question(request.GET)
    context: dict[str, Any] = {
        **head(request, dataset, number, "distribution"),
        "question": question,
    }
    if question.was_a_form:
        return redirect(f"{request.path}{question.link()}")
    if context["is_working"] and context["may_edit"]:
        context["splitting_form"] = SplittingForm.of(dataset)
    try:
        filters = question.filters if question.is_filtered else None
        with statement_timeout():
            found = distribution_of(dataset, number, filters)
    except ValidationError as error:
        context["problem"] = " ".join(error.messages)
    except OperationalError:
        context["is_slow"] = True
    else:
        shown = Shown(dataset, number, question.filters, found)
        context |= {"shown": shown, "moved": len(dataset.splitting_of(number).moved)}
    return render(request, "datasets/distribution.html", context)


@dataclass(frozen=True, slots=True)
class Cell:
    """A count of a row and a split, its share of the split in percent, and its list."""

    count: int
    share: float
    address: str


@dataclass(frozen=True, slots=True)
class Row:
    """A label with its counts in each split."""

    label: str
    total: int
    address: str
    cells: list[Cell]


class Shown:
    """The distribution for the page: each count opens the entries that it counts."""

    def __init__(
        self, dataset: Dataset, version: int, filters: Filter, found: Distribution
    ) -> None:
        self._dataset, self._version, self._filters = dataset, version, filters
        self.found = found
        self.splits = list(found.entries) or [""]
        self.total = sum(found.entries.values())

    def _address(self, *narrower: Filter) -> str:
        asked = all_of([self._filters, *narrower])
        return list_address(self._dataset, self._version, text.write(asked))

    @property
    def is_split(self) -> bool:
        return self.splits != [""]

    @property
    def columns(self) -> list[tuple[str, Cell]]:
        """The splits, each with its entries."""
        return [
            (
                split,
                Cell(
                    count,
                    100 * count / (self.total or 1),
                    self._address(InDataset(split=split)) if split else "",
                ),
            )
            for split, count in self.found.entries.items()
        ]

    @property
    def plots(self) -> list[tuple[str, Plot]]:
        """The plots of answers and ground truth, with the same labels on one axis."""
        both = [
            ("What the model said", self.found.answers, _label),
            ("Ground truth", self.found.truths, TruthLabelFilter),
        ]
        labels = self.found.labels[:DRAWN]
        return [
            (title, self._plot(title, counts, labels, narrow))
            for title, counts, narrow in both
            if counts
        ]

    def _plot(
        self,
        title: str,
        counts: Counts,
        labels: list[str],
        narrow: Callable[[str], Filter],
    ) -> Plot:
        series = [
            Series(
                split or ("without a split" if self.is_split else "entries"),
                [counts.get(label, {}).get(split, 0) for label in labels],
                f"hue-{n}",
                self._address(InDataset(split=split)) if split else "",
            )
            for n, split in enumerate(self.splits)
        ]
        return bar_plot(
            Names(labels),
            series,
            label=f"{title}: entries by label",
            x_title="label",
            noun="entries",
            is_stacked=True,
            link=lambda place: self._address(narrow(labels[place])),
        )

    @property
    def tables(self) -> list[tuple[str, list[Row], int]]:
        """Label by label the counts in each split, and how many more labels there are."""
        both = [
            ("What the model said", self.found.answers, _label),
            ("Ground truth", self.found.truths, TruthLabelFilter),
        ]
        return [
            (
                title,
                [
                    self._row(label, total, counts[label], narrow)
                    for label, total in by_total(counts)[:LISTED]
                ],
                max(0, len(counts) - LISTED),
            )
            for title, counts, narrow in both
            if counts
        ]

    def _row(
        self,
        label: str,
        total: int,
        counts: dict[str, int],
        narrow: Callable[[str], Filter],
    ) -> Row:
        cells = []
        for split in self.splits:
            count = counts.get(split, 0)
            of = self.found.entries.get(split) or 1
            asked = [narrow(label), *([InDataset(split=split)] if split else [])]
            address = self._address(*asked) if count and split else ""
            cells.append(Cell(count, 100 * count / of, address))
        return Row(label, total, self._address(narrow(label)), cells)


def _label(label: str) -> Filter:
    return InferenceFilter(detections=DetectionFilter((label,)))


@login_required
@require_POST
def split(request: HttpRequest, project_id: str, name: str) -> HttpResponse:
    """Set how the working version is split."""
    dataset = visible_dataset(request, project_id, name, Role.EDITOR)
    form = SplittingForm(request.POST)
    if not form.is_valid():
        messages.error(request, all_errors(form))
        return redirect(f"{address_of(dataset)}/distribution")
    splitting = form.cleaned_data["splitting"]
    return act(
        request,
        dataset,
        lambda caller, found: lifecycle.change(caller, found, splitting=splitting),
        "The working version is split.",
    )
