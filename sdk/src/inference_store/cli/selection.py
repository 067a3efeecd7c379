"""The options that select inferences, as URL parameters and as a filter."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
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

TextQuery = Annotated[
    str | None, typer.Argument(help='A text query: label:car meta.camera="12".')
]
OPTIONS: dict[str, Any] = {
    "since": Annotated[
        str | None,
        typer.Option(help="From this day or time (UTC) on, or 24h: the last 24 hours."),
    ],
    "until": Annotated[
        str | None,
        typer.Option(help="Up to this day or time, included, or 1h: an hour ago."),
    ],
    "label": Annotated[
        list[str] | None,
        typer.Option(help="With a detection of this label; may be repeated."),
    ],
    "min_score": Annotated[
        float | None, typer.Option(help="With a detection of at least this score.")
    ],
    "metadata": Annotated[
        list[str] | None,
        typer.Option(
            help="camera=north, gain>=2, frame:int>10, pose.angle:json.float<=0.5; "
            "may be repeated.",
        ),
    ],
    "text": Annotated[
        str | None,
        typer.Option(
            help='Words of the prompt or the answer: error "wet paint" warn* -timeout.'
        ),
    ],
    "prompt": Annotated[str | None, typer.Option(help="Words of the prompt.")],
    "answer": Annotated[str | None, typer.Option(help="Words of the answer.")],
    "query": Annotated[
        str | None,
        typer.Option("--query", "-q", help='A text query: label:car meta.camera="12".'),
    ],
}


@dataclass(frozen=True)
class Selection:
    """The selection options of a command."""

    since: str | None = None
    until: str | None = None
    label: tuple[str, ...] = ()
    min_score: float | None = None
    metadata: tuple[str, ...] = ()
    query: str | None = None
    text: str | None = None
    prompt: str | None = None
    answer: str | None = None

    def __bool__(self) -> bool:
        return self != Selection()

    def parameters(self) -> dict[str, Any]:
        """Return the parameters of ``list_inferences``."""
        parameters = dict(vars(self))
        renamed = {"q": parameters.pop("query"), "said": parameters.pop("text")}
        return parameters | renamed

    def request(self) -> NewGetInferencesRequest:
        """Return the request body: filters, and a text query for what filters cannot say.

        Only a text query can give times relative to the store's clock, search for words, and
        compare a number without a type with both ints and floats. Raises ``ValueError``.
        """
        terms = [
            term for text in self.metadata if (term := number_term(text)) is not None
        ]
        terms += [f"{name}:{time}" for name, time in self._relative().items()]
        said = {"text": self.text, "prompt": self.prompt, "answer": self.answer}
        terms += [f"{name}:({words})" for name, words in said.items() if words]
        query = self.query
        if terms:
            query = " ".join([*([f"({query})"] if query else []), *terms])
        return NewGetInferencesRequest(filters=self._filter(), query=query)

    def _relative(self) -> dict[str, str]:
        times = {"since": self.since, "until": self.until}
        return {
            name: time
            for name, time in times.items()
            if time and RELATIVE.fullmatch(time)
        }

    def _filter(self) -> BaseInferenceFilter:
        filters = BaseInferenceFilter()
        relative = self._relative()
        since = None if "since" in relative else self.since
        until = None if "until" in relative else self.until
        if since or until:
            filters.time_window_filter = TimeWindowFilter(
                start=since, end=_last_moment(until)
            )
        if self.label or self.min_score is not None:
            filters.deconstructed_inference_filter = DeconstructedInferenceFilter(
                labels=list(self.label) or None, minimum_score=self.min_score
            )
        typed = [text for text in self.metadata if number_term(text) is None]
        if typed:
            filters.metadata_filter = [comparison(text) for text in typed]
        return filters


def selecting(**changes: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of ``OPTIONS`` in place of its parameter of type ``Selection``.

    ``changes`` replaces the declaration of an option for this command; None leaves it out.
    """
    options = {
        name: declared for name, declared in (OPTIONS | changes).items() if declared
    }

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        # Typer reads the signature; Click passes every parameter by its name.
        name = ""
        parameters: list[inspect.Parameter] = []
        signature = inspect.signature(command, eval_str=True)
        for parameter in signature.parameters.values():
            if parameter.annotation is not Selection:
                parameters.append(parameter.replace(kind=parameter.KEYWORD_ONLY))
                continue
            name = parameter.name
            parameters += [
                inspect.Parameter(
                    option, parameter.KEYWORD_ONLY, default=None, annotation=declared
                )
                for option, declared in options.items()
            ]

        @wraps(command)
        def run(**values: Any) -> None:
            selected = {option: values.pop(option) for option in options}
            command(**values, **{name: read_selection(**selected)})

        replaced: Any = run
        replaced.__signature__ = signature.replace(parameters=parameters)
        replaced.__annotations__ = {p.name: p.annotation for p in parameters}
        return run

    return decorate


