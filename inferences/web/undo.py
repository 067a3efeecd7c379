"""What was done, said with a button that takes it back.

Taking back is another act like any: a form to the page that does the opposite, with the
roles that page asks for. Where there is no such act, nothing is offered.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.http import HttpRequest
from django.template.loader import render_to_string


def with_undo(
    request: HttpRequest, said: str, address: str, fields: Sequence[tuple[str, str]]
) -> str:
    """The sentence and the form, for ``django.contrib.messages``."""
    context = {"said": said, "address": address, "fields": list(fields)}
    return render_to_string("inferences/_undo.html", context, request)
