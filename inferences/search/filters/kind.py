"""What a kind of filter declares: its terms in text queries, and its parameters in URLs.

Each module of a kind has a ``KIND``; ``all_kinds`` lists them. The parser and the writer of text
queries, the form that reads URLs, and the pages go through that list.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from inferences.search.filters.leaf import Filter
from inferences.search.filters.scanning import Scanner


@dataclass(slots=True)
class Draft:
    """A filter that several terms make together: its class, and the fields read so far."""

    made_by: Callable[..., Filter]
    at: int  # the position to name when the fields do not fit each other
    fields: dict[str, Any] = field(default_factory=dict)


class Group:
    """The terms of one AND. Terms about one detection, class or window share a draft."""

    def __init__(self) -> None:
        self.parts: list[Filter | Draft] = []
        self.drafts: dict[Callable[..., Filter], Draft] = {}  # the last of each class

    def draft(self, made_by: Callable[..., Filter], at: int) -> Draft:
        """Return the draft of the class, a new one if the group has none yet."""
        found = self.drafts.get(made_by) or self.begin(made_by, at)
        found.at = at
        return found

    def begin(self, made_by: Callable[..., Filter], at: int) -> Draft:
        """Return a new draft; further terms about the class belong to it."""
        self.drafts[made_by] = Draft(made_by, at)
        self.parts.append(self.drafts[made_by])
        return self.drafts[made_by]


@dataclass(frozen=True, slots=True)
class Reading:
    """What a term is read from: the scanner behind its beginning, and the group it stands in."""

    scanner: Scanner
    group: Group
    at: int  # where the term begins
    words: Mapping[str, Filter]  # that kinds have behind this beginning

    def word(self, wrong: str) -> Filter:
        """Read one of the words. Raises ``ValueError`` with the message for another one."""
        found = self.words.get(self.scanner.value()[0])
        if found is None:
            raise ValueError(wrong)
        return found


@dataclass(frozen=True, slots=True)
class Term:
    """A term of text queries.

    It begins with a name and a colon or full stop, or with a name before a comparison. ``read``
    reads what follows; it returns the filter, or None if it changed a draft of the group. A
    ``ValueError`` of it is one of the value.
    """

    begins: str
    read: Callable[[Reading], Filter | None]
    offers: tuple[str, ...] = ()  # completions, instead of the beginning
    known: str = ""  # what of the model completes it: labels, keys or sources


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of URLs.

    Its value is one of the ``choices``, a number, or what ``read`` makes of the text; ``read``
    raises ``ValueError``. Pages offer the choices that have a title.
    """

    name: str
    label: str  # of its field
    chip: str = ""  # what stands before its value where pages list the filters
    read: Callable[[str], Any] | None = None
    choices: Mapping[str, Filter] = field(default_factory=dict)
    titles: Mapping[str, str] = field(default_factory=dict)
    is_number: bool = False
    is_repeatable: bool = False
    max_length: int | None = None
    placeholder: str = ""
    section: str = ""  # of the panel, where a parameter that is typed stands
    joined: str = ""  # parameters with the same word here make one filter together


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of filter, as texts, URLs and pages know it.

    ``words`` are whole terms, such as ``has:input``, and the filters that they mean. ``build``
    takes the values of all parameters and returns filters by name; the name of a field of
    ``InferenceFilter`` makes the filter its value. Without it each choice is a filter.
    """

    terms: Sequence[Term] = ()
    words: Mapping[str, Filter] = field(default_factory=dict)
    parameters: Sequence[Parameter] = ()
    build: Callable[[Mapping[str, Any]], dict[str, Any]] | None = None

    def filters(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the values of the parameters mean, by name. Raises ``ValueError``."""
        if self.build:
            return self.build(given)
        return {
            each.name: each.choices[given[each.name]]
            for each in self.parameters
            if given[each.name]
        }