def read_selection(
    since: str | None = None,
    until: str | None = None,
    label: list[str] | None = None,
    min_score: float | None = None,
    metadata: list[str] | None = None,
    query: str | None = None,
    text: str | None = None,
    prompt: str | None = None,
    answer: str | None = None,
) -> Selection:
    """Return the selection of a command's options. Raises ``ValueError``."""
    for name, values in {
        "--since": [since],
        "--until": [until],
        "--label": label or (),
        "--metadata": metadata or (),
        "--text": [text],
        "--prompt": [prompt],
        "--answer": [answer],
        "the query": [query],
    }.items():
        for value in values:
            check_not_blank(name, value)
    for name, time in (("--since", since), ("--until", until)):
        if time and not (RELATIVE.fullmatch(time) or DAY.match(time)):
            raise ValueError(
                f"{name}: {time!r} is not a day, a time such as 2026-01-31T12:00:00Z, "
                "or a time before now such as 90m, 24h, 7d or 2w."
            )
    labels, comparisons = tuple(label or ()), tuple(metadata or ())
    said = (text, prompt, answer)
    return Selection(since, until, labels, min_score, comparisons, query, *said)


def check_not_blank(name: str, value: str | None) -> None:
    """Raise ``ValueError`` for an empty option.

    It is usually an unset variable of a script, and must not select everything.
    """
    if value is not None and not value.strip():
        raise ValueError(f"{name} is empty: leave it out, or say what is meant.")


def comparison(text: str) -> MetadataFilter:
    """Return ``frame:int>10`` as a filter; without a type the value is a string.

    Numbers without a type are handled by ``number_term``.
    """
    match = COMPARISON.fullmatch(text)
    if not match:
        raise ValueError(f"{text!r} is not like camera=north or frame:int>10.")
    key, type_ = match["key"].strip(), match["type"]
    if type_ and type_ not in TYPES:
        key, type_ = f"{key}:{type_}", None  # the colon belongs to the key
    return MetadataFilter(
        key=key,
        type=MetadataFilterType(type_ or "string"),
        operator=MetadataFilterOperator(match["operator"].strip()),
        value=match["value"],
    )


def number_term(text: str) -> str | None:
    """Return ``gain>=2`` as a term of a text query, which compares with ints and floats.

    None for a comparison of another kind. A metadata filter compares with one type only.
    """
    match = COMPARISON.fullmatch(text)
    if not match or match["type"]:
        return None
    operator, value = match["operator"].strip(), match["value"].strip()
    values = value[1:-1].split(",") if operator == "in" else [value]
    if not all(NUMBER.fullmatch(number.strip()) for number in values):
        return None
    key = re.sub(r'(["\\])', r"\\\1", match["key"].strip())
    return f'meta."{key}" {operator} {value}'


def _last_moment(until: str | None) -> str | None:
    if until and DAY.fullmatch(until):
        return f"{until}T23:59:59.999999Z"
    return until
