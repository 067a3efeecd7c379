"""The options that select inferences, as URL parameters and as a filter."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from inference_store.models import (
    BaseInferenceFilter,
    DeconstructedInferenceFilter,
    MetadataFilter,
    MetadataFilterOperator,
    MetadataFilterType,
    NewGetInferencesRequest,
    TimeWindowFilter,
)

# The syntax that the store parses in the URLs of its lists.
COMPARISON = re.compile(
    r"(?P<key>.+?)(?::(?P<type>(?:json\.)?[a-z]+))?\s*(?P<operator>!=|>=|<=|=|>|<| in )"
    r"\s*(?P<value>.*)",
    re.DOTALL,
)
NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
DAY = re.compile(r"\d{4}-\d\d-\d\d")
RELATIVE = re.compile(r"[1-9][0-9]{0,4}(min|m|h|d|w)")
TYPES = frozenset(MetadataFilterType)

Query = Annotated[
    str | None,
    typer.Option("--query", "-q", help='A text query: label:car meta.camera="12".'),
]
Since = Annotated[
    str | None,
    typer.Option(help="From this day or time (UTC) on, or 24h: the last 24 hours."),
]
Until = Annotated[
    str | None,
    typer.Option(help="Up to this day or time, included, or 1h: an hour ago."),
]
Label = Annotated[
    list[str] | None,
    typer.Option(help="With a detection of this label; may be repeated."),
]
MinScore = Annotated[
    float | None,
    typer.Option(help="With a detection of at least this score."),
]
Comparisons = Annotated[
    list[str] | None,
    typer.Option(
        "--metadata",
        help="camera=north, gain>=2, frame:int>10, pose.angle:json.float<=0.5; "
        "may be repeated.",
    ),
]


@dataclass(frozen=True)
class Selection:
    """The selection options of a command."""

    since: str | None = None
    until: str | None = None
    label: tuple[str, ...] = ()
    min_score: float | None = None
    metadata: tuple[str, ...] = ()
    query: str | None = None

    def __bool__(self) -> bool:
        return self != Selection()

    def parameters(self) -> dict[str, Any]:
        """Return the parameters of ``list_inferences``."""
        given = dict(vars(self))
        return given | {"q": given.pop("query")}

    def request(self) -> NewGetInferencesRequest:
        """Return the request body: filters, and a text query for what filters cannot say.

        Only a text query can give times relative to the store's clock, and compare a number
        without a type with both ints and floats. Raises ``ValueError``.
        """
        terms = [
            term for each in self.metadata if (term := number_term(each)) is not None
        ]
        terms += [f"{name}:{given}" for name, given in self._relative().items()]
        query = self.query
        if terms:
            query = " ".join([*([f"({query})"] if query else []), *terms])
        return NewGetInferencesRequest(filters=self._filter(), query=query)

    def _relative(self) -> dict[str, str]:
        given = {"since": self.since, "until": self.until}
        return {
            name: value
            for name, value in given.items()
            if value and RELATIVE.fullmatch(value)
        }

    def _filter(self) -> BaseInferenceFilter:
        found = BaseInferenceFilter()
        relative = self._relative()
        since = None if "since" in relative else self.since
        until = None if "until" in relative else self.until
        if since or until:
            found.time_window_filter = TimeWindowFilter(
                start=since, end=_last_moment(until)
            )
        if self.label or self.min_score is not None:
            found.deconstructed_inference_filter = DeconstructedInferenceFilter(
                labels=list(self.label) or None, minimum_score=self.min_score
            )
        typed = [each for each in self.metadata if number_term(each) is None]
        if typed:
            found.metadata_filter = [comparison(each) for each in typed]
        return found


def selection(
    since: str | None,
    until: str | None,
    label: list[str] | None,
    min_score: float | None,
    metadata: list[str] | None,
    query: str | None = None,
) -> Selection:
    """Return the selection of a command's options."""
    for name, given in {
        "--since": [since],
        "--until": [until],
        "--label": label or (),
        "--metadata": metadata or (),
        "the query": [query],
    }.items():
        for each in given:
            check_not_blank(name, each)
    for name, time in (("--since", since), ("--until", until)):
        if time and not (RELATIVE.fullmatch(time) or DAY.match(time)):
            raise ValueError(
                f"{name}: {time!r} is not a day, a time such as 2026-01-31T12:00:00Z, "
                "or a time before now such as 90m, 24h, 7d or 2w."
            )
    words, comparisons = tuple(label or ()), tuple(metadata or ())
    return Selection(since, until, words, min_score, comparisons, query)


def check_not_blank(name: str, given: str | None) -> None:
    """Raise ``ValueError`` for an empty option.

    It is usually an unset variable of a script, and must not select everything.
    """
    if given is not None and not given.strip():
        raise ValueError(f"{name} is empty: leave it out, or say what is meant.")


def comparison(text: str) -> MetadataFilter:
    """Return ``frame:int>10`` as a filter; without a type the value is a string.

    Numbers without a type are handled by ``number_term``.
    """
    found = COMPARISON.fullmatch(text)
    if not found:
        raise ValueError(f"{text!r} is not like camera=north or frame:int>10.")
    key, type_ = found["key"].strip(), found["type"]
    if type_ and type_ not in TYPES:
        key, type_ = f"{key}:{type_}", None  # the colon belongs to the key
    return MetadataFilter(
        key=key,
        type=MetadataFilterType(type_ or "string"),
        operator=MetadataFilterOperator(found["operator"].strip()),
        value=found["value"],
    )


def number_term(text: str) -> str | None:
    """Return ``gain>=2`` as a term of a text query, which compares with ints and floats.

    None for a comparison of another kind. A metadata filter compares with one type only.
    """
    found = COMPARISON.fullmatch(text)
    if not found or found["type"]:
        return None
    operator, value = found["operator"].strip(), found["value"].strip()
    values = value[1:-1].split(",") if operator == "in" else [value]
    if not all(NUMBER.fullmatch(each.strip()) for each in values):
        return None
    key = re.sub(r'(["\\])', r"\\\1", found["key"].strip())
    return f'meta."{key}" {operator} {value}'


def _last_moment(until: str | None) -> str | None:
    if until and DAY.fullmatch(until):
        return f"{until}T23:59:59.999999Z"
    return until
