"""What is searched for in texts: words, phrases and beginnings of words, with OR and negation.

    expression = group { "OR" group }
    group      = item { item }
    item       = [ "-" ] ( word [ "*" ] | '"' words [ "*" ] '"' )

Items beside each other must all be in the text, in any order. Upper and lower case are alike, and
so are all marks between words: ``foo-bar`` is the phrase ``"foo bar"``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from inferences.store.text_words import PHRASE_MAX, WORD, words_of

CHARS_MAX = 2_000
ITEMS_MAX = 32
ITEM = re.compile(r'\s*(-?)(?:"((?:[^"\\]|\\.)*)"|([^\s"]+))', re.DOTALL)
ESCAPED = re.compile(r"\\(.)", re.DOTALL)
NOTHING_ASKED = "At least one word to search for."


@dataclass(frozen=True, slots=True)
class Phrase:
    """Words that stand one after the other; of the last it may be the beginning alone."""

    words: tuple[str, ...]
    is_prefix: bool = False

    def __post_init__(self) -> None:
        if len(self.words) > PHRASE_MAX:
            raise ValueError(f"A phrase has at most {PHRASE_MAX} words.")

    def __str__(self) -> str:
        text = " ".join(self.words) + ("*" if self.is_prefix else "")
        return text if len(self.words) == 1 else f'"{text}"'


@dataclass(frozen=True, slots=True)
class Item:
    """A phrase that must be in the text, or must not."""

    phrase: Phrase
    is_negated: bool = False

    def __str__(self) -> str:
        return f"-{self.phrase}" if self.is_negated else str(self.phrase)


@dataclass(frozen=True, slots=True)
class Expression:
    """Groups of items, of which one must hold; of a group all items."""

    groups: tuple[tuple[Item, ...], ...]

    def __post_init__(self) -> None:
        if sum(map(len, self.groups)) > ITEMS_MAX:
            raise ValueError(f"At most {ITEMS_MAX} words and phrases are searched for.")

    def __str__(self) -> str:
        return " OR ".join(" ".join(map(str, group)) for group in self.groups)

    @property
    def phrases(self) -> list[Phrase]:
        """The phrases of all items, those of negated ones included."""
        return [item.phrase for group in self.groups for item in group]

    @property
    def wanted(self) -> list[Phrase]:
        """The phrases that a match may have: those that are not negated."""
        return [
            item.phrase
            for group in self.groups
            for item in group
            if not item.is_negated
        ]


def read_expression(text: str) -> Expression:
    """Return the expression that people typed. Raises ``ValueError``."""
    if len(text) > CHARS_MAX:
        raise ValueError(f"At most {CHARS_MAX:,} characters are searched for.")
    groups: list[tuple[Item, ...]] = []
    group: list[Item] = []
    for is_negated, given, is_quoted in _items(text):
        if given == "OR" and not is_quoted and not is_negated:
            groups.append(_whole(group))
            group = []
        elif words := tuple(words_of(given)):
            group.append(Item(Phrase(words, _is_prefix(given)), is_negated))
    return Expression((*groups, _whole(group)))


def read_phrase(text: str) -> Expression:
    """Return the expression of one phrase, as one that stands in quotation marks."""
    words = tuple(words_of(text))
    if not words:
        raise ValueError(NOTHING_ASKED)
    return Expression(((Item(Phrase(words, _is_prefix(text))),),))


def _items(text: str) -> Iterator[tuple[bool, str, bool]]:
    """Yield each item: whether it is negated, its text, and whether it was quoted."""
    position, end = 0, len(text.rstrip())
    while position < end:
        found = ITEM.match(text, position)
        if found is None:
            raise ValueError("A quotation mark is never closed.")
        sign, quoted, bare = found.groups()
        if quoted is not None:
            yield bool(sign), ESCAPED.sub(r"\1", quoted), True
        else:
            yield bool(sign), bare, False
        position = found.end()


def _is_prefix(text: str) -> bool:
    """Return whether a star follows the last word at once."""
    given = text.rstrip()
    if not given.endswith("*"):
        return False
    end = 0
    for found in WORD.finditer(given):
        end = found.end()
    return end == len(given) - 1


def _whole(group: list[Item]) -> tuple[Item, ...]:
    if not group:
        raise ValueError(NOTHING_ASKED)
    return tuple(group)
