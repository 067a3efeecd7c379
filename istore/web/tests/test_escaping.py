"""Text in HTML that is written in Python."""

from __future__ import annotations

import pytest
from django.utils.html import escape as escape_by_django
from django.utils.safestring import mark_safe

from istore.web.escaping import escape


@pytest.mark.parametrize(
    "text", ["", "plain é", "<a b='c'>&\"", "a\0b", mark_safe("<i>")]
)
def test_text_is_escaped_as_by_django(text):
    assert escape(text) == escape_by_django(text)
