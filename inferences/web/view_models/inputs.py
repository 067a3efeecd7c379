"""Inputs for pages: a picture, values, text, or the reason why there is none."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import IO, Any

from inferences.models import Inference
from inferences.predictions.model_types import type_of
from inferences.predictions.parsers.prompts import is_textual
from inferences.previews.pictures import Busy, Measure, Unreadable, measure
from inferences.web.view_models.conversations import last_user_text
from inferences.web.view_models.signed_bars import Bars, bars
from istore import blobs
from istore.blobs import moves
from protocols.conversations import Conversation, PartKind, read_conversation
from protocols.json_text import parse

HEAD = 64 * 1024
# A card reads so much of a prompt. A page has some thirty, so that is their work and memory.
PROMPT_HEAD = 512 * 1024
TOO_LONG = "A long prompt, which begins:"
NO_TEXT = "An empty prompt"
DAMAGED = "The input is damaged."
VALUES_MAX = 24
TEXT_CHARS = 600
READERS = 6  # threads per list: an object store is slow, but takes many requests
LISTS_AT_ONCE = 4
_readers = ThreadPoolExecutor(READERS * LISTS_AT_ONCE, "looks")
NOT_TEXT = ("audio/", "video/", "application/zip", "application/pdf")
# The classes ratio-0 to ratio-… of the style sheet, each four percent wider than the one before.
RATIO_STEP, RATIO_FIRST, RATIO_LAST = math.log(1.04), math.log(0.4), math.log(3.2)
RATIOS = round((RATIO_LAST - RATIO_FIRST) / RATIO_STEP)
PLOTTED = 24  # from this many numbers on they are drawn as bars


@dataclass(frozen=True, slots=True)
class Look:
    """An input for a page: exactly one of picture, values, plot, text or ``missing`` is set."""

    picture: Measure | None = None
    values: list[tuple[str, str]] = field(default_factory=list)
    plot: Bars | None = None
    text: str = ""
    is_prompt: bool = False  # the text is what somebody asked
    missing: str = ""  # "none", "expired" or the reason why it cannot be shown

    @property
    def is_tiny(self) -> bool:
        return self.picture is not None and max(self.picture.upright) <= 96

    @property
    def _upright(self) -> tuple[int, int]:
        assert self.picture is not None  # pages ask for the sizes of pictures only
        return self.picture.upright

    def fitted(self, width: int, height: int) -> tuple[int, int]:
        """Return the size in pixels at which the picture fits this box, proportions kept."""
        w, h = self._upright
        scale = min(width / w, height / h)
        return max(round(w * scale), 1), max(round(h * scale), 1)

    @property
    def ratio(self) -> int:
        """The class of the picture's width by height, so that a row of pictures is even."""
        return ratio_class(*self._upright)

    @property
    def in_card(self) -> tuple[int, int]:
        return self.fitted(400, 240)

    @property
    def in_line(self) -> tuple[int, int]:
        return self.fitted(88, 56)

    @property
    def in_page(self) -> tuple[int, int]:
        w, h = self._upright
        if self.is_tiny:
            return self.fitted(480, 480)
        # Small pictures are enlarged, up to a limit.
        return self.fitted(min(1080, 3 * w), min(680, 3 * h))


def ratio_class(width: float, height: float) -> int:
    """Return the number of the class ``ratio-…`` that is nearest."""
    place = (math.log(width / height) - RATIO_FIRST) / RATIO_STEP
    return min(max(round(place), 0), RATIOS)


def looks(inferences: Sequence[Inference]) -> dict[int, Look]:
    """Return the look of each inference's input, by row id."""
    payloads = {inference.id: inference.payload for inference in inferences}
    prompts = {each.id for each in inferences if _has_prompt(each)}
    there = {row_id: each for row_id, each in payloads.items() if each.input_key}
    found = {
        row_id: _without_input(payloads[row_id]) for row_id in payloads.keys() - there
    }
    stored = {
        row_id: (each.input_key, each.data_content_type)
        for row_id, each in there.items()
    }
    return found | looks_of_blobs(stored, prompts)


def looks_of_blobs(
    stored: Mapping[int, tuple[str, str]], prompts: Collection[int] = ()
) -> dict[int, Look]:
    """Return the look of each stored input, given by its storage key and content type.

    Those of ``prompts`` are requests of models that take text.
    """
    waiting = [
        _Stored(row_id, *each, row_id in prompts) for row_id, each in stored.items()
    ]
    found = _read_looks(waiting)
    # The readers have no database connections, so one statement asks where the missing went.
    gone = [each for each in waiting if each.row_id not in found]
    moved = moves.new_keys_of(each.key for each in gone) if gone else {}
    for each in gone:
        found[each.row_id] = Look(missing="expired")
        if each.key in moved:
            found |= _looks([replace(each, key=moved[each.key], may_be_moved=True)])
    return found


@dataclass(frozen=True, slots=True)
class _Stored:
    """A stored input to read. One that is not where its key says counts as not there."""

    row_id: int
    key: str
    content_type: str
    is_prompt: bool
    may_be_moved: bool = False

    def open(self) -> IO[bytes]:
        return (blobs.open_blob if self.may_be_moved else blobs.open_unmoved)(self.key)


