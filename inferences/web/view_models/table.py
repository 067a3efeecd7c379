"""The table of inferences: its columns with what can be done to each, and the rows' values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from inferences.models import RegisteredModel
from inferences.models.metadata_values import RESERVED
from inferences.store.metadata_slots import slot_of
from inferences.web.view_models.browsing import Card, Offer
from inferences.web.view_models.columns import (
    COLUMNS,
    FIXED_SORTS,
    INPUT,
    META,
    PARTS,
    SHAP,
    USUAL,
    Column,
    read_columns,
)
from inferences.web.view_models.features import (
    Feature,
    Features,
    NamedValues,
    features_of,
    is_tabular,
    named_values,
)
from inferences.web.view_models.questions import Question

FEATURES_SHOWN = 6  # of the usual columns, each with its SHAP value
INPUTS_SHOWN = 8  # of the usual columns, where there are no SHAP values


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a column: the link that sorts by it, and what of it is in the address.

    ``sorted`` is ``ascending``, ``descending`` or empty. ``is_within`` says that the sort is one
    within the newest matches. ``is_of_file`` says why there is none: the values lie in files.
    """

    column: Column
    link: str = ""
    sorted: str = ""
    is_within: bool = False
    is_pinned: bool = False
    is_of_file: bool = False

    @property
    def kind(self) -> str:
        """The word beside the title that says what the values are."""
        return {SHAP: "SHAP", INPUT: "input"}.get(self.column.part, "")


@dataclass(frozen=True, slots=True)
class Offered:
    """Columns of one part to choose from: name, title, whether it is shown."""

    title: str
    choices: list[tuple[str, str, bool]]


@dataclass(frozen=True, slots=True)
class Table:
    """The columns of a table in their order, and the choices of further ones."""

    heads: list[Head]
    offered: list[Offered]
    features: Features = field(default_factory=Features)
    has_pictures: bool = True
    values: dict[int, NamedValues] = field(default_factory=dict)  # by row id

    @property
    def has_columns_of_files(self) -> bool:
        return any(each.is_of_file for each in self.heads)

    @property
    def columns(self) -> list[Column]:
        return [each.column for each in self.heads]

    @property
    def names(self) -> list[str]:
        return [each.column.name for each in self.heads]

    @property
    def pinned(self) -> set[str]:
        return {each.column.name for each in self.heads if each.is_pinned}

    @property
    def keys(self) -> list[str]:
        """The metadata keys that have a column."""
        return [each.key for each in self.columns if each.part == META]


def usual_view(model: RegisteredModel) -> str:
    """Return the view of a list where its address names none."""
    return "table" if is_tabular(model) else "gallery"


def columns_of(
    model: RegisteredModel, question: Question, offered: Offer, features: Features
) -> list[Column]:
    """Return the columns that the address names, or the usual ones of the model."""
    chosen = question.columns or usual_columns(model, question, offered, features)
    pinned = question.pinned_columns
    # Pinned ones first, each group in its own order.
    return sorted(chosen, key=lambda each: each.name not in pinned)


def usual_columns(
    model: RegisteredModel,
    question: Question,
    offered: Offer,
    features: Features,
) -> list[Column]:
    """Return the columns of a table for which none were chosen."""
    keys = [f"{META}.{key}" for key in offered.card_keys(question.shown_keys)]
    if not is_tabular(model):
        return read_columns([*USUAL, *keys])
    of_features = list(_usual_of(features))
    return read_columns(["answer", *of_features, *keys, "time"])


def _usual_of(features: Features) -> Iterable[str]:
    most = FEATURES_SHOWN if features.has_shap else INPUTS_SHOWN
    for each in features.features[:most]:
        if each.is_input:
            yield f"{INPUT}.{each.name}"
        if each.importance is not None:
            yield f"{SHAP}.{each.name}"


def table_of(
    model: RegisteredModel,
    question: Question,
    offered: Offer,
    cards: Sequence[Card],
    features: Features | None = None,
) -> Table:
    """Return the table of a page."""
    features = features_of(model) if features is None else features
    values = {}
    columns = columns_of(model, question, offered, features)
    if is_tabular(model) or any(each.part in (INPUT, SHAP) for each in columns):
        values = {
            each.inference.id: named_values(each.inference, each.look) for each in cards
        }
        if not features.features:
            features = _features_of_page(values.values())
            columns = columns_of(model, question, offered, features)
    pinned = question.pinned_columns
    heads = [
        _head(model, question, each, features, each.name in pinned) for each in columns
    ]
    return Table(
        heads,
        _offer(columns, offered, features),
        features,
        not is_tabular(model) or any(each.look.picture for each in cards),
        values,
    )


def _features_of_page(values: Iterable[NamedValues]) -> Features:
    """Return the inputs that a page has read out of files, of which no sample tells."""
    names = dict.fromkeys(name for each in values for name in each.inputs)
    return Features([Feature(name, is_input=True) for name in names])


def _head(
    model: RegisteredModel,
    question: Question,
    column: Column,
    features: Features,
    is_pinned: bool,
) -> Head:
    up, down = _sorts(column)
    if column.part == INPUT and not features.sampled:
        # The inputs lie in files, which no statement reads.
        return Head(column, is_pinned=is_pinned, is_of_file=True)
    if up is None or down is None:
        return Head(column, is_pinned=is_pinned)
    is_on = question.sort in (up, down) and not question.embedding
    is_on = is_on and (column.name != "time" or "sort" in question.query)
    is_ascending = is_on and question.sort == up
    # The first click shows the highest numbers, and texts from the beginning.
    slot = slot_of(model, column.key) if column.part == META else None
    first, second = (up, down) if slot and "string" in slot.slot else (down, up)
    following = second if is_on and question.sort == first else first
    if up == down:
        following = "" if is_on else up
    ways = {True: "ascending", False: "descending"}
    return Head(
        column,
        question.link(sort=following or None, similar=None, like=None, metric=None),
        ways[is_ascending] if is_on else "",
        bool(column.part) and slot is None,
        is_pinned,
    )


def _sorts(column: Column) -> tuple[str | None, str | None]:
    """Return the sorts of a column, ascending and descending; None if there are none."""
    if column.part:
        return column.name, f"-{column.name}"
    return FIXED_SORTS.get(column.name, (None, None))


def _offer(
    columns: Sequence[Column], offered: Offer, features: Features
) -> list[Offered]:
    """Return what may be added to the columns, by part."""
    shown = {each.name for each in columns}
    names = {
        "": list(COLUMNS),
        SHAP: [f"{SHAP}.{f.name}" for f in features.features if f.importance],
        INPUT: [f"{INPUT}.{f.name}" for f in features.features if f.is_input],
        META: [f"{META}.{key}" for key in offered.top_keys],
    }
    found = [
        Offered(
            PARTS.get(part, "Record"),
            [
                (each, Column(each).title, False)
                for each in of_part
                if each not in shown
            ],
        )
        for part, of_part in names.items()
    ]
    return [each for each in found if each.choices]


def is_editable(key: str) -> bool:
    """Return whether people may change the values of a metadata key."""
    return key not in RESERVED
