"""One inference on the terminal."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from inference_store.cli.output import plain
from inference_store.models import Inference

MOST_OF_ANSWER = 2000


def panel(inference: Inference) -> Panel:
    """The inference with its metadata and answer, framed."""
    parts: list[Any] = [_facts(inference)]
    if inference.metadata:
        parts += [Text("\nMetadata", style="bold"), _metadata(inference)]
    if inference.data:
        parts += [Text("\nAnswer", style="bold"), Text(_answer(inference.data))]
    title = Text(plain(inference.inference_id), style="bold")
    return Panel(Group(*parts), title=title, title_align="left", expand=False)


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
    said = [
        str(more.get("data_content_type") or ""),
        f"{size:,} bytes" if isinstance(size, int) else "",
        "" if inference.data_storage_key else "not kept",
    ]
    return ", ".join(each for each in said if each)


def _metadata(inference: Inference) -> Table:
    table = _grid()
    for each in inference.metadata or ():
        table.add_row(
            Text(plain(each.key)),
            Text(plain(each.value), overflow="fold"),
            Text(each.type, style="dim"),
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
    if len(lines) > MOST_OF_ANSWER:
        return f"{lines[:MOST_OF_ANSWER]}\n… {len(lines) - MOST_OF_ANSWER} more"
    return lines
