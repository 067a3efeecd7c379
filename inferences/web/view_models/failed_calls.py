"""A call that failed, as pages say it: why, and what the server or the application told of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from inferences.models import InferencePayload
from inferences.store.notes import FAILURE, Failure

MESSAGE_CHARS = 400
READ_CHARS = 64 * 1024  # of an answer: one that is longer is no error message
# What applications that are traced tell of a span that failed.
TOLD = "status_message"
WORDS = {
    Failure.STATUS: "refused by the server",
    Failure.TIMEOUT: "no answer in time",
    Failure.UNAVAILABLE: "server not reached",
    Failure.BROKEN_OFF: "broken off",
    Failure.UNREADABLE: "unreadable answer",
    Failure.ERROR: "error",
}


@dataclass(frozen=True, slots=True)
class FailedCall:
    """``reason`` is an HTTP status or some words; ``message`` may be empty."""

    reason: str
    message: str = ""

    def __str__(self) -> str:
        return ": ".join(filter(None, (f"failed: {self.reason}", self.message)))


def failed_call_of(payload: InferencePayload) -> FailedCall | None:
    """Return what is known of a call that failed; None for one that did not."""
    notes = payload.notes or {}
    failure = notes.get(FAILURE)
    if not failure:
        return None
    status = (notes.get("answer") or {}).get("status")
    known = WORDS.get(failure, str(failure))
    reason = str(status) if failure == Failure.STATUS and status else known
    _, told = payload.metadata.get(TOLD, ("", ""))
    message = _message_in(payload.data) or str(told)
    return FailedCall(reason, " ".join(message.split())[:MESSAGE_CHARS])


def _message_in(answer: str) -> str:
    """Return the message of an error in the form of any of the APIs; "" without one."""
    if not answer or len(answer) > READ_CHARS:
        return ""
    try:
        value = json.loads(answer)
    except (ValueError, RecursionError):
        return ""
    return (
        _message_of(value)
        or _message_of(value, "error")
        or _message_of(value, "detail")
    )


def _message_of(value: Any, within: str = "") -> str:
    if isinstance(value, dict) and within:
        value = value.get(within)
    if isinstance(value, str) and within:
        return value
    found = value.get("message") if isinstance(value, dict) else None
    return found if isinstance(found, str) else ""
