"""What is searched of a record: the words of its prompt and its answer, as rows to write.

Both are read as conversations, without the names of roles and members. An answer of another
form, such as that of a classifier, has the texts in its JSON.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from inferences.models import RegisteredModel, TextSide
from inferences.predictions.model_types import type_of
from inferences.predictions.parsers.prompts import is_textual
from inferences.store.answer_text import named_text
from inferences.store.stored_requests import (
    NoRequestText,
    Reason,
    is_too_large,
    open_with,
    request_text,
)
from inferences.store.text_words import parts_of
from istore import blobs
from istore.blobs.batch_reading import BatchReader
from istore.blobs.damage import telling_damage
from protocols.conversations import Part, PartKind, Turn, read_conversation
from protocols.json_text import parse

CUT = "The request is too large to be read as text: its words are not searched."
PORTION_BYTES = 32 * 2**20  # of the texts that are in memory together, or one text
INPUTS = "inputs"  # of a collection: what was asked stands beside the answer

logger = logging.getLogger(__name__)

Row = dict[str, Any]
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class TextSource:
    """Where the texts of a record are: its answer in the row or a blob, its input in a blob."""

    data: str
    answer_key: str
    input_key: str  # empty: there is no input, or it is gone
    content_type: str
    notes: Mapping[str, Any]
    input_size: int = 0
    is_input_gone: bool = False
    request: str | None = None  # its text, where it need not be read again

    @property
    def size(self) -> int:
        """Return about how many bytes its texts have."""
        told = (self.notes.get("answer") or {}).get("size")
        answer = told if isinstance(told, int) and not self.data else len(self.data)
        return answer + (self.input_size if self.input_key else 0)


def is_cut(source: TextSource) -> bool:
    """Return whether the words of the prompt are left out, for it has too many bytes."""
    has_text = source.input_key and is_textual(source.content_type)
    return bool(has_text) and is_too_large(source.input_size)


def is_searched(model: RegisteredModel) -> bool:
    """Return whether the texts of the model are indexed: by its setting, or else by its task."""
    if model.text_search is not None:
        return model.text_search
    return type_of(model.task_type).has_prompt


def portions(
    sources: Sequence[tuple[R, TextSource]],
) -> Iterator[list[tuple[R, TextSource]]]:
    """Split what is to be indexed, so that the texts of a portion fit into memory."""
    portion: list[tuple[R, TextSource]] = []
    size = 0
    for pair in sources:
        if portion and size + pair[1].size > PORTION_BYTES:
            yield portion
            portion, size = [], 0
        portion.append(pair)
        size += pair[1].size
    if portion:
        yield portion


def rows_of(
    model: RegisteredModel, sources: Iterable[TextSource]
) -> Iterator[list[Row]]:
    """Yield the rows of each record: side, part, and the text to make a tsvector of.

    Each side that is there has a part 0, even without a word: so ``verify`` tells a record
    without words from one that was forgotten.
    """
    sources = list(sources)
    reader = BatchReader(
        key
        for each in sources
        for key in ("" if each.request is not None else each.input_key, each.answer_key)
        if key
    )
    for each in sources:
        texts = _texts_of(each, reader)
        yield [
            {"side": side.value, "part": part, "words": words}
            for side, text in texts.items()
            for part, words in enumerate(parts_of(text, model.text_search_language))
        ]


def texts_of(source: TextSource) -> dict[TextSide, str]:
    """Return the prompt and the answer of one record as they are searched and shown."""
    return _texts_of(source, BatchReader(()))


def _texts_of(source: TextSource, reader: BatchReader) -> dict[TextSide, str]:
    answer = _answer(source, reader)
    texts = {TextSide.ANSWER: said_in_answer(answer)}
    if not source.is_input_gone:
        prompt = named_text(answer)
        if prompt is None:
            prompt = said_in_request(_input(source, reader))
        texts = {TextSide.PROMPT: prompt, **texts}
    return texts


def _answer(source: TextSource, reader: BatchReader) -> str:
    is_binary = (source.notes.get("answer") or {}).get("header_length")
    if source.data or not source.answer_key or is_binary:
        return source.data
    return _text_of_blob(source.answer_key, reader)


def _input(source: TextSource, reader: BatchReader) -> str:
    if source.request is not None:
        return "" if is_too_large(source.input_size) else source.request
    try:
        return request_text(source.input_key, source.content_type, reader)
    except NoRequestText as why:
        if why.reason in (Reason.DAMAGED, Reason.TOO_LARGE):
            key = source.input_key
            logger.warning("The text of %s is not indexed: it is %s", key, why)
        return ""


def _text_of_blob(key: str, reader: BatchReader) -> str:
    """Return the text of a blob; empty if the blob is gone, damaged or no text.

    A record is stored without the words of one blob that cannot be read. Raises what the storage
    raises when it is away as a whole: it is back before long, and then all of the text is there.
    """
    try:
        with telling_damage(key), open_with(key, reader) as file:
            return file.read().decode()
    except (FileNotFoundError, UnicodeDecodeError):
        return ""
    except blobs.BlobDamaged as failure:
        logger.warning("The text of %s is not indexed: %s", key, failure)
        return ""


def said_in_request(text: str) -> str:
    """Return what a request says; of an unknown form the texts in its JSON, or the text itself."""
    value = parse(text)
    conversation = read_conversation(value, None) if text else None
    if conversation is None or not conversation.turns:
        return _texts_in(value)
    return "\n\n".join(map(said_in_turn, conversation.turns))


def said_in_answer(text: str) -> str:
    """Return what an answer says, all of its choices, as ``said_in_request`` does."""
    value = parse(text)
    if isinstance(value, dict):
        value = {name: each for name, each in value.items() if name != INPUTS}
        if len(value) == 1:  # a collection of the API has one part most often
            (inner,) = value.values()
            value = inner if isinstance(inner, dict | list | str) else value
    conversation = read_conversation(None, value) if text else None
    if conversation is None or not conversation.choices:
        return _texts_in(value)
    turns = (*conversation.turns, *conversation.choices)
    return "\n\n".join(map(said_in_turn, turns))


def said_in_turn(turn: Turn) -> str:
    """Return the texts of a turn, a line for each part: thoughts and calls of tools, too."""
    return "\n".join(text for part in turn.parts if (text := _said(part)))


def _said(part: Part) -> str:
    if part.kind is PartKind.TOOL_CALL:
        return f"{part.name}({part.arguments})"
    if part.kind is PartKind.FILE and part.name:
        return f"{part.name}\n{part.text}" if part.text else part.name
    return part.text


def _texts_in(value: Any) -> str:
    """Return the texts in a JSON value, in their order; member names are none."""
    found: list[str] = []
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, str):
            found.append(each)
        elif isinstance(each, Mapping):
            waiting += reversed(list(each.values()))
        elif isinstance(each, list):
            waiting += reversed(each)
    return "\n".join(found)
