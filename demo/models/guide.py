"""A guide to the store: it answers questions with a passage of the store's own documents.

It is no language model: it finds the passage whose words are nearest to the question (tf-idf,
cosine) and quotes it. Asked with a tool named ``search_documents`` it calls that first, and
quotes what the tool returned; so its conversations have the form of an assistant's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics.pairwise import linear_kernel

NAME = "store-guide"
ROOT = Path(__file__).resolve().parent.parent.parent
TOOL = "search_documents"
NEAR = 0.08  # of the cosine; below it no passage is an answer
SHORTEST, LONGEST = 60, 1_500  # characters of a passage
FOUND = 3
HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)
LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")

Message = dict[str, Any]


class BadRequest(ValueError):
    """A request that the guide does not understand."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A section of a document."""

    document: str
    heading: str
    text: str

    def to_json(self) -> dict[str, str]:
        """Return the passage as the tool's result has it."""
        return {"document": self.document, "heading": self.heading, "text": self.text}


class Guide:
    """Finds passages in the documents of this checkout, and answers chats with them."""

    def __init__(self) -> None:
        self.passages = passages()
        self._words = TfidfVectorizer(stop_words="english", sublinear_tf=True)
        texts = [f"{each.heading} {each.heading} {each.text}" for each in self.passages]
        self._matrix = self._words.fit_transform(texts)

    def search(self, question: str, limit: int = FOUND) -> list[Passage]:
        """Return the passages nearest to a question, nearest first; none if none is near."""
        near = linear_kernel(self._words.transform([question]), self._matrix)[0]
        best = near.argsort()[::-1][:limit]
        return [self.passages[place] for place in best if near[place] >= NEAR]

    def answer(self, messages: Sequence[Message], *, has_tool: bool) -> Message:
        """Return the next message of a chat. Raises ``BadRequest`` without a question."""
        if not messages or not isinstance(messages[-1], dict):
            raise BadRequest("'messages' is a list that ends with a question.")
        last = messages[-1]
        if last.get("role") == "tool":
            return _said(_quote(json.loads(last.get("content") or "[]")))
        question = last.get("content")
        if not isinstance(question, str) or not question.strip():
            raise BadRequest("The last message has no text.")
        if has_tool:
            return _call(question, len(messages))
        return _said(_quote([each.to_json() for each in self.search(question)]))


@cache
def passages() -> list[Passage]:
    """Return the sections of the README and of the documents."""
    files = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    return [
        passage
        for file in files
        if file.exists()
        for passage in _sections(file.name, file.read_text())
    ]


def _sections(document: str, text: str) -> list[Passage]:
    pieces = HEADING.split(text)
    found = []
    for heading, body in zip(pieces[1::2], pieces[2::2], strict=True):
        body = LINK.sub(r"\1", body).strip()[:LONGEST]
        if body.count("```") % 2:  # cut within code
            body += "\n```"
        if len(body) >= SHORTEST:
            found.append(Passage(document, heading, body))
    return found


def _quote(found: list[dict[str, str]]) -> str:
    if not found:
        return (
            "The documents say nothing about that. I only quote them: I am a search, "
            "not a language model."
        )
    best, *others = found
    text = f"From **{best['document']}**, *{best['heading']}*:\n\n{best['text']}"
    if others:
        names = "\n".join(f"- {each['document']}: {each['heading']}" for each in others)
        text += f"\n\nSee also:\n\n{names}"
    return text


def _said(text: str) -> Message:
    return {"role": "assistant", "content": text}


def _call(question: str, number: int) -> Message:
    arguments = json.dumps({"question": question, "limit": FOUND})
    function = {"name": TOOL, "arguments": arguments}
    call = {"id": f"call-{number}", "type": "function", "function": function}
    return {"role": "assistant", "content": None, "tool_calls": [call]}
