"""The passages of prompts and answers in which a query found its words, with these marked.

They are made of the rows of a page alone: the texts are read again, taken apart as they were when
they were indexed, and compared in the model's language.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from django.core.exceptions import ValidationError
from django.db import connection

from inferences.models import Inference, RegisteredModel, TextSide
from inferences.search.filters import And, Filter, FullTextFilter, Or
from inferences.search.filters.full_text import SIDES
from inferences.search.filters.text_expressions import Phrase
from inferences.store.text_indexing import TextSource, is_searched, texts_of
from inferences.store.text_reindexing import source_of
from inferences.store.text_words import spans_of, to_token
from inferences.web.view_models.questions import Question
from istore.db.threads import connection_as_found

AROUND = 70  # characters on each side of what was found
IN_CARD, IN_PAGE = 1, 12  # passages of each side
# Bytes of a record whose texts are read to mark what was found.
CARD_BYTES, PAGE_BYTES = 256 * 1024, 16 * 1024**2
READERS = 8

Span = tuple[str, int, int]  # a word, where it begins and where it ends
Lexemes = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Passage:
    """A part of a text; ``pieces`` are its texts in order, each with whether it was found."""

    side: str
    pieces: tuple[tuple[str, bool], ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """The phrases that are looked for on each side."""

    phrases: Mapping[TextSide, Sequence[Phrase]]

    def __bool__(self) -> bool:
        return any(self.phrases.values())


def wanted_of(question: Question) -> Wanted:
    """Return what the query looks for in texts; what is under a NOT is left out."""
    phrases: dict[TextSide, list[Phrase]] = {side: [] for side in TextSide}
    try:
        filters = list(_text_filters(question.filters))
    except ValidationError:
        return Wanted(phrases)
    for each in filters:
        side = SIDES[each.side]
        for one in [side] if side else TextSide:
            phrases[one] += each.expression.wanted
    return Wanted(phrases)


def _text_filters(filters: Filter) -> Iterator[FullTextFilter]:
    if isinstance(filters, FullTextFilter):
        yield filters
    elif isinstance(filters, And | Or):
        for part in filters.parts:
            yield from _text_filters(part)


def passages_of(
    model: RegisteredModel,
    inferences: Sequence[Inference],
    wanted: Wanted,
    *,
    limit: int = IN_CARD,
    bytes_limit: int = CARD_BYTES,
) -> dict[int, list[Passage]]:
    """Return the passages of each inference; those of longer texts are not looked for."""
    if not wanted or not is_searched(model):
        return {}
    sources = [
        (each.id, source)
        for each in inferences
        if (source := source_of(each.payload, each.data_size)).size <= bytes_limit
    ]
    with ThreadPoolExecutor(READERS) as readers:
        texts = list(readers.map(_read, (source for _, source in sources)))
    spans = [
        {side: list(spans_of(text)) for side, text in sides.items()} for sides in texts
    ]
    words = {span[0] for sides in spans for each in sides.values() for span in each}
    words |= {
        word for some in wanted.phrases.values() for each in some for word in each.words
    }
    lexemes = _lexemes_of(model.text_search_language, words)
    found = {}
    for (row_id, _), sides, taken_apart in zip(sources, texts, spans, strict=True):
        found[row_id] = [
            passage
            for side, text in sides.items()
            for passage in _passages(
                side, text, taken_apart[side], wanted.phrases[side], lexemes, limit
            )
        ]
    return found


def _read(source: TextSource) -> dict[TextSide, str]:
    with connection_as_found():
        return texts_of(source)


def _lexemes_of(language: str, words: set[str]) -> Lexemes:
    """Return the lexemes of each word: none of a stop word."""
    if language == "simple":
        return {word: (word,) for word in words}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT word, tsvector_to_array(to_tsvector(%s::regconfig, token)) "
            "FROM unnest(%s::text[], %s::text[]) AS given (word, token)",
            [language, list(words), list(map(to_token, words))],
        )
        return {word: tuple(lexemes) for word, lexemes in cursor}


def _passages(
    side: TextSide,
    text: str,
    spans: Sequence[Span],
    phrases: Sequence[Phrase],
    lexemes: Lexemes,
    limit: int,
) -> list[Passage]:
    marks = sorted(
        (start, end)
        for phrase in phrases
        for start, end in _marks(spans, phrase, lexemes)
    )
    passages: list[Passage] = []
    place = 0
    while place < len(marks) and len(passages) < limit:
        begin = max(0, marks[place][0] - AROUND)
        end = marks[place][1] + AROUND
        here: list[tuple[int, int]] = []
        while place < len(marks) and marks[place][0] < end:
            here.append(marks[place])
            end = max(end, min(marks[place][1] + AROUND, begin + 6 * AROUND))
            place += 1
        passages.append(Passage(side.label, _pieces(text, begin, end, here)))
    return passages


def _marks(
    spans: Sequence[Span], phrase: Phrase, lexemes: Lexemes
) -> Iterator[tuple[int, int]]:
    """Yield where the words of the phrase stand in the text."""
    wanted = [lexemes.get(word, ()) for word in phrase.words]
    first = next((place for place, each in enumerate(wanted) if each), None)
    if first is None:
        return
    last = len(wanted) - 1
    for at in range(len(spans) - len(wanted) + 1):
        if all(
            not each  # a stop word: any word stands for it
            or _is_same(
                lexemes[spans[at + place][0]], each, phrase.is_prefix and place == last
            )
            for place, each in enumerate(wanted)
        ):
            for place, each in enumerate(wanted):
                if each:
                    yield spans[at + place][1:]


def _is_same(has: tuple[str, ...], wanted: tuple[str, ...], is_prefix: bool) -> bool:
    if is_prefix:
        return any(each.startswith(one) for each in has for one in wanted)
    return not set(has).isdisjoint(wanted)


def _pieces(
    text: str, begin: int, end: int, marks: Sequence[tuple[int, int]]
) -> tuple[tuple[str, bool], ...]:
    begin, end = _at_blank(text, begin, 1), _at_blank(text, min(end, len(text)), -1)
    pieces = [("…", False)] if begin else []
    position = begin
    for start, stop in sorted(set(marks)):
        if start < position:
            continue
        pieces += [(text[position:start], False), (text[start:stop], True)]
        position = stop
    pieces.append((text[position : max(end, position)], False))
    if max(end, position) < len(text):
        pieces.append(("…", False))
    return tuple((piece, is_found) for piece, is_found in pieces if piece)


def _at_blank(text: str, position: int, step: int) -> int:
    """Return the position, moved by up to a word to where one begins or ends."""
    if position in (0, len(text)):
        return position
    for distance in range(20):
        place = position + step * distance
        if 0 < place < len(text) and text[place].isspace():
            return place + (step > 0)
    return position
