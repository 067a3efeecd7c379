"""Clients of OpenAI's package that call a model through the proxy, which records each call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inference_store.requests import segment
from inference_store.serving import Model

if TYPE_CHECKING:
    from inference_store.serving import AsyncModel

MISSING = "Install the client of OpenAI: pip install 'inference-store[openai]'."


def arguments_of(
    model: Model | AsyncModel, token: str | None, api_key: str | None
) -> dict[str, Any]:
    """Return address and key: the token of the store, and behind it that of the model server."""
    key = token or ""
    return {
        "base_url": f"{model.proxy_url}/models/{segment(model.model_id)}/v1",
        "api_key": f"{key}:{api_key}" if api_key else key,
    }


def load() -> Any:
    """Return OpenAI's package. Raises ``ImportError`` that says how to install it."""
    try:
        import openai
    except ImportError as error:
        raise ImportError(MISSING) from error
    return openai
