"""The query string of the browse page: parsed into filters and layout, and written back.

One URL holds everything: filters, order, columns, grouping, layout and density. The filter panel
sends metadata in parts: a comparison as ``key``, ``type``, ``operator`` and ``value``, a
picked value as ``pick``, a range as ``from:frame:int`` and ``to:frame:int``. Each is
normalised to the parameter ``metadata``, the only form that the API and links have.
``text`` is a whole text query, and is turned into parameters too, as far as possible.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from itertools import islice
from typing import Any, Literal
from urllib.parse import urlencode

from django.core.exceptions import ValidationError
from django.http import QueryDict

from inferences.models import Inference
from inferences.models.metadata_values import UNSTORABLE
from inferences.search import text
from inferences.search.filters import Filter, MetadataFilter
from inferences.search.filters.all_kinds import PARAMETERS
from inferences.search.filters.kind import Parameter
from inferences.search.filters.metadata import (
    LOOKUPS,
    READERS,
    comparison_of_url,
    inferred_type,
)
from inferences.search.filters.moments import RELATIVE, UNITS, RelativeMoment
from inferences.search.filters.operands import read_list, write_list
from inferences.search.filters.time_window import moment_of_url
from inferences.search.orders import KeySort
from inferences.search.pagination import Pagination, Sort
from inferences.search.url_parameters import (
    VALUES_MAX,
    InferenceFilterSet,
    parameters,
)
from inferences.search.vectors import EmbeddingFilter
from inferences.web.view_models.columns import (
    Column,
    ColumnSort,
    apply_move,
    former_columns,
    read_columns,
)

PARTS = ("key", "type", "operator", "value")
VIEWS = ("gallery", "table", "patches")
DENSITIES = {"compact": "Compact", "": "Cosy", "large": "Large"}
METRICS: dict[str, Literal["l2", "negative_dot_product"]] = {
    "l2": "l2",
    "negative_dot_product": "negative_dot_product",
}
# name: (title, direction, sort key)
SORTS: dict[str, tuple[str, Literal["asc", "desc"], Sort]] = {
    "": ("Newest first", "desc", "created_at"),
    "oldest": ("Oldest first", "asc", "created_at"),
    "score": ("Highest score first", "desc", "score"),
    "uncertain": ("Lowest score first", "asc", "score"),
    "label": ("By label", "asc", "label"),
    "iou": ("Lowest IoU first", "asc", "created_at"),
}
# Orders of patches alone: of the inferences with ground truth, the newest of which are a window.
SORTS_OF_PATCHES = ("iou",)
# Which shapes have a patch, as titles.
PATCHES = {"": "Answers and missed", "answers": "Answers", "truth": "Ground truth"}
# Old names of sorts, which saved views and links may still have.
FORMER_SORTS = {"doubt": "uncertain"}
# Parameters of the layout, which do not change what the list holds.
LAYOUT = (
    "view",
    "density",
    "sort",
    "group",
    "patches",
    "similar",
    "like",
    "metric",
    "columns",
    "pinned",
    "show",
)
PAGING = ("cursor",)
FORMER = ("col",)  # columns of the table in older links and saved views
NEAREST = ("similar", "like", "metric")  # parameters of a search by distance
TEXTS = ("string", "json.string")
PRESETS = {
    "1h": "Last hour",
    "24h": "24 hours",
    "7d": "7 days",
    "30d": "30 days",
}
# What stands before the value of a parameter in its chip.
SINGLE = {"q": "query"} | {
    each.name: each.chip for each in PARAMETERS.values() if not each.is_repeatable
}
WINDOW = ("since", "until")
FILTERS = tuple(InferenceFilterSet.base_filters)


@dataclass(frozen=True, slots=True)
class Row:
    """One metadata comparison of the form."""

    key: str = ""
    type: str = "string"
    operator: str = "="
    value: str = ""
    error: str = ""

    @classmethod
    def read(cls, text: str) -> Row:
        parts = comparison_of_url(text)
        if not parts:
            return cls(value=text, error="Not like camera=north or frame:int>10.")
        row = cls(*parts)
        try:
            MetadataFilter(row.key, row.type, row.operator, row.value)
        except ValueError as error:
            return replace(row, error=str(error))
        return row

    @property
    def place(self) -> tuple[str, str]:
        return self.key, self.type

    @property
    def picked(self) -> list[str]:
        """The values of a comparison "one of" on a string; empty for other comparisons."""
        if self.error or self.type not in TEXTS:
            return []
        if self.operator == "=":
            return [self.value]
        return read_list(self.value) if self.operator == "in" else []

    @property
    def bound(self) -> str:
        """Which end of a range the comparison is, or ""."""
        if self.error or self.type in TEXTS:
            return ""
        return {">=": "low", "<=": "high"}.get(self.operator, "")

    def __str__(self) -> str:
        operator = " in " if self.operator == "in" else self.operator
        is_plain = self.type == "number" == inferred_type(self.operator, self.value)
        stated = "" if is_plain else f":{self.type}"
        return f"{self.key}{stated}{operator}{self.value}"


@dataclass(frozen=True, slots=True)
class Chip:
    """An active filter, with the query string that removes it."""

    name: str
    value: str
    without: str
    invalid: bool = False


class Question:
    """The parsed query of the page; ``query`` is its normalised query string."""

    types = tuple(READERS)
    operators = tuple(LOOKUPS)
    error_names = ("form", *FILTERS)

    def __init__(
        self,
        given: QueryDict,
        now: datetime | None = None,
        usual_view: str = VIEWS[0],
    ) -> None:
        self.given = given
        self.usual_view = usual_view  # of the model, where the address names none
        self.was_a_form = any(name in given for name in ("key", "text", "pick", "move"))
        self.now = (now or datetime.now(UTC)).replace(second=0, microsecond=0)
        self.query = _canonical(given)
        self.filterset = self._read(self.query)
        if self.query.get("q") and self.filterset.is_valid():
            self._take_apart()
            for name in WINDOW:
                self._stay_relative(name, given.get(name, ""))

    @classmethod
    def of_link(cls, query: str) -> Question:
        """Return the question of a query string, with or without its question mark."""
        return cls(QueryDict(query.removeprefix("?")))

    def _read(self, query: QueryDict) -> InferenceFilterSet:
        resolved = query.copy()
        for name in WINDOW:
            if moment := self._relative(query.get(name, "")):
                resolved[name] = _write(moment)
        return InferenceFilterSet(resolved, Inference.objects.none())

    def _take_apart(self) -> None:
        """Turn a text query into parameters that the panel can show, as far as possible."""
        given = parameters(self.filterset.inference_filter)
        if given.get("q") == self.query.getlist("q"):
            return
        query = QueryDict(mutable=True)
        for name in FILTERS:
            if values := given.get(name):
                query.setlist(name, values)
        for name in (*LAYOUT, *PAGING):
            if values := self.query.getlist(name):
                query.setlist(name, values)
        self.query, self.filterset = query, self._read(query)

    def _stay_relative(self, name: str, given: str) -> None:
        """Keep a relative time relative, unless the text query has another one."""
        moment = self._relative(given)
        if moment and self.query.get(name) == _write(moment):
            self.query[name] = given
            self.filterset = self._read(self.query)

    def _relative(self, given: str) -> datetime | None:
        """Return a relative time, rounded to the minute, so that parts of a page share caches."""
        try:
            return RelativeMoment.before(self.now, given).fixed()
        except ValueError:
            return None

    # -- what is asked

    @property
    def filters(self) -> Filter:
        """The filter. Raises ``ValidationError`` if a parameter is not valid."""
        return self.filterset.inference_filter

    def filters_without(
        self, *names: str, key: tuple[str, str] | None = None
    ) -> Filter:
        """Return the filter without the parameters of one control, to count its choices."""
        if key is None and not any(name in self.query for name in names):
            return self.filters
        query = self.query.copy()
        for name in names:
            query.pop(name, None)
        if key:
            rest = [str(row) for row in self.rows if row.place != key]
            query.setlist("metadata", rest)
        return self._read(query).inference_filter

    @property
    def values(self) -> dict[str, Any]:
        """The parsed value of each parameter. Raises ``ValidationError`` as ``filters`` does."""
        if not self.filterset.is_valid():
            raise ValidationError(self.filterset.form.errors)
        values: dict[str, Any] = self.filterset.form.cleaned_data
        return values

    def beginning_of(self, preset: str) -> datetime:
        """Return when the time window of a preset begins."""
        return self._relative(preset) or self.now

    @property
    def embedding(self) -> EmbeddingFilter | None:
        similar, like = self.query.get("similar"), self.query.get("like")
        if not (similar or like):
            return None
        return EmbeddingFilter(
            similar_to=similar or None,
            text=None if similar else like,
            distance_metric=METRICS.get(self.query.get("metric", ""), "cosine"),
        )

    def pagination(self, limit: int) -> Pagination:
        if self.embedding:
            return Pagination("asc", limit, cursor=self.cursor)
        if by := self.column_sort:
            direction: Literal["asc", "desc"] = "desc" if by.is_descending else "asc"
            return Pagination(
                direction, limit, cursor=self.cursor, sort=KeySort(by.column.key)
            )
        _, direction, sort = SORTS[self.sort]
        return Pagination(direction, limit, cursor=self.cursor, sort=sort)

    @property
    def written(self) -> str:
        """All filters as one text query; the text as typed if it is not valid."""
        try:
            written = text.write(self.filters)
        except ValidationError:
            return self.query.get("q", "")
        return "" if written == "*" else written

    # -- how it is shown

    @property
    def view(self) -> str:
        name = self.query.get("view")
        return name if name in VIEWS else self.usual_view

    @property
    def density(self) -> str:
        name = self.query.get("density", "")
        return name if name in DENSITIES else ""

    @property
    def sort(self) -> str:
        name = self.query.get("sort", "")
        name = FORMER_SORTS.get(name, name)
        if name in SORTS_OF_PATCHES and self.view != "patches":
            return ""
        return name if name in SORTS or ColumnSort.read(name) else ""

    @property
    def column_sort(self) -> ColumnSort | None:
        """The column of named values by which the list is sorted, or None."""
        return None if self.embedding else ColumnSort.read(self.sort)

    @property
    def patches(self) -> str:
        """Which shapes have a patch: all, those of answers or those of ground truth."""
        name = self.query.get("patches", "")
        return name if name in PATCHES else ""

    @property
    def cursor(self) -> str | None:
        return self.query.get("cursor") or None

    @property
    def shown_keys(self) -> list[str]:
        return self.query.getlist("show")

    @property
    def columns(self) -> list[Column]:
        """The columns that the address names, in their order; empty for the usual ones."""
        return read_columns(self.query.getlist("columns"))

    @property
    def pinned_columns(self) -> list[str]:
        return self.query.getlist("pinned")

    @property
    def group(self) -> str:
        """What a table is grouped by, as the address has it; empty for one of inferences."""
        return self.query.get("group", "") if self.view == "table" else ""

    def leave_out(self, usual: list[str]) -> None:
        """Remove keys from the query string if they are the default ones."""
        if self.shown_keys == usual:
            self.query.pop("show", None)

    # -- links

    def link(self, **changes: str | list[str] | None) -> str:
        """Return the query string with these values changed (None removes one), without cursor."""
        # A page has dozens of links, and a copy of a QueryDict is slow.
        kept = {n: v for n, v in self.query.lists() if n not in (*changes, "cursor")}
        for name, value in changes.items():
            if value is not None:
                kept[name] = [value] if isinstance(value, str) else value
        # Without any parameter the page would show the project's default saved view.
        return f"?{urlencode(kept, doseq=True) or f'view={self.usual_view}'}"

    @property
    def pinned(self) -> str:
        """The query string with absolute times, so that further pages have the same window."""
        return self.pinned_link()

    def pinned_link(self, **changes: str | list[str] | None) -> str:
        """Return the query string with absolute times, and with these values changed."""
        given = self.filterset.form.data
        times: dict[str, Any] = {n: given[n] for n in WINDOW if given.get(n)}
        return self.link(**times | changes)

    def ending_at(self, moment: datetime) -> Question:
        """Return the same query up to a moment, so that its newest matches stay the same."""
        query = QueryDict(self.query.urlencode(), mutable=True)
        query["until"] = _write(moment)
        return Question(query, self.now, self.usual_view)

    @property
    def context(self) -> str:
        """The query string for links to one inference, so that its neighbours can be found."""
        names = (*FILTERS, "sort", *NEAREST)
        kept = [name for name in self.query if name in names]
        if not kept:
            return ""
        query = QueryDict(mutable=True)
        for name in kept:
            query.setlist(name, self.query.getlist(name))
        return f"?{query.urlencode()}"

    @property
    def cleared(self) -> str:
        """The query string without its filters."""
        return self.link(**dict.fromkeys((*FILTERS, *NEAREST)))

    def hidden(self, *without: str) -> list[tuple[str, str]]:
        """The hidden fields of a form beside the panel, so that it changes nothing else."""
        return [
            (name, value)
            for name in self.query
            if name not in (*without, "cursor")
            for value in self.query.getlist(name)
        ]

    @property
    def layout(self) -> list[tuple[str, str]]:
        return self.hidden(*FILTERS)

    @property
    def hidden_for_columns(self) -> list[tuple[str, str]]:
        return self.hidden("columns" if self.view == "table" else "show")

    @property
    def views(self) -> list[tuple[str, str, str, bool]]:
        icons = {"gallery": "grid", "table": "rows", "patches": "box"}
        return [
            (name.capitalize(), icons[name], self.link(view=name), name == self.view)
            for name in VIEWS
        ]

    @property
    def densities(self) -> list[tuple[str, str, bool]]:
        return [
            (title, self.link(density=name or None), name == self.density)
            for name, title in DENSITIES.items()
        ]

    @property
    def sorts(self) -> list[tuple[str, str, bool]]:
        return [
            (
                title,
                self.link(**{"sort": name or None, **dict.fromkeys(NEAREST)}),
                not self.embedding and name == self.sort,
            )
            for name, (title, _, _) in SORTS.items()
            if self.view == "patches" or name not in SORTS_OF_PATCHES
        ]

    @property
    def kinds_of_patches(self) -> list[tuple[str, str, bool]]:
        """Which shapes may have a patch: title, query string, and whether it is chosen."""
        return [
            (title, self.link(patches=name or None), name == self.patches)
            for name, title in PATCHES.items()
        ]

    @property
    def sorted_by(self) -> str:
        if self.embedding:
            return "Nearest first"
        by = self.column_sort
        return by.title if by else SORTS[self.sort][0]

    @property
    def presets(self) -> list[tuple[str, str, str, bool]]:
        """Time windows up to now: value, title, query string, and whether it is active."""
        given, until = self.query.get("since", ""), self.query.get("until")
        offered = PRESETS
        if given not in PRESETS and (found := RELATIVE.fullmatch(given)):
            title = _length(found["number"], UNITS[found["unit"]]).capitalize()
            offered = PRESETS | {given: title}
        return [
            (
                value,
                title,
                self.link(since=value, until=None),
                given == value and not until,
            )
            for value, title in offered.items()
        ]

    # -- what the panel shows as chosen

    @property
    def labels(self) -> list[str]:
        return self.query.getlist("label")

    @property
    def typed(self) -> list[tuple[Parameter, str]]:
        """The parameters of places, which are typed as text, with their values."""
        return self._typed_in("")

    @property
    def texts(self) -> list[tuple[Parameter, str]]:
        """The parameters of what is searched in texts, with their values."""
        return self._typed_in("texts")

    def field_names(self, searches_texts: bool) -> list[str]:
        """The fields of the panel that can be wrong; it searches in texts of some models only."""
        texts = {parameter.name for parameter, _ in self.texts}
        return [
            name for name in self.error_names if searches_texts or name not in texts
        ]

    def _typed_in(self, section: str) -> list[tuple[Parameter, str]]:
        return [
            (each, self.query.get(each.name, ""))
            for each in PARAMETERS.values()
            if each.placeholder and each.section == section
        ]

    @cached_property
    def rows(self) -> list[Row]:
        return [Row.read(text) for text in self.query.getlist("metadata")]

    def picked(self, key: str, type_: str = "string") -> list[str]:
        """Return the picked values of a key, if the panel can show them as choices."""
        found = [row.picked for row in self.rows if row.place == (key, type_)]
        return found[0] if len(found) == 1 else []

    def range(self, key: str, type_: str) -> tuple[str, str]:
        """Return the lower and upper bound that the query has on a numeric key."""
        ends = {"low": "", "high": ""}
        for row in self.rows:
            if row.place == (key, type_) and row.bound and not ends[row.bound]:
                ends[row.bound] = row.value
        return ends["low"], ends["high"]

    def other_rows(self, known: Sequence[tuple[str, str]]) -> list[Row]:
        """Return the comparisons that no control of these keys shows."""
        rest, shown = [], set()
        for row in self.rows:
            controls = row.place in known
            if controls and row.picked and self.picked(*row.place):
                continue
            if controls and row.bound and (row.place, row.bound) not in shown:
                shown.add((row.place, row.bound))
                continue
            rest.append(row)
        return rest

    @property
    def is_filtered(self) -> bool:
        return bool(self.chips)

    @cached_property
    def errors(self) -> dict[str, list[str]]:
        """The errors by name of the field; empty if everything is valid."""
        errors = self.filterset.form.errors
        return {("form" if n == "__all__" else n): list(e) for n, e in errors.items()}

    @property
    def relative_until(self) -> str:
        """A relative end time, which no control shows; the form sends it as a hidden field."""
        until = self.query.get("until", "")
        return until if RELATIVE.fullmatch(until) else ""

    @property
    def since(self) -> str:
        return self._local("since", end_of_day=False)

    @property
    def until(self) -> str:
        return self._local("until", end_of_day=True)

    def _local(self, name: str, end_of_day: bool) -> str:
        """Return the time in the format of a ``datetime-local`` control."""
        given = self.query.get(name, "").strip()
        if RELATIVE.fullmatch(given):
            return ""  # relative: a preset or a hidden field of the panel has it
        try:
            moment = moment_of_url(end_of_day=end_of_day)(given)
        except ValueError:
            return ""
        return moment.astimezone(UTC).replace(tzinfo=None).isoformat("T", "seconds")

    @cached_property
    def chips(self) -> list[Chip]:
        return list(self._chips())

    def _chips(self) -> Iterator[Chip]:
        wrong = self.errors
        for name, title in SINGLE.items():
            if value := self.query.get(name):
                shown = value.replace("T", " ") if name in ("since", "until") else value
                if name in WINDOW and (found := RELATIVE.fullmatch(value)):
                    shown = _length(found["number"], UNITS[found["unit"]])
                    if name == "since":
                        title = "last"
                    else:
                        shown = f"{shown} ago"
                yield Chip(title, shown, self.link(**{name: None}), name in wrong)
        # More are not valid anyway, and the link of each chip holds all the others.
        for label in self.query.getlist("label")[:VALUES_MAX]:
            yield Chip("label", label, self._without("label", label))
        compared = zip(self.query.getlist("metadata"), self.rows, strict=True)
        for given, row in islice(compared, VALUES_MAX):
            value = f"{row.operator} {row.value}"
            without = self._without("metadata", given)
            yield Chip(row.key or "metadata", value, without, bool(row.error))
        for name, title in (("similar", "similar to"), ("like", "like")):
            if value := self.query.get(name):
                yield Chip(title, value, self.link(**{name: None, "metric": None}))

    def _without(self, name: str, value: str) -> str:
        rest = [each for each in self.query.getlist(name) if each != value]
        return self.link(**{name: rest or None})


# Parameters that only the panel sends, besides those of URLs.
OF_PANEL = ("text", "pick", *PARTS)
OF_MENU = ("move",)  # what the menu of columns sends besides the columns


def unknown_names(query: QueryDict) -> list[str]:
    """Return the parameters that no filter, control or layout knows."""
    return [name for name in query if not _is_known(name)]


def _is_known(name: str) -> bool:
    is_range = name.partition(":")[0] in ("from", "to")
    known = (*FILTERS, *OF_PANEL, *OF_MENU, *LAYOUT, *PAGING, *FORMER)
    return is_range or name in known


def check_says_something(query: QueryDict) -> None:
    """Raise ``ValidationError`` for a parameter that would silently select everything.

    A list ignores blank and unknown parameters, and people see the result. An action on all
    matches must not treat them as no filter at all.
    """
    for name, values in query.lists():
        is_range = name.partition(":")[0] in ("from", "to")
        if name in FILTERS or name in OF_PANEL or is_range:
            if not all(value.strip() for value in values):
                raise ValidationError(f"{name}: an empty filter chooses nothing.")
            if UNSTORABLE.search("".join((name, *values))):
                raise ValidationError(f"{name}: a character that no text may hold.")
        elif name not in (*LAYOUT, *PAGING, *FORMER):
            raise ValidationError(f"{name}: there is no such filter.")
        if is_range and not _range_of(name):
            raise ValidationError(f"{name}: there is no such range.")
    picks = [Row.read(each) for each in query.getlist("pick")]
    if any(row.error or row.type not in TEXTS for row in picks):
        raise ValidationError("pick: it is not like camera=north.")
    columns = [query.getlist(part) for part in PARTS]
    if len({len(column) for column in columns}) > 1 or any(
        operator not in LOOKUPS or type_ not in READERS
        for _, type_, operator, _ in zip(*columns, strict=False)
    ):
        raise ValidationError("key: a comparison has a key, type, operator and value.")


def _canonical(given: QueryDict) -> QueryDict:
    """Return the parameters that are not blank, each comparison in one parameter."""
    if "text" in given:
        given = _of_text(given)
    query = QueryDict(mutable=True)
    for name in (*LAYOUT[:1], *FILTERS, *LAYOUT[1:], *PAGING):
        values = [v for v in given.getlist(name) if v.strip() and "\0" not in v]
        if name == "metadata":
            parts = (*_picks(given), *_ranges(given), *_rows(given))
            values = [*values, *map(str, parts)]
        if values:
            # A time that was typed has precedence over a preset that was chosen.
            kept = values[-1:] if name in SINGLE else list(dict.fromkeys(values))
            query.setlist(name, kept)
    if "col" in given and "columns" not in query:
        former = former_columns(given.getlist("col"), given.getlist("show"))
        query.setlist("columns", former)
    apply_move(query, given.get("move", ""))
    return query


def _of_text(given: QueryDict) -> QueryDict:
    """Return the parameters with the text query instead of all filters; the layout stays."""
    query = QueryDict(mutable=True)
    for name in LAYOUT:
        if values := given.getlist(name):
            query.setlist(name, values)
    query["q"] = given.get("text", "")
    return query


def _length(number: str, unit: str) -> str:
    """Return a duration as text, such as ``24 hours``."""
    return f"{number} {unit.removesuffix('s') if number == '1' else unit}"


def _write(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def _picks(given: QueryDict) -> Iterator[Row]:
    """Yield one comparison for each string key, with its picked values."""
    picked: dict[tuple[str, str], list[str]] = {}
    for each in given.getlist("pick"):
        row = Row.read(each)
        if not row.error and row.type in TEXTS and "\0" not in each:
            picked.setdefault(row.place, []).append(row.value)
    for place, values in picked.items():
        values = list(dict.fromkeys(values))
        if len(values) == 1:
            yield Row(*place, "=", values[0])
        else:
            yield Row(*place, "in", write_list(values) or "")


def _ranges(given: QueryDict) -> Iterator[Row]:
    for name in given:
        value = given.get(name, "").strip()
        if value and (bound := _range_of(name)):
            key, type_, operator = bound
            yield Row(key, type_, operator, value)


def _range_of(name: str) -> tuple[str, str, str] | None:
    """Return key, type and operator of a parameter such as ``from:gain:float``, or None."""
    end, _, key = name.partition(":")
    key, _, type_ = key.rpartition(":")
    if end not in ("from", "to") or not key or type_ not in READERS:
        return None
    return key, type_, ">=" if end == "from" else "<="


def _rows(given: QueryDict) -> Iterator[Row]:
    columns: list[Any] = [given.getlist(part) for part in PARTS]
    for key, type_, operator, value in zip(*columns, strict=False):
        # A row that is still being filled in is no condition yet.
        if not (key.strip() and value.strip()) or "\0" in key + value:
            continue
        if operator in LOOKUPS and type_ in READERS:
            yield Row(key.strip(), type_, operator, value.strip())
