"""What people ask the guide: sessions of some turns, with and without a tool, and two failures.

The answers within a conversation are the guide's own, so that a turn follows from the one before.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID

from demo.models.guide import NAME, TOOL, Guide, Message
from demo.traffic import Call

MODEL: dict[str, Any] = {
    "model_id": NAME,
    "task_type": "Text Generation",
    "keep_failures": True,
}
SYSTEM = "You help operators of the Inference Store. Quote its documents."
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": TOOL,
            "description": "Find passages in the documents of the store.",
            "parameters": {
                "type": "object",
                "properties": {
                    "question": {"type": "string"},
                    "limit": {"type": "integer"},
                },
                "required": ["question"],
            },
        },
    }
]
# Sessions: who asks, and what, one question after the other.
SESSIONS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "maria",
        (
            "How do I delete old inputs but keep the records?",
            "Is there a dry run of a retention policy?",
            "How is an erasure proven?",
        ),
    ),
    (
        "jonas",
        (
            "Which export formats can I train a detector with?",
            "How do I export COCO annotations?",
        ),
    ),
    ("aiko", ("How do I send ground truth that comes late?", "What does agrees mean?")),
    (
        "maria",
        ("How do I record an application that uses OpenAI?", "Where does the key go?"),
    ),
    ("sven", ("Wie finde ich ähnliche Bilder? 🔎", "similarity search by embedding")),
    ("noor", ("كيف أبحث عن كلمة؟", "How do I search prompts for a phrase?")),
    ("jonas", ("What happens when the database is away?",)),
    ("lena", ("Who won the football match yesterday?",)),
)


def calls(run: UUID) -> Iterator[Call]:
    """Yield the calls of all sessions; ``run`` goes into their names."""
    guide = Guide()
    for number, (person, questions) in enumerate(SESSIONS):
        session = f"{person}-{run.hex[:6]}-{number}"
        messages: list[Message] = [{"role": "system", "content": SYSTEM}]
        for question in questions:
            messages.append({"role": "user", "content": question})
            uses_tool = number % 2 == 0
            if uses_tool:
                yield _call(messages, person, session, tools=True)
                messages += _searched(guide, messages, question)
            yield _call(messages, person, session, tools=uses_tool, stream=number > 3)
            messages.append(guide.answer(messages, has_tool=False))
    for content in (" ", None):
        yield _call([{"role": "user", "content": content}], "lena", "lena-empty")


def _searched(guide: Guide, messages: list[Message], question: str) -> list[Message]:
    """Return the guide's tool call and what the tool of the application says to it."""
    asked = guide.answer(messages, has_tool=True)
    found = json.dumps([each.to_json() for each in guide.search(question)])
    call_id = asked["tool_calls"][0]["id"]
    return [asked, {"role": "tool", "tool_call_id": call_id, "content": found}]


def _call(
    messages: list[Message],
    person: str,
    session: str,
    *,
    tools: bool = False,
    stream: bool = False,
) -> Call:
    body: dict[str, Any] = {"model": NAME, "messages": messages, "temperature": 0}
    if tools:
        body["tools"] = TOOLS
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    headers = {
        "Content-Type": "application/json",
        "Inference-User": person,
        "Inference-Session": session,
    }
    path = f"/models/{NAME}/v1/chat/completions"
    return Call(NAME, json.dumps(body).encode(), headers, 1, path, is_refusable=True)
