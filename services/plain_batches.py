"""Split plain JSON requests with several inputs, and their answers, into single inferences.

It knows the forms whose request and answer both show the number of inputs: OpenAI's
embeddings (``input`` and ``data``) and completions (``prompt`` and ``choices``), and
Hugging Face servers (``inputs``, answered by a list). A list that is a single input, such
as the messages of a chat or the tokens of a text, is not split.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from istore.json_text import write_json

USAGE = "usage"  # counts of the whole request: only the first part keeps them


@dataclass(frozen=True, slots=True)
class Batch:
    """A form of batches: the list member of the request, and that of the answer, if any."""

    asked: str
    answered: str | None
    is_one: Callable[[Any], bool]

    def count(self, request: dict[str, Any]) -> int:
        values = request.get(self.asked)
        if not isinstance(values, list) or not all(map(self.is_one, values)):
            return 1
        # With ``n`` answers to each input it is unknown which answer belongs to which input.
        is_single = request.get("n") in (None, 1) and request.get("best_of") in (
            None,
            1,
        )
        return max(len(values), 1) if is_single else 1

    def rows(self, answer: Any, count: int) -> list[Any] | None:
        """Return the answers in the order of the request; None if the number differs."""
        rows = answer
        if self.answered is not None:
            rows = answer.get(self.answered) if isinstance(answer, dict) else None
        if not isinstance(rows, list) or len(rows) != count:
            return None
        places: list[Any] = [row.get("index") for row in rows if isinstance(row, dict)]
        if len(places) == count and all(type(place) is int for place in places):
            if sorted(places) == list(range(count)):
                return [row for _, row in sorted(zip(places, rows, strict=True))]
            return rows if len(set(places)) == 1 else None
        return rows

    def slice(self, answer: Any, row: Any, index: int) -> Any:
        """Return the answer as it would be for this input alone."""
        if isinstance(row, dict) and "index" in row:
            row = {**row, "index": 0}
        if self.answered is None:
            return [row]
        kept = {k: v for k, v in answer.items() if k != USAGE or index == 0}
        return {**kept, self.answered: [row]}


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_text_or_tokens(value: Any) -> bool:
    is_tokens = isinstance(value, list) and bool(value)
    return isinstance(value, str) or (is_tokens and {*map(type, value)} == {int})


FORMS = (
    Batch("input", "data", _is_text_or_tokens),
    Batch("prompt", "choices", _is_text_or_tokens),
    Batch("inputs", None, _is_text),
)


def may_be_several(body: bytes, task_type: str) -> bool:
    """Return whether the body may hold a list of inputs, without parsing it."""
    return task_type.startswith("Text") and any(
        b'"%s"' % form.asked.encode() in body for form in FORMS
    )


def count_inputs(body: bytes, task_type: str) -> int:
    """Return the number of inferences in a request. Raises ValueError if it is not JSON."""
    found = _batch_of(body, task_type)
    return found[1] if found else 1


def split_inputs(body: bytes, task_type: str) -> list[bytes]:
    """Return one request for each input, as it would be for that input alone."""
    found = _batch_of(body, task_type)
    if found is None:
        return [body]
    form, _, request = found
    values = request[form.asked]
    return [_encode({**request, form.asked: value}) for value in values]


def split_answer(
    body: bytes, task_type: str, answer: bytes, count: int
) -> list[bytes] | None:
    """Return the answer to each of ``count`` inputs; None if it cannot be split so."""
    found = _batch_of(body, task_type)
    if found is None or found[1] != count:
        return None
    form = found[0]
    value = orjson.loads(answer)
    rows = form.rows(value, count)
    if rows is None:
        return None
    return [_encode(form.slice(value, row, n)) for n, row in enumerate(rows)]


def _encode(value: Any) -> bytes:
    """Return the value as JSON, also if deeply nested: orjson reads 1,024 levels, writes 254.

    Raises ``ValueError`` if it cannot be written.
    """
    try:
        return write_json(value).encode()
    except RecursionError:
        raise ValueError("It is nested too deep to be taken apart.") from None


def comes_in_as_many(body: bytes, task_type: str, answer: bytes, count: int) -> bool:
    try:
        if split_answer(body, task_type, answer, count) is None:
            return False
        # Capture writes the request for each of its inputs later, when it must not fail.
        _encode(orjson.loads(body))
    except ValueError:
        return False
    return True


def _batch_of(body: bytes, task_type: str) -> tuple[Batch, int, dict[str, Any]] | None:
    # The documents of a ranking are one input.
    if not task_type.startswith("Text"):
        return None
    request = orjson.loads(body)
    if not isinstance(request, dict):
        return None
    for form in FORMS:
        if form.asked in request:
            count = form.count(request)
            return (form, count, request) if count > 1 else None
    return None
