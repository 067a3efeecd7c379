"""Parse text queries into filters, by recursive descent."""

from __future__ import annotations

import re

from inferences.models.metadata_values import UNSTORABLE
from inferences.search.filters.all_kinds import TERMS, WORDS
from inferences.search.filters.kind import Draft, Group, Reading
from inferences.search.filters.leaf import Filter
from inferences.search.filters.scanning import Scanner, TextQueryError
from inferences.search.filters.tree import And, Not, Or, normal

QUERY_MAX_CHARS = 100_000
PARENTHESES_MAX = 50

# A keyword ends at a blank, a parenthesis or the end of the text: ORDER is not an OR.
OR = re.compile(r"OR(?![^\s()])")
AND = re.compile(r"AND(?![^\s()])")
NOT = re.compile(r"NOT(?![^\s()])|-")
NAME = re.compile(r"[^\W\d]\w*(?=:)")
# A name that ends in no colon or full stop stands before a comparison.
BEGINNINGS = re.compile(
    "|".join(
        re.escape(each) + ("" if each[-1] in ":." else r"(?=\s*[!<>=])")
        for each in TERMS
    )
)
WORDS_BEHIND = {
    begins: {
        word.removeprefix(begins): each
        for word, each in WORDS.items()
        if word.startswith(begins)
    }
    for begins in TERMS
}


def parse(text: str) -> Filter:
    """Return the filter of a text query, in its normal form. Raises ``TextQueryError``."""
    if found := UNSTORABLE.search(text):
        raise TextQueryError("A NUL or half a surrogate pair.", found.start() + 1)
    if len(text) > QUERY_MAX_CHARS:
        raise TextQueryError("The query is too long.", QUERY_MAX_CHARS + 1)
    return _Parser(Scanner(text)).whole()


class _Parser:
    """The recursive descent: each method parses one rule of the grammar in ``text``."""

    def __init__(self, scanner: Scanner) -> None:
        self.scanner = scanner
        self.opened = 0

    def whole(self) -> Filter:
        """Parse a whole text; an empty one matches everything."""
        self.scanner.skip_blanks()
        if self.scanner.at_end:
            return And(())
        found = self.query()
        if not self.scanner.at_end:
            raise self.scanner.error("A parenthesis that was never opened.")
        return found

    def query(self) -> Filter:
        """Parse groups joined by OR."""
        start = self.scanner.position
        groups = [self.group()]
        while self.scanner.take(OR):
            groups.append(self.group())
        return self._made(Or, groups, start)

    def group(self) -> Filter:
        """Parse factors up to an OR, a closing parenthesis or the end."""
        self.scanner.skip_blanks()
        start, group = self.scanner.position, Group()
        while True:
            self.factor(group)
            self.scanner.skip_blanks()
            if self.scanner.take(AND):
                continue
            if self.scanner.at_end or self.scanner.sees(OR) or self._sees_closing():
                return self._made(And, self._built(group), start)

    def _sees_closing(self) -> bool:
        return self.scanner.text.startswith(")", self.scanner.position)

    def _made(self, kind: type[And] | type[Or], parts: list[Filter], at: int) -> Filter:
        try:
            return normal(kind(tuple(parts)))
        except ValueError as error:
            raise self.scanner.error(str(error), at) from None

    def factor(self, group: Group) -> None:
        """Parse a term or a parenthesised query, with its negations, and add it to the group."""
        scanner = self.scanner
        scanner.skip_blanks()
        start, negated = scanner.position, False
        while scanner.take(NOT):
            negated = not negated
            scanner.skip_blanks()
        inner = Group() if scanner.position > start else group
        at = scanner.position
        if scanner.takes("("):
            inner.parts.append(self._parenthesised(at))
        else:
            self._term(inner, at)
        if inner is not group:
            found = self._made(And, self._built(inner), at)
            group.parts.append(normal(Not(found)) if negated else found)

    def _parenthesised(self, at: int) -> Filter:
        self.opened += 1
        if self.opened > PARENTHESES_MAX:
            raise self.scanner.error("Too many parentheses within one another.", at)
        found = self.query()
        if not self.scanner.takes(")"):
            raise self.scanner.error("A parenthesis is never closed.", at)
        self.opened -= 1
        return found

    def _term(self, group: Group, at: int) -> None:
        scanner = self.scanner
        if scanner.takes("*"):
            group.parts.append(And(()))
        elif begins := scanner.take(BEGINNINGS):
            value_at = scanner.position
            term = TERMS[begins[0]]
            reading = Reading(scanner, group, at, WORDS_BEHIND[term.begins])
            try:
                found = term.read(reading)
            except TextQueryError:
                raise
            except ValueError as error:
                raise scanner.error(str(error), value_at) from None
            if found is not None:
                group.parts.append(found)
        elif name := scanner.take(NAME):
            named = [each for each in TERMS if each.endswith(":")]
            compared = [each for each in TERMS if each[-1] not in ":."]
            known = ", ".join((*named, *compared))
            message = f"There is no {name[0]}: but {known} and meta.<key>."
            raise scanner.error(message, at)
        elif scanner.at_end or self._sees_closing() or scanner.sees(OR):
            raise scanner.error("A term is missing here.")
        else:
            message = 'This is not a term such as label:car or meta.camera="north".'
            raise scanner.error(message)

    def _built(self, group: Group) -> list[Filter]:
        """Return the filters of the group."""
        return [
            self._finished(part) if isinstance(part, Draft) else part
            for part in group.parts
        ]

    def _finished(self, draft: Draft) -> Filter:
        try:
            return draft.made_by(**draft.fields)
        except ValueError as error:
            raise self.scanner.error(str(error), draft.at) from None
