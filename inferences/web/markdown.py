"""Markdown that a model or a caller wrote, as HTML that is safe in our pages.

markdown-it-py writes the HTML, without any that is in the text, and nh3 then lets through the
elements and attributes that are listed here. A picture is a link: a page never asks another
host for anything by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import nh3
from django.utils.safestring import SafeString
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token

TAGS = {
    *("p", "br", "hr", "strong", "em", "s", "code", "pre", "blockquote", "a"),
    *("ul", "ol", "li", "h3", "h4", "h5", "h6"),
    *("table", "thead", "tbody", "tr", "th", "td"),
}
ATTRIBUTES = {"a": {"href", "title"}, "ol": {"start"}}
SCHEMES = {"http", "https", "mailto"}
# For whoever follows a link: the page that it stood on is nobody's business.
REL = "noopener noreferrer nofollow"
# The headings of a text stand below those of the page.
LEVELS = {"h1": "h3", "h2": "h4", "h3": "h5", "h4": "h6", "h5": "h6"}
NESTED_MOST = 20
LINE_BREAKS = ("softbreak", "hardbreak")


class _Renderer(RendererHTML):
    def image(self, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:
        """Write a picture as a link with its description."""
        token = tokens[idx]
        inner = token.children or []
        text = self.renderInlineAsText(inner, options, env)
        link = Token("link_open", "a", 1, attrs={"href": str(token.attrGet("src"))})
        shown = Token("text", "", 0, content=text or str(token.attrGet("src")))
        parts = [link, shown, Token("link_close", "a", -1)]
        return str(self.renderInline(parts, options, env))

    def heading_open(
        self, tokens: Sequence[Token], idx: int, options: Any, env: Any
    ) -> str:
        return self._heading(tokens, idx, options, env)

    def heading_close(
        self, tokens: Sequence[Token], idx: int, options: Any, env: Any
    ) -> str:
        return self._heading(tokens, idx, options, env)

    def _heading(
        self, tokens: Sequence[Token], idx: int, options: Any, env: Any
    ) -> str:
        tokens[idx].tag = LEVELS.get(tokens[idx].tag, tokens[idx].tag)
        return str(self.renderToken(tokens, idx, options, env))


_MARKDOWN = MarkdownIt(
    "commonmark",
    {"html": False, "breaks": True, "maxNesting": NESTED_MOST},
    renderer_cls=_Renderer,
).enable(["table", "strikethrough"])


def render_markdown(text: str) -> SafeString:
    """Return a text in Markdown as HTML. Line breaks of the text are kept."""
    written = _MARKDOWN.render(text)
    safe = nh3.clean(
        written,
        tags=TAGS,
        attributes=ATTRIBUTES,
        url_schemes=SCHEMES,
        link_rel=REL,
        strip_comments=True,
    )
    return SafeString(safe)


def plain_text(text: str) -> str:
    """Return the words of a text in Markdown on one line, without its marks."""
    words: list[str] = []
    for token in _MARKDOWN.parse(text):
        for each in token.children or ():
            words.append(" " if each.type in LINE_BREAKS else each.content)
        if token.children is None and token.content:
            words.append(token.content)
        words.append(" ")
    return " ".join("".join(words).split())
