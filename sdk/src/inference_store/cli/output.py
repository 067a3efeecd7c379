"""Output: tables on a terminal, tab-separated lines in a pipe, JSON with ``--json``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from inference_store.models import Inference

T = TypeVar("T")

CONTROLS = dict.fromkeys([*range(0x20), *range(0x7F, 0xA0)], " ")
COLUMNS = ("created", "inference", "action", "source", "metadata")
FULL, PARTS = 40, ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")


def console() -> Console:
    """Return a new console: a test or a pipe may have replaced standard output since."""
    return Console(highlight=False, soft_wrap=False)


def is_terminal() -> bool:
    """Return whether standard output is a terminal."""
    return sys.stdout.isatty()


def show_json(value: Any) -> None:
    """Print a value as one line of JSON."""
    if isinstance(value, BaseModel):
        # Fields that were not asked for are left out: null would mean that there is no value.
        is_whole = not isinstance(value, Inference)
        value = value.model_dump(mode="json", exclude_unset=not is_whole)
    print(json.dumps(value, ensure_ascii=False))


def show_rows(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table on a terminal, or else a tab-separated line for each row as it comes."""
    if not is_terminal():
        for row in rows:
            print("\t".join(plain(cell) for cell in row), flush=True)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(safe(cell) for cell in row))
    console().print(table)


def show_list(
    items: Iterable[T],
    columns: Sequence[str],
    row: Callable[[T], Sequence[str]],
    as_json: bool,
) -> None:
    """Print items as lines of JSON, or as rows that ``row`` makes of them."""
    if not as_json:
        show_rows(columns, map(row, items))
        return
    for item in items:
        show_json(item)


def inference_row(inference: Inference, fields: Sequence[str] = ()) -> tuple[str, ...]:
    """Return an inference as the cells of a row."""
    words = [f"{m.key}={m.value}" for m in inference.metadata or ()]
    if failure := failure_of(inference):
        words.insert(0, f"status:{failure}")
    metadata = " ".join(words)
    return (
        f"{inference.created_at:%Y-%m-%d %H:%M:%S}",
        inference.inference_id,
        inference.inference_action,
        inference.data_source or "",
        metadata,
        *(understood(inference, name) for name in fields),
    )


def failure_of(inference: Inference) -> str:
    """Return how a call failed, in the word of the query that finds it; "" if it did not."""
    notes = (inference.model_extra or {}).get("notes") or {}
    failure = str(notes.get("failure") or "")
    status = (notes.get("answer") or {}).get("status")
    return str(status) if failure == "status" and status else failure


def understood(inference: Inference, field: str) -> str:
    """Return a field that was read from the answer: a text as it is, other values as JSON."""
    if field in inference.unread:
        return f"({inference.unread[field]})"
    value = inference.model_dump(mode="json", exclude_unset=True).get(field)
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, ensure_ascii=False)


def plain(text: str) -> str:
    """Return the text on one line, without control characters that a terminal would obey."""
    return text.translate(CONTROLS)


def safe(text: str) -> str:
    """Return the text escaped for rich, which would read brackets as markup."""
    return escape(plain(text))


def bar(count: int, largest: int) -> str:
    """Return a bar whose length is ``count`` in relation to the largest."""
    eighths = round(count / largest * FULL * 8) if largest else 0
    eighths = max(eighths, 1) if count else 0
    return "█" * (eighths // 8) + PARTS[eighths % 8]
