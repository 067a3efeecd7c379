"""The filter on traces; the app of traces registers how to look their rows up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from django.db.models import Q, QuerySet

from inferences.models import RegisteredModel
from inferences.search.access_paths import AccessPath, path_by_side_rows
from inferences.search.filters.kind import Kind, Term
from inferences.search.filters.leaf import Leaf
from inferences.search.filters.words import word
from inferences.store.metadata_slots import NOTHING
from istore.hooks import Hook

ID_BYTES = 16

# Returns row ids of a model's inferences that are spans of the trace.
RowsIn = Callable[[RegisteredModel, bytes], QuerySet[Any]]

lookups: Hook[RowsIn] = Hook()


@dataclass(frozen=True, slots=True)
class InTrace(Leaf):
    """The inference is a span of the trace, whose id is 32 hexadecimal digits.

    Raises ``ValueError`` for another id.
    """

    trace_id: str

    def __post_init__(self) -> None:
        if len(self.key) != ID_BYTES:
            raise ValueError("The id of a trace is 32 hexadecimal digits.")

    @property
    def key(self) -> bytes:
        """The id as it is stored; empty if it is none."""
        try:
            return bytes.fromhex(self.trace_id)
        except ValueError:
            return b""

    def condition(self, model: RegisteredModel) -> Q:
        """Return a test served by the primary key of spans, which begins with model and trace."""
        rows_in = lookups.single
        return Q(id__in=rows_in(model, self.key)) if rows_in else NOTHING

    def access_paths(self, model: RegisteredModel) -> list[AccessPath]:
        """Return the spans of the trace in the model, by the same index."""
        if lookups.single is None:
            return []
        return [path_by_side_rows(lookups.single(model, self.key), is_exact=True)]

    def __str__(self) -> str:
        return f"in trace {self.trace_id}"

    def terms(self) -> Iterator[str]:
        yield f"trace:{word(self.trace_id)}"


KIND = Kind(
    terms=(Term("trace:", lambda reading: InTrace(reading.scanner.value()[0])),),
)
