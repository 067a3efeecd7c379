"""MLflow's attributes, each of which is JSON in a text.

https://mlflow.org/docs/latest/genai/tracing/
"""

from __future__ import annotations

from typing import Any

from protocols.otlp.chat import is_answer, is_request, messages_of
from protocols.otlp.draft import EMBEDDING, LLM, RETRIEVER, Draft, kind_of
from protocols.otlp.spans import Span
from protocols.otlp.values import list_in, load, number_in, object_in, text_in

BEGINNING = "mlflow."
OWN = (
    *("mlflow.spanType", "mlflow.spanInputs", "mlflow.spanOutputs"),
    *("mlflow.chat.", "mlflow.llm.", "mlflow.trace."),
)


def read(span: Span, draft: Draft) -> bool:
    """Add what the span says; return whether it says anything by this convention."""
    given = {
        name: _json(value)
        for name, value in span.attributes.items()
        if name.startswith(BEGINNING)
    }
    if not given:
        return False
    asked, said = given.get("mlflow.spanInputs"), given.get("mlflow.spanOutputs")
    kind = kind_of(given.get("mlflow.spanType"))
    cost = given.get("mlflow.llm.cost")
    draft.offer(
        kind=kind,
        model=text_in(_asked_model(kind, asked) or given.get("mlflow.llm.model")),
        version=text_in(given.get("mlflow.llm.model")),
        provider=text_in(given.get("mlflow.llm.provider")),
        tools=list_in(given.get("mlflow.chat.tools")),
        session=text_in(given.get("mlflow.trace.session")),
        user=text_in(given.get("mlflow.trace.user")),
        cost=number_in(cost.get("total_cost") if isinstance(cost, dict) else cost),
    )
    if kind in (LLM, EMBEDDING):
        draft.offer(
            request=asked if is_request(asked) else {},
            answer=said if is_answer(said) else {},
            messages=messages_of(asked),
        )
        if isinstance(asked, dict):
            draft.add_parameters(asked)
    if kind == RETRIEVER and isinstance(said, list):
        draft.offer(results=[_document(e) for e in said if isinstance(e, dict)])
    draft.offer(input=asked, output=said)
    usage = object_in(given.get("mlflow.chat.tokenUsage"))
    draft.add_usage(
        prompt_tokens=usage.get("input_tokens"),
        completion_tokens=usage.get("output_tokens"),
        total_tokens=usage.get("total_tokens"),
        cached_tokens=usage.get("cache_read_input_tokens"),
    )
    return True


def _asked_model(kind: str, asked: Any) -> Any:
    """Return the model that the request names; beside it MLflow notes the answer's."""
    is_call = kind in (LLM, EMBEDDING) and isinstance(asked, dict)
    return asked.get("model") if is_call else None


def _json(value: Any) -> Any:
    """Return the value of a text that is JSON, whatever it is, or the value itself."""
    try:
        return load(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _document(given: dict[str, Any]) -> dict[str, Any]:
    """Return a document of LangChain's form, which MLflow writes."""
    metadata = given.get("metadata")
    score = metadata.get("score") if isinstance(metadata, dict) else None
    document = {
        "id": given.get("id"),
        "text": given.get("page_content"),
        "score": number_in(score),
        "metadata": metadata,
    }
    return {name: value for name, value in document.items() if value is not None}
