"""Messages about an action with a button to undo it.

Undo is an ordinary action: a form that posts to the page that does the opposite, with the
roles which that page requires. Without such a page there is no button.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.http import HttpRequest
from django.template.loader import render_to_string


def with_undo(
    request: HttpRequest, message: str, address: str, fields: Sequence[tuple[str, str]]
) -> str:
    """Return the sentence and the form as HTML, for ``django.contrib.messages``."""
    context = {"said": message, "address": address, "fields": list(fields)}
    return render_to_string("inferences/_undo.html", context, request)