def _read_looks(waiting: Sequence[_Stored]) -> dict[int, Look]:
    """Return the looks of those that are there, read by several threads."""
    shares = [waiting[n::READERS] for n in range(min(READERS, len(waiting)))]
    found: dict[int, Look] = {}
    for share in _readers.map(_looks, shares):
        found |= share
    return found


def _has_prompt(inference: Inference) -> bool:
    return type_of(inference.registered_model.task_type).has_prompt


def _looks(stored: Sequence[_Stored]) -> dict[int, Look]:
    found = {}
    for each in stored:
        with suppress(FileNotFoundError):
            found[each.row_id] = (
                _look_of_prompt(each) if each.is_prompt else _look(each)
            )
    return found


def _look_of_prompt(stored: _Stored) -> Look:
    """Return what was asked last of a model that takes text, as far as a card reads."""
    if not is_textual(stored.content_type):
        return _look(stored)
    try:
        with stored.open() as file:
            content = file.read(PROMPT_HEAD + 1)
    except blobs.BlobDamaged:
        return Look(missing=DAMAGED)
    if len(content) > PROMPT_HEAD:
        return Look(text=f"{TOO_LONG} {_beginning(content)}", is_prompt=True)
    try:
        conversation = read_conversation(parse(content.decode()), None)
    except UnicodeDecodeError:
        conversation = None
    text = last_user_text(conversation) if conversation else ""
    if not text and conversation and _says_nothing(conversation):
        text = NO_TEXT
    return Look(text=text, is_prompt=True) if text else read_text(content[:HEAD])


def _says_nothing(conversation: Conversation) -> bool:
    """Return whether it has turns, and no part of them holds anything."""
    parts = [part for turn in conversation.turns for part in turn.parts]
    is_text = all(
        part.kind is PartKind.TEXT and not part.text.strip() for part in parts
    )
    return bool(conversation.turns) and is_text


def _beginning(content: bytes) -> str:
    return " ".join(content[:TEXT_CHARS].decode("utf-8", "ignore").split())


def _without_input(payload: Any) -> Look:
    expired = payload.input_expired_at or payload.input_removal_at
    return Look(missing="expired" if expired else "none")


def _look(stored: _Stored) -> Look:
    content_type = stored.content_type
    try:
        if may_be_picture(content_type):
            try:
                found = measure(stored.key, may_be_moved=stored.may_be_moved)
                return Look(picture=found)
            except Unreadable as error:
                if content_type.startswith("image/"):
                    return Look(missing=str(error))
        if content_type.startswith(NOT_TEXT):
            return Look(missing=f"{content_type} is not shown here.")
        with stored.open() as file:
            return read_text(file.read(HEAD))
    except blobs.BlobDamaged:
        return Look(missing=DAMAGED)
    except Busy:
        return Look(missing="Too many pictures at once: try again.")


def may_be_picture(content_type: str) -> bool:
    """Return whether an input of this type is decoded to see whether it is a picture."""
    return content_type.startswith("image/") or content_type in (
        "",
        "application/octet-stream",
    )


def read_text(content: bytes) -> Look:
    """Return JSON as values, long lists of numbers as bars, and other text as it is."""
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        if error.start < len(content) - 4:
            return Look(missing="This is neither a picture nor a text.")
        text = content[: error.start].decode()
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return Look(text=text[:TEXT_CHARS])
    return _json_look(value, text)


def _json_look(value: Any, text: str) -> Look:
    if isinstance(value, dict) and isinstance(value.get("data"), list):
        return _tensor_look(value, text)
    if isinstance(value, dict):
        return Look(values=_shown_items(value.items()))
    if _numbers(value) and len(value) > 1:
        return _number_look([], value)
    return Look(text=text[:TEXT_CHARS])


def _tensor_look(tensor: dict[str, Any], text: str) -> Look:
    data = tensor["data"]
    while len(data) == 1 and isinstance(data[0], list):
        data = data[0]
    parameters = tensor.get("parameters")
    names = parameters.get("columns") if isinstance(parameters, dict) else None
    if isinstance(names, str):
        try:
            names = json.loads(names)
        except ValueError:
            names = None
    if _numbers(data):
        return _number_look(names if isinstance(names, list) else [], data)
    if all(isinstance(each, str) for each in data):
        return Look(text="\n".join(data)[:TEXT_CHARS])
    return Look(text=text[:TEXT_CHARS])


def _number_look(names: list[Any], data: list[float]) -> Look:
    if len(names) != len(data) and len(data) >= PLOTTED:
        return Look(plot=bars([float(each) for each in data]))
    if len(names) != len(data):
        names = list(range(len(data)))
    return Look(values=_shown_items(zip(names, data, strict=True)))


def _numbers(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(type(each) in (int, float) and abs(each) < 1e300 for each in value)
    )


def _shown_items(items: Any) -> list[tuple[str, str]]:
    shown = []
    for name, value in list(items)[:VALUES_MAX]:
        if isinstance(value, float):
            text = f"{value:.6g}"
        elif isinstance(value, str):
            text = value
        else:
            text = json.dumps(value, ensure_ascii=False)
        shown.append((str(name)[:80], text[:160]))
    return shown
