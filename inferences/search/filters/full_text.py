"""The filters on what was said: ``text:``, ``prompt:`` and ``answer:``.

Each phrase is looked for in the texts of a record by itself, as a long text has several rows
(``store.text_words``). So two words are found wherever they stand, and a negated one is in none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, reduce
from operator import and_, or_
from typing import Any

from django.db import connection
from django.db.models import BooleanField, Q
from django.db.models.expressions import RawSQL

from inferences.models import Inference, InferenceText, RegisteredModel, TextSide
from inferences.search.access_paths import (
    NO_ROWS,
    AccessPath,
    Sql,
    path_by_words,
    paths_of_all,
    paths_of_any,
)
from inferences.search.filters.kind import Kind, Parameter, Reading, Term
from inferences.search.filters.leaf import Filter, Leaf
from inferences.search.filters.scanning import QUOTED
from inferences.search.filters.text_expressions import (
    Expression,
    Item,
    Phrase,
    read_expression,
    read_phrase,
)
from inferences.store.metadata_slots import NOTHING
from inferences.store.text_words import to_token

# What the name of a filter looks in; None: in prompts and answers.
SIDES: dict[str, TextSide | None] = {
    "text": None,
    "prompt": TextSide.PROMPT,
    "answer": TextSide.ANSWER,
}
# Of the parameter in a URL. On the pages ``text`` is a whole query already.
PARAMETERS = {"text": "said", "prompt": "prompt", "answer": "answer"}
TITLES = {
    "text": "Prompt or answer",
    "prompt": "Prompt",
    "answer": "Answer",
}
TABLE, WORDS = Inference._meta.db_table, InferenceText._meta.db_table
# A bracketed expression: its quoted phrases may hold parentheses.
BRACKETED = re.compile(r'\s*\(((?:[^()"]|"(?:[^"\\]|\\.)*")*)\)', re.DOTALL)
WRONG = 'Words in parentheses, such as (error "wet paint" OR warn* -timeout).'


@dataclass(frozen=True, slots=True)
class FullTextFilter(Leaf):
    """The prompt or the answer of an inference, or either, has what the expression asks for.

    Words are compared in the model's language: by its stemmer, and without its stop words. An
    expression of stop words alone finds nothing.
    """

    side: str
    words: str
    expression: Expression = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.side not in SIDES:
            raise ValueError(f"{self.side!r} is not one of {', '.join(SIDES)}.")
        object.__setattr__(self, "expression", read_expression(self.words))

    def condition(self, model: RegisteredModel) -> Q:
        """Return a test of the record's texts, which are read by their primary key."""
        groups = self._groups(model)
        if not any(groups):
            return NOTHING
        return reduce(or_, [self._all_of(model, group) for group in groups if group])

    def access_paths(self, model: RegisteredModel) -> list[AccessPath]:
        """Return a path for each phrase, by the index of words; a negated one has none."""
        groups = [group for group in self._groups(model) if group]
        if not groups:
            return [NO_ROWS]
        return paths_of_any(
            paths_of_all(self._paths(model, *each) for each in group)
            for group in groups
        )

    def _groups(self, model: RegisteredModel) -> list[list[tuple[Item, str]]]:
        """Return the groups of items that have a lexeme in the model's language, with queries."""
        queries = queries_of(model, self.expression.phrases)
        return [
            [
                (item, query)
                for item in group
                if (query := queries[item.phrase]) is not None
            ]
            for group in self.expression.groups
        ]

    def _all_of(self, model: RegisteredModel, group: list[tuple[Item, str]]) -> Q:
        return reduce(and_, [self._holds(model, *each) for each in group])

    def _holds(self, model: RegisteredModel, item: Item, query: str) -> Q:
        side = SIDES[self.side]
        of_side = f" AND side = {side.value}" if side else ""
        # Both OFFSET 0 are fences: the outer one keeps the planner from reading all texts with
        # the word to join them, the inner one from asking the index of words for each row.
        sql = (
            f"EXISTS (SELECT 1 FROM (SELECT words FROM {WORDS} WHERE model_key = %s "
            f"AND id = {TABLE}.id{of_side} OFFSET 0) AS said "
            "WHERE said.words @@ %s::tsquery OFFSET 0)"
        )
        if item.is_negated:
            sql = f"NOT {sql}"
        return Q(RawSQL(sql, (model.pk, query), output_field=BooleanField()))

    def _paths(
        self, model: RegisteredModel, item: Item, query: str
    ) -> list[AccessPath]:
        if item.is_negated:
            return []
        test = Sql(f"{WORDS}.words @@ %s::tsquery", (query,))
        if side := SIDES[self.side]:
            test &= Sql(f"{WORDS}.side = %s", (side.value,))
        return [path_by_words(model, test)]

    def plain(self) -> Filter:
        return FullTextFilter(self.side, str(self.expression))

    def __str__(self) -> str:
        return f"{self.side} has {self.words}"

    def terms(self) -> Iterator[str]:
        phrases = self.expression.phrases
        is_one = len(phrases) == 1 and len(self.expression.wanted) == 1
        text = str(self.expression)
        yield f"{self.side}:{text}" if is_one else f"{self.side}:({text})"

    def parameters(self) -> dict[str, list[str]]:
        return {PARAMETERS[self.side]: [str(self.expression)]}


def queries_of(
    model: RegisteredModel, phrases: list[Phrase]
) -> dict[Phrase, str | None]:
    """Return the phrases as tsqueries in the model's language; None for stop words alone."""
    language = model.text_search_language
    return {each: _query_of(language, each) for each in phrases}


@lru_cache(maxsize=10_000)
def _query_of(language: str, phrase: Phrase) -> str | None:
    *before, last = (f"'{to_token(word)}'" for word in phrase.words)
    given = " <-> ".join([*before, f"{last}:*" if phrase.is_prefix else last])
    if language == "simple":  # whose lexemes are the words
        return given
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_tsquery(%s::regconfig, %s)::text", [language, given])
        (query,) = cursor.fetchone()
    return query or None


def _reader(side: str) -> Term:
    def read(reading: Reading) -> Filter:
        scanner = reading.scanner
        scanner.skip_blanks()
        if found := scanner.take(BRACKETED):
            return FullTextFilter(side, found[1])
        if scanner.text.startswith("(", scanner.position):
            raise scanner.error(WRONG)
        is_quoted = bool(scanner.sees(QUOTED))
        value, _ = scanner.value()
        if is_quoted:  # all of it is one phrase, whatever is in it
            return FullTextFilter(side, str(read_phrase(value)))
        return FullTextFilter(side, value)

    return Term(f"{side}:", read)


def _read_parameter(text: str) -> str:
    return str(read_expression(text))


def _build(given: Mapping[str, Any]) -> dict[str, Any]:
    return {
        parameter: FullTextFilter(side, given[parameter])
        for side, parameter in PARAMETERS.items()
        if given[parameter]
    }


KIND = Kind(
    terms=tuple(map(_reader, SIDES)),
    parameters=tuple(
        Parameter(
            name,
            TITLES[side],
            side,
            read=_read_parameter,
            placeholder='error "wet paint" warn* -timeout',
            section="texts",
        )
        for side, name in PARAMETERS.items()
    ),
    build=_build,
)
