"""Show one inference on the terminal."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from inference_store.cli.output import plain
from inference_store.models import ClassProbability, Detection, Entity, Inference

ANSWER_LIMIT = 2000
NAMED_LIMIT = 20


def panel(inference: Inference) -> Panel:
    """Return a panel with the inference, its metadata and its answer."""
    parts: list[Any] = [_facts(inference)]
    if inference.metadata:
        parts += [Text("\nMetadata", style="bold"), _metadata(inference)]
    if understood := _understood(inference):
        parts += [Text("\nUnderstood", style="bold"), understood]
    if inference.data:
        parts += [Text("\nAnswer", style="bold"), Text(_answer(inference.data))]
    title = Text(plain(inference.inference_id), style="bold")
    return Panel(Group(*parts), title=title, title_align="left", expand=False)


def _understood(inference: Inference) -> Table | None:
    """Return a table of the fields read from answer and input, one line each."""
    rows = {
        "prompt": inference.prompt,
        "detections": _named(inference.detections),
        "probabilities": _named(inference.probabilities),
        "entities": _named(inference.entities),
        "response": inference.response,
    }
    rows |= {name: f"not read: {why}" for name, why in inference.unread.items()}
    shown = {name: text for name, text in rows.items() if text is not None}
    if not shown:
        return None
    table = _grid()
    for name, text in shown.items():
        table.add_row(name, Text(plain(text[:ANSWER_LIMIT]), overflow="fold"))
    return table


def _named(rows: Sequence[Detection | ClassProbability | Entity] | None) -> str | None:
    if rows is None:
        return None
    named = [
        row.label if row.score is None else f"{row.label} {row.score:.3g}"
        for row in rows[:NAMED_LIMIT]
    ]
    more = len(rows) - len(named)
    return ", ".join(named + ([f"{more} more"] if more else [])) or "none"


def _facts(inference: Inference) -> Table:
    table = _grid()
    point = inference.data_coordinates
    more = inference.model_extra or {}
    facts = {
        "model": inference.model_id,
        "created": f"{inference.created_at:%Y-%m-%d %H:%M:%S.%f} UTC",
        "action": inference.inference_action,
        "source": inference.data_source,
        "place": f"{point.latitude}, {point.longitude}" if point else None,
        "input": _input(inference, more),
        "hash": inference.data_hash,
        "protected": "yes" if inference.is_protected else None,
        "link": inference.presigned_url,
        "notes": json.dumps(more["notes"]) if more.get("notes") else None,
    }
    for name, value in facts.items():
        if value:
            table.add_row(name, Text(plain(value), overflow="fold"))
    return table


def _input(inference: Inference, more: dict[str, Any]) -> str:
    size = more.get("data_size")
    parts = [
        str(more.get("data_content_type") or ""),
        f"{size:,} bytes" if isinstance(size, int) else "",
        "" if inference.data_storage_key else "not kept",
    ]
    return ", ".join(part for part in parts if part)


def _metadata(inference: Inference) -> Table:
    table = _grid()
    for item in inference.metadata or ():
        table.add_row(
            Text(plain(item.key)),
            Text(plain(item.value), overflow="fold"),
            Text(item.type, style="dim"),
        )
    return table


def _grid() -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="cyan")
    return table


def _answer(text: str) -> str:
    with suppress(ValueError):
        text = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    lines = "\n".join(plain(line) for line in text.splitlines())
    if len(lines) > ANSWER_LIMIT:
        return f"{lines[:ANSWER_LIMIT]}\n… {len(lines) - ANSWER_LIMIT} more"
    return lines
