"""The request of a record as text: the one way by which pages, exports and searches read it.

A request of more than ``ISTORE_REQUEST_MAX_BYTES`` is not read: its page offers it as a
download, chat exports skip it, tables have no prompt of it, and its words are not searched. Each
says so.
"""

from __future__ import annotations

import io
from enum import StrEnum
from typing import IO

from django.conf import settings

from inferences.predictions.parsers.prompts import is_textual
from istore import blobs
from istore.blobs.batch_reading import BatchReader
from istore.blobs.damage import telling_damage


class Reason(StrEnum):
    """Why a request has no text here."""

    ABSENT = "absent"  # none is stored, or no longer
    NO_TEXT = "no-text"  # a picture, a sound, or bytes that are no UTF-8
    TOO_LARGE = "too-large"
    DAMAGED = "damaged"


class NoRequestText(Exception):
    """There is no text of the request, for this reason."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


def is_too_large(size: int) -> bool:
    """Return whether a request of so many bytes is not read."""
    return size > settings.ISTORE_REQUEST_MAX_BYTES


def request_text(
    key: str | None, content_type: str | None, reader: BatchReader | None = None
) -> str:
    """Return the text of a request by the key of its input. Raises ``NoRequestText``.

    Raises what the storage raises when it is away as a whole, too.
    """
    if not key:
        raise NoRequestText(Reason.ABSENT)
    if not is_textual(content_type):
        raise NoRequestText(Reason.NO_TEXT)
    try:
        with telling_damage(key), open_with(key, reader) as file:
            content = file.read(settings.ISTORE_REQUEST_MAX_BYTES + 1)
    except FileNotFoundError:
        raise NoRequestText(Reason.ABSENT) from None
    except blobs.BlobDamaged:
        raise NoRequestText(Reason.DAMAGED) from None
    return text_of(content)


def text_of(content: bytes) -> str:
    """Return the text of a request of these bytes. Raises ``NoRequestText``."""
    if is_too_large(len(content)):
        raise NoRequestText(Reason.TOO_LARGE)
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise NoRequestText(Reason.NO_TEXT) from None


def open_with(key: str, reader: BatchReader | None) -> IO[bytes]:
    """Return the blob as a file, which ``reader`` may have. Raises ``FileNotFoundError``."""
    if not key:
        raise FileNotFoundError
    content = reader.take(key) if reader else None
    return blobs.open_blob(key) if content is None else io.BytesIO(content)
