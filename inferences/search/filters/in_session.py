"""The filter on sessions: the inferences of one conversation of a person with an application."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django.db.models import Q

from inferences.models import RegisteredModel
from inferences.search.access_paths import AccessPath
from inferences.search.filters.kind import Kind, Term
from inferences.search.filters.leaf import Leaf
from inferences.search.filters.metadata import MetadataFilter
from inferences.search.filters.value_tests import (
    ValueTest,
    access_paths_of,
    condition_of,
)
from inferences.search.filters.words import word
from protocols.text_requests import SESSION_KEYS


@dataclass(frozen=True, slots=True)
class InSession(Leaf):
    """The inference belongs to the session, by whichever of ``SESSION_KEYS`` its metadata says so."""

    session: str

    def condition(self, model: RegisteredModel) -> Q:
        """Return a test that the index of each key's slot serves."""
        return condition_of(self._tests(model))

    def access_paths(self, model: RegisteredModel) -> list[AccessPath]:
        return access_paths_of(model, self._tests(model))

    def _tests(self, model: RegisteredModel) -> list[ValueTest]:
        keys = (
            MetadataFilter(key, "string", "=", self.session) for key in SESSION_KEYS
        )
        return [test for key in keys for test in key.tests(model)]

    def __str__(self) -> str:
        return f"in session {self.session}"

    def terms(self) -> Iterator[str]:
        yield f"conversation:{word(self.session)}"


KIND = Kind(
    terms=(
        Term("conversation:", lambda reading: InSession(reading.scanner.value()[0])),
    ),
)
