"""Read a trace as a tree: its spans in the order in which a person reads them, with their depth.

Spans come in any order and some never come. One whose parent is not there, or was removed, stands
at the top and says so. Spans that name each other as parents stand at the top as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import orjson
from django.db import connection

from inferences.models import Inference, InferencePayload, RegisteredModel
from istore.models import Project
from traces.models import Span, inference_id_of

SPANS_MAX = 20_000  # of one trace
# What is read of the metadata of spans: what their rows, tokens and costs are made of.
FACTS = (
    "status_message",
    "service",
    "conversation_id",
    "user_id",
    "model_version",
    "prompt_tokens",
    "completion_tokens",
    "cached_tokens",
    "total_tokens",
    "cost",
)


@dataclass(slots=True)
class Node:
    """A span in its trace."""

    span: Span
    model: RegisteredModel
    metadata: Mapping[str, Any]  # {key: [type, text]} of its inference, of FACTS
    depth: int = 0
    is_orphan: bool = False  # its parent is not in the trace
    children: list[Node] = field(default_factory=list)

    @property
    def inference_id(self) -> str:
        return inference_id_of(self.span)

    @property
    def took(self) -> timedelta:
        return self.span.ended_at - self.span.started_at

    def fact(self, name: str) -> str:
        """Return the text of a metadata value; "" without one."""
        _, text = self.metadata.get(name, ("", ""))
        return str(text)

    def number(self, name: str) -> float | None:
        """Return a metadata value as a number; None without one.

        Applications may give any text under the names of facts, such as ``nan``.
        """
        try:
            number = float(self.fact(name))
        except ValueError:
            return None
        return number if math.isfinite(number) else None


@dataclass(frozen=True, slots=True)
class Trace:
    """The spans of a trace that a project has, in reading order."""

    trace_id: str
    nodes: list[Node]
    is_cut: bool  # there are more spans than are read

    @property
    def started_at(self) -> datetime:
        return min(node.span.started_at for node in self.nodes)

    @property
    def ended_at(self) -> datetime:
        return max(node.span.ended_at for node in self.nodes)

    @property
    def took(self) -> timedelta:
        return self.ended_at - self.started_at

    @property
    def name(self) -> str:
        """The name of its root, or of the first span."""
        roots = (node for node in self.nodes if node.span.parent_id is None)
        first = min(self.nodes, key=lambda node: node.span.started_at)
        return next(roots, first).span.name

    @property
    def error_count(self) -> int:
        return sum(node.span.is_error for node in self.nodes)

    def total(self, name: str) -> float | None:
        """Return the sum of a number over the calls of models; None where no span has it.

        Frameworks repeat the sum of a call on the spans around it, so only the innermost spans
        that have the number count.
        """
        found = [
            value
            for node in self.nodes
            if (value := node.number(name)) is not None
            and not is_repeated(node, lambda each: each.number(name) is not None)
        ]
        return sum(found) if found else None


def is_repeated(node: Node, has: Callable[[Node], bool]) -> bool:
    """Return whether a span below has a number that this one has, too."""
    waiting = list(node.children)
    while waiting:
        each = waiting.pop()
        if has(each):
            return True
        waiting += each.children
    return False


def read_trace(
    project: Project, trace_id: bytes, most: int = SPANS_MAX
) -> Trace | None:
    """Return the first spans of the trace, without hidden and removed ones; None without any."""
    models = {model.pk: model for model in project.models.all()}
    with connection.cursor() as cursor:
        cursor.execute(
            READ, {"project": project.pk, "trace": trace_id, "most": most + 1}
        )
        rows = cursor.fetchall()
    if not rows:
        return None
    nodes = []
    for key, span_id, parent_id, row_id, kind, name, began, ended, failed, said in rows:
        model = models.get(key)
        if model is None:  # it was removed meanwhile
            continue
        model.project = project
        span = Span(
            registered_model=model,
            trace_id=trace_id,
            span_id=bytes(span_id),
            parent_id=bytes(parent_id) if parent_id else None,
            row_id=row_id,
            kind=kind,
            name=name,
            started_at=began,
            ended_at=ended,
            is_error=failed,
        )
        nodes.append(Node(span, model, orjson.loads(said)))
    shown = list(_in_order(nodes[:most]))
    return Trace(trace_id.hex(), shown, len(rows) > most) if shown else None


def _in_order(nodes: list[Node]) -> Iterator[Node]:
    """Yield the spans depth first, those of one parent by their beginning."""
    by_id: dict[bytes, Node] = {}
    for node in nodes:
        by_id.setdefault(bytes(node.span.span_id), node)
    tops = []
    for node in nodes:
        parent = by_id.get(bytes(node.span.parent_id or b""))
        if (
            parent is None
            or parent is node
            or by_id[bytes(node.span.span_id)] is not node
        ):
            node.is_orphan = node.span.parent_id is not None
            tops.append(node)
        else:
            parent.children.append(node)
    seen: set[int] = set()
    # Spans of a circle are below no top: the first of those that are left opens it.
    for top in (*tops, *nodes):
        waiting = [(top, 0)]
        while waiting:
            node, depth = waiting.pop()
            if id(node) in seen:
                continue
            seen.add(id(node))
            node.depth = depth
            yield node
            waiting += [(child, depth + 1) for child in reversed(node.children)]


# Served by span_by_trace, and by the primary keys of rows and payloads. The metadata of a span is
# opened once for all facts, and what else it holds stays in the database.
READ = f"""
SELECT span.model_key, span_id, parent_id, span.id, kind, name, started_at, ended_at, is_error,
       jsonb_strip_nulls(to_jsonb(said))::text
FROM {Span._meta.db_table} AS span
JOIN {Inference._meta.db_table} AS row
     ON row.model_key = span.model_key AND row.id = span.id AND NOT row.deleted
JOIN {InferencePayload._meta.db_table} AS payload
     ON payload.model_key = span.model_key AND payload.id = span.id
CROSS JOIN LATERAL jsonb_to_record(payload.metadata)
     AS said ({", ".join(f"{name} jsonb" for name in FACTS)})
WHERE span.project_key = %(project)s AND span.trace_id = %(trace)s
ORDER BY started_at, ended_at DESC, span_id LIMIT %(most)s
"""
