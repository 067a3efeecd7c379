"""View models of the quality page: tiles, a heat table, and the plots."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from istore.web.plots import Plot, Point, line_plot
from quality.figures.base import Confusion, Figures
from quality.measuring import TIME, Group, Quality

HEATS = 9
# By figure: its title, and an explanation if the title is not enough.
TITLES: dict[str, tuple[str, str]] = {
    "accuracy": ("Accuracy", "share of answers that are right"),
    "balanced_accuracy": ("Balanced accuracy", "mean recall of the labels"),
    "precision_macro": ("Precision", "mean of the labels"),
    "recall_macro": ("Recall", "mean of the labels"),
    "f1_macro": ("F1", "mean of the labels"),
    "f1_weighted": ("F1, weighted", "by how frequent labels are"),
    "auc": ("AUC", "area under the ROC curve"),
    "log_loss": ("Log loss", "lower is better"),
    "matthews_correlation": ("Matthews correlation", "0 is chance, 1 is right"),
    "map": ("mAP@[.5:.95]", "mean average precision, as COCO"),
    "map_50": ("mAP@.5", "overlapping by half"),
    "map_75": ("mAP@.75", "overlapping by three quarters"),
    "average_recall": ("Average recall", "of a hundred answers an image"),
    "precision": ("Precision", ""),
    "recall": ("Recall", ""),
    "f1": ("F1", ""),
    "mae": ("MAE", "mean absolute error"),
    "rmse": ("RMSE", "root mean squared error"),
    "median_absolute_error": ("Median error", "absolute"),
    "max_error": ("Largest error", "absolute"),
    "r2": ("R²", "1 is right, 0 is the mean"),
    "ndcg": ("NDCG", "gain of the order, 1 is best"),
    "ndcg_at_10": ("NDCG@10", "of the first ten"),
    "mean_average_precision": ("MAP", "relevant items before others"),
    "exact_match": ("Exact match", "the same words"),
}
COLUMNS = (
    "precision",
    "recall",
    "f1",
    "map",
    "map_50",
    "accuracy",
    "mae",
    "rmse",
    "r2",
)
# The figure that the line over groups shows: the first of these that exists.
FOLLOWED = ("accuracy", "map", "mae", "f1", "ndcg", "exact_match")
ERRORS = ("mae", "rmse", "median_absolute_error", "max_error", "log_loss")


@dataclass(frozen=True, slots=True)
class Tile:
    """A figure in a tile."""

    title: str
    value: float | None
    note: str


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of the confusion matrix; ``heat`` is its share of the row, from 0 to 9."""

    count: int
    heat: int
    is_right: bool
    address: str = ""


@dataclass(frozen=True, slots=True)
class HeatRow:
    """A row of the confusion matrix."""

    label: str
    cells: list[Cell]
    total: int


def tiles(figures: Figures) -> list[Tile]:
    """Return a tile for each overall figure that has a value."""
    return [
        Tile(*_named(TITLES[name], value))
        for name, value in figures.overall.items()
        if name in TITLES and value is not None
    ]


def _named(titles: tuple[str, str], value: float) -> tuple[str, float, str]:
    return titles[0], value, titles[1]


def columns(figures: Figures) -> list[tuple[str, str]]:
    """Return name and title of the figures that the rows of labels have."""
    known = {name for row in figures.by_label for name in row}
    return [(name, TITLES[name][0]) for name in COLUMNS if name in known]


def label_rows(figures: Figures) -> list[tuple[str, list[float | None], int, float]]:
    """Return each label with its figures, its support, and the length of its bar."""
    names = [name for name, _ in columns(figures)]
    followed = next((n for n in ("f1", "map", "accuracy") if n in names), None)
    return [
        (
            row["label"],
            [row.get(name) for name in names],
            row["support"],
            round(100 * max(row.get(followed) or 0, 0), 1) if followed else 0,
        )
        for row in figures.by_label
    ]


def heat_rows(confusion: Confusion, link: Callable[[str, str], str]) -> list[HeatRow]:
    """Return the rows of the confusion matrix with the heat of each cell.

    ``link`` gives the address of the inferences with a label as ground truth and as answer.
    """
    rows = []
    for place, (label, counts) in enumerate(
        zip(confusion.labels, confusion.counts, strict=True)
    ):
        total = sum(counts)
        cells = [
            Cell(
                count,
                -(-HEATS * count // total) if total else 0,
                place == column,
                link(label, confusion.labels[column]) if count else "",
            )
            for column, count in enumerate(counts)
        ]
        rows.append(HeatRow(label, cells, total))
    return rows


def curve_plot(points: Sequence[tuple[float, float]]) -> Plot:
    """Return precision over recall, both from 0 to 1."""
    dots = [
        Point(recall, precision, [f"recall {recall:.3g}", f"precision {precision:.3g}"])
        for recall, precision in points
    ]
    return line_plot(
        dots,
        label="The precision at each recall",
        x_title="recall",
        y_title="precision",
        high=1.0,
        x_range=(0.0, 1.0),
        shape="square",
    )


def group_plot(quality: Quality, group: str, link: Callable[[str], str]) -> Plot | None:
    """Return the main figure over the groups, or None if fewer than two groups have it.

    ``link`` gives the address of the inferences of a group.
    """
    name = next((n for n in FOLLOWED if n in quality.figures.overall), None)
    groups = [
        (each, value)
        for each in quality.groups
        if name and (value := each.figures.overall.get(name)) is not None
    ]
    if name is None or len(groups) < 2:
        return None
    title = TITLES[name][0]
    points = [
        Point(
            _place(each, group),
            value,
            [
                _group_name(each, group),
                f"{title} {value:.4g}",
                f"{each.figures.rows:,} rows",
            ],
            link(each.name),
        )
        for each, value in groups
    ]
    return line_plot(
        points,
        label=f"{title} by {group}",
        x_title=group,
        y_title=title,
        high=None if name in ERRORS else 1.0,
    )


def _place(group: Group, by: str) -> datetime | str:
    return datetime.fromisoformat(group.name) if by == TIME else _group_name(group, by)


def _group_name(group: Group, by: str) -> str:
    if by == TIME:
        return group.name.replace("T00:00:00Z", "").replace("T", " ").replace("Z", "")
    return group.name or "none"
