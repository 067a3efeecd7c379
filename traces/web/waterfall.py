"""What the page of a trace shows: a bar for each span, and the sums."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from inferences.models import TokenPrice
from traces.costs import Cost, costs_of, sums_of
from traces.tree import Node, Trace
from traces.web.parts import Part

LEAST_WIDTH = 0.4  # percent: a shorter bar could not be seen
DEPTH_SHOWN = 12  # deeper spans are indented no further
TICKS = 4


@dataclass(frozen=True, slots=True)
class Bar:
    """A span as a row: ``x`` and ``width`` are percent of the trace."""

    node: Node
    x: float
    width: float
    offset: timedelta
    is_marked: bool
    cost: Cost | None = None

    @property
    def indent(self) -> int:
        return min(self.node.depth, DEPTH_SHOWN)

    @property
    def level(self) -> int:
        """The depth as screen readers count it."""
        return self.node.depth + 1

    @property
    def tokens(self) -> str:
        return self.node.fact("total_tokens")

    @property
    def tokens_told(self) -> str:
        """Both parts of the tokens, in words."""
        parts = (("prompt_tokens", "in"), ("completion_tokens", "out"))
        told = [
            f"{self.node.fact(name)} {word}"
            for name, word in parts
            if self.node.fact(name)
        ]
        return ", ".join(told)

    @property
    def message(self) -> str:
        return self.node.fact("status_message") if self.node.span.is_error else ""


@dataclass(frozen=True, slots=True)
class Tick:
    x: float
    at: timedelta


@dataclass(frozen=True, slots=True)
class Waterfall:
    """The bars of a trace, with the sums over it."""

    bars: list[Bar]
    ticks: list[Tick]
    tokens: int | None
    costs: list[Cost]  # one of each currency

    @classmethod
    def of(
        cls,
        trace: Trace,
        marked: str = "",
        prices: Sequence[TokenPrice] = (),
        part: Part | None = None,
    ) -> Self:
        """Return the waterfall of a trace, with the bars of a part of it; the sums are of all.

        The span with the id ``marked`` is the one come from.
        """
        costs = costs_of(trace.nodes, prices)
        start, whole = trace.started_at, trace.took.total_seconds() or 1.0
        bars = []
        for node in trace.nodes[part.slice] if part else trace.nodes:
            offset = node.span.started_at - start
            x = 100 * offset.total_seconds() / whole
            width = max(100 * node.took.total_seconds() / whole, LEAST_WIDTH)
            is_marked = bytes(node.span.span_id).hex() == marked
            bars.append(
                Bar(
                    node,
                    round(min(x, 100 - LEAST_WIDTH), 2),
                    round(width, 2),
                    offset,
                    is_marked,
                    costs.get(id(node)),
                )
            )
        ticks = [
            Tick(100 * n / TICKS, trace.took * n / TICKS) for n in range(TICKS + 1)
        ]
        tokens = trace.total("total_tokens")
        return cls(
            bars,
            ticks,
            None if tokens is None else int(tokens),
            sums_of(trace.nodes, costs),
        )
