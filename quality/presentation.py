"""View models of the quality page: tiles, a heat table, a curve, a line over groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from quality.figures.base import Confusion, Figures
from quality.measuring import Group, Quality

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


@dataclass(frozen=True, slots=True)
class HeatRow:
    """A row of the confusion matrix."""

    label: str
    cells: list[Cell]
    total: int


@dataclass(frozen=True, slots=True)
class Point:
    """A group in the chart; ``top`` and ``height`` are those of a column that starts at zero."""

    x: float
    y: float
    group: Group
    value: float
    top: float = 0.0
    height: float = 0.0


@dataclass(frozen=True, slots=True)
class Line:
    """A figure over groups, in a box of 100 by 100; ``low`` and ``high`` are the axis ends."""

    title: str
    points: list[Point]
    low: float
    high: float
    is_over_time: bool = True  # otherwise groups are unordered, and columns are drawn
    width: float = 0.0  # of a column

    @property
    def path(self) -> str:
        return "M" + " L".join(f"{p.x:g} {p.y:g}" for p in self.points)


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


def heat_rows(confusion: Confusion) -> list[HeatRow]:
    """Return the rows of the confusion matrix with the heat of each cell."""
    rows = []
    for place, (label, counts) in enumerate(
        zip(confusion.labels, confusion.counts, strict=True)
    ):
        total = sum(counts)
        cells = [
            Cell(count, -(-HEATS * count // total) if total else 0, place == column)
            for column, count in enumerate(counts)
        ]
        rows.append(HeatRow(label, cells, total))
    return rows


def curve_path(points: Sequence[tuple[float, float]]) -> str:
    """Return the SVG path of the curve: x is recall, y precision, in a box of 100 by 100."""
    return "M" + " L".join(f"{100 * r:.2f} {100 - 100 * p:.2f}" for r, p in points)


def followed(quality: Quality, is_over_time: bool) -> Line | None:
    """Return the main figure over the groups, or None if fewer than two groups have it."""
    name = next((n for n in FOLLOWED if n in quality.figures.overall), None)
    groups = [
        (group, value)
        for group in quality.groups
        if name and (value := group.figures.overall.get(name)) is not None
    ]
    if name is None or len(groups) < 2:
        return None
    values = [value for _, value in groups]
    low, high = (0.0, 1.0) if name not in ERRORS else (0.0, max(values) or 1.0)
    low = min(low, *values)
    slot = 100 / len(groups)

    def height_at(value: float) -> float:
        return 100 - 100 * (value - low) / (high - low)

    points = []
    for n, (group, value) in enumerate(groups):
        top, foot = sorted((height_at(value), height_at(0.0)))
        points.append(
            Point(
                round(
                    100 * n / (len(groups) - 1) if is_over_time else (n + 0.1) * slot, 2
                ),
                round(height_at(value), 2),
                group,
                value,
                round(top, 2),
                round(max(foot - top, 0.5), 2),
            )
        )
    return Line(TITLES[name][0], points, low, high, is_over_time, round(0.8 * slot, 2))
