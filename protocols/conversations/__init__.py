"""Conversations with language models, read from the requests and answers of their protocols.

``read_conversation`` takes the parsed JSON of a request and of its answer, in any of these forms:

- OpenAI's chat completions, completions and responses; Anthropic's messages; Gemini's
  ``generateContent``; Ollama's chat and generate;
- the pipelines of Hugging Face, Triton's ``generate``, KServe's V1 predictions, and V2 tensors of
  texts;
- ``{"messages": […]}``, in which spans of OpenTelemetry are kept, and plain prompts.

No JSON makes it raise. Time and memory are linear in what it is given. Texts are as they came:
neither cut nor trimmed; only halves of surrogate pairs, which are no characters, become U+FFFD.
"""

from protocols.conversations.conversation import (
    Conversation,
    Part,
    PartKind,
    Turn,
    Usage,
)
from protocols.conversations.reading import read_conversation
from protocols.conversations.requests import prompt_name
from protocols.conversations.writing import (
    answer_text,
    prompt_text,
    to_messages,
    turn_text,
)

__all__ = [
    "Conversation",
    "Part",
    "PartKind",
    "Turn",
    "Usage",
    "answer_text",
    "prompt_name",
    "prompt_text",
    "read_conversation",
    "to_messages",
    "turn_text",
]
