"""The names within ``notes`` of a record: what the store notes beside what was given."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

WARNINGS = "warnings"
# Set when no parser understood the answer; such a record has a warning, too.
NOT_UNDERSTOOD = "not_understood"
# Set when the call failed; its value is one of ``Failure``. The partial index
# payload_with_failure holds every row whose notes have the name.
FAILURE = "failure"


class Failure(StrEnum):
    """Why a call failed."""

    STATUS = "status"  # the server answered with an error status
    TIMEOUT = "timeout"  # it did not answer in time
    UNAVAILABLE = "unavailable"  # it could not be reached
    BROKEN_OFF = "broken-off"  # it broke off before the end of its answer
    UNREADABLE = "unreadable"  # what it answered is no HTTP, a redirect, or too large
    ERROR = "error"  # its stream holds an error, or its span failed


def without_empty_warnings(notes: dict[str, Any]) -> dict[str, Any]:
    """Return the notes as they are stored: ``warnings`` is a list of texts, or absent.

    The partial index payload_with_warnings holds every row whose notes have the name, so an
    empty list must not be stored.
    """
    if WARNINGS not in notes:
        return notes
    if warnings_of(notes):
        return {**notes, WARNINGS: warnings_of(notes)}
    return {name: value for name, value in notes.items() if name != WARNINGS}


def warnings_of(notes: Any) -> list[str]:
    """Return the warnings within notes, in whatever form an imported line has them."""
    found = notes.get(WARNINGS) if isinstance(notes, dict) else None
    if isinstance(found, str):
        found = [found]
    if not isinstance(found, list):
        return []
    return [each if isinstance(each, str) else str(each) for each in found if each]
