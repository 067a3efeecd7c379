"""What the conventions say of one span, gathered: who speaks first about a thing is heard."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

LLM, EMBEDDING, RETRIEVER, RERANKER = "llm", "embedding", "retriever", "reranker"
TOOL, AGENT, CHAIN, GUARDRAIL = "tool", "agent", "chain", "guardrail"
EVALUATOR, SPAN = "evaluator", "span"
KINDS = (
    *(LLM, EMBEDDING, RETRIEVER, RERANKER, TOOL, AGENT, CHAIN, GUARDRAIL),
    *(EVALUATOR, SPAN),
)
# The words of OpenInference, Langfuse, MLflow and OpenLLMetry for a kind.
WORDS = {
    **{kind: kind for kind in KINDS},
    **{"chat_model": LLM, "generation": LLM, "completion": LLM, "chat": LLM},
    **{"workflow": CHAIN, "task": CHAIN, "parser": CHAIN, "memory": CHAIN},
    **{"prompt": CHAIN, "event": SPAN, "unknown": SPAN},
}


@dataclass(slots=True)
class Draft:
    """What was read of a span so far. An empty value is one that nobody has told yet.

    ``request`` and ``answer`` are those of a protocol that is read as it is, such as OpenAI's;
    ``messages`` and ``choices`` are in the form of OpenAI's chat; ``input`` and ``output`` are
    whatever JSON values a function was given and returned.
    """

    kind: str = ""
    model: str = ""
    version: str = ""
    provider: str = ""
    request: dict[str, Any] = field(default_factory=dict)
    answer: dict[str, Any] = field(default_factory=dict)
    messages: list[dict[str, Any]] = field(default_factory=list)
    choices: list[dict[str, Any]] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    tools: list[Any] = field(default_factory=list)
    input: Any = None
    output: Any = None
    texts: list[str] = field(default_factory=list)
    vectors: list[list[float]] = field(default_factory=list)
    query: str = ""
    documents: list[dict[str, Any]] = field(default_factory=list)
    results: list[dict[str, Any]] = field(default_factory=list)
    tool_name: str = ""
    tool_call_id: str = ""
    usage: dict[str, int] = field(default_factory=dict)
    cost: float | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    session: str = ""
    user: str = ""
    request_id: str = ""
    environment: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)
    first_token_at: int | None = None  # nanoseconds since 1970
    is_error: bool = False
    message: str = ""
    conventions: list[str] = field(default_factory=list)

    def offer(self, **values: Any) -> None:
        """Take each value that is not empty, where nothing was told before."""
        for name, value in values.items():
            if value not in (None, "", [], {}) and getattr(self, name) in (
                *(None, "", [], {}),
            ):
                setattr(self, name, value)

    def add_usage(self, **counts: Any) -> None:
        """Take counts of tokens by their names, where they were not told before."""
        for name, count in counts.items():
            if type(count) in (int, float) and 0 <= count < 2**53:
                self.usage.setdefault(name, int(count))

    def add_parameters(self, given: Any) -> None:
        """Take parameters of a model; of a name that is there already the first value stays."""
        if isinstance(given, dict):
            for name, value in given.items():
                is_given = value is not None and value not in BOUNDLESS
                if is_given and name not in NO_PARAMETERS:
                    self.parameters.setdefault(str(name), value)


# What Langfuse writes of ``max_tokens`` where a call had none: no server would take it.
BOUNDLESS = ("Infinity", float("inf"))
# Members of requests that are the prompt, or told elsewhere.
NO_PARAMETERS = frozenset(
    {
        *("messages", "prompt", "input", "inputs", "contents", "system", "tools"),
        *("functions", "model", "instructions", "query", "documents"),
    }
)


def kind_of(word: Any) -> str:
    """Return the kind that a convention's word means; "" for an unknown word."""
    return WORDS.get(word.strip().lower(), "") if isinstance(word, str) else ""
