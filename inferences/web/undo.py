"""Messages about an action with a button to undo it.

Undo is an ordinary action: a form that posts to the page that does the opposite, with the
roles which that page requires. Without such a page there is no button. Where undoing wants more
than the person may do otherwise, the form carries a signed value that only this person can use.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core import signing
from django.http import HttpRequest
from django.template.loader import render_to_string

UNDO_SECONDS = 24 * 3600  # a toast that is seen later than the next day offers nothing


def with_undo(
    request: HttpRequest, message: str, address: str, fields: Sequence[tuple[str, str]]
) -> str:
    """Return the sentence and the form as HTML, for ``django.contrib.messages``."""
    context = {"said": message, "address": address, "fields": list(fields)}
    return render_to_string("inferences/_undo.html", context, request)


def sign_undo(request: HttpRequest, about: str, value: Any) -> str:
    """Return a value that ``unsign_undo`` reads for the same person within ``UNDO_SECONDS``."""
    return signing.dumps([request.user.pk, value], salt=about, compress=True)


def unsign_undo(request: HttpRequest, about: str, signed: str) -> Any:
    """Return the signed value; None if it is damaged, too old, or another person's."""
    try:
        person, value = signing.loads(signed, salt=about, max_age=UNDO_SECONDS)
    except signing.BadSignature:
        return None
    return value if person == request.user.pk else None
