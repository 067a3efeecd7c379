"""Facts in whole answers of language models, in the formats of several vendors."""

from __future__ import annotations

from typing import Any

Facts = dict[str, str | int | float]

# Our names, and the members in which OpenAI, Anthropic, Ollama and Gemini report them.
USAGE = {
    "prompt_tokens": (
        *("prompt_tokens", "input_tokens", "prompt_eval_count", "promptTokenCount"),
    ),
    "completion_tokens": (
        *("completion_tokens", "output_tokens", "eval_count", "candidatesTokenCount"),
    ),
    "total_tokens": ("total_tokens", "totalTokenCount"),
}
MODELS = ("model", "modelVersion")
REASONS = ("finish_reason", "stop_reason", "done_reason", "finishReason")


FACTS = frozenset({*USAGE, "model_version", "finish_reason"})


def facts_of(answer: Any) -> Facts:
    """Return the model, the finish reason, and the token counts, as far as the answer has them."""
    facts: Facts = {}
    if not isinstance(answer, dict):
        return facts
    models = [each for n in MODELS if isinstance(each := answer.get(n), str) and each]
    if models:
        facts["model_version"] = models[0]
    usage = answer.get("usage", answer.get("usageMetadata"))
    for name, words in USAGE.items():
        for source in (usage, answer):
            counts = source if isinstance(source, dict) else {}
            known = [counts[w] for w in words if _is_count(counts.get(w))]
            if known:
                facts[name] = known[0]
                break
    choices = answer.get("choices", answer.get("candidates"))
    holders = [answer, *(choices if isinstance(choices, list) else ())]
    reasons = [
        holder[word]
        for holder in holders
        for word in REASONS
        if isinstance(holder, dict) and isinstance(holder.get(word), str)
    ]
    if reasons:
        facts["finish_reason"] = ", ".join(dict.fromkeys(filter(None, reasons)))
    return {name: value for name, value in facts.items() if value != ""}


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63
