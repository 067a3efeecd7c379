"""The parts of a trace: so many of its spans, in reading order, as one page shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from traces.tree import Trace

SPANS_SHOWN = 2000  # of one trace on a page


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a trace by its number, from 1."""

    number: int
    count: int  # of parts
    span_count: int

    @classmethod
    def of(cls, trace: Trace, asked: str = "", marked: str = "") -> Self:
        """Return the part asked for, else the one with the span ``marked``, else the first.

        A number that is none, or beyond the parts there are, is as if nobody had asked.
        """
        span_count = len(trace.nodes)
        count = -(-span_count // SPANS_SHOWN)
        is_number = asked.isascii() and asked.isdecimal() and len(asked) < 6
        if is_number and 1 <= int(asked) <= count:
            return cls(int(asked), count, span_count)
        places = (
            place
            for place, node in enumerate(trace.nodes)
            if marked and node.span.span_hex == marked
        )
        return cls(next(places, 0) // SPANS_SHOWN + 1, count, span_count)

    @property
    def slice(self) -> slice:
        return slice((self.number - 1) * SPANS_SHOWN, self.number * SPANS_SHOWN)

    @property
    def first(self) -> int:
        """The number of its first span in the trace, from 1."""
        return (self.number - 1) * SPANS_SHOWN + 1

    @property
    def last(self) -> int:
        return min(self.number * SPANS_SHOWN, self.span_count)

    @property
    def before(self) -> int | None:
        return self.number - 1 if self.number > 1 else None

    @property
    def after(self) -> int | None:
        return self.number + 1 if self.number < self.count else None
