"""Error responses of the proxy itself, in the form of the protocol that was called.

A client library turns errors of its server into exceptions by this form, so an error of the
proxy has to look as one of the server's.
"""

from __future__ import annotations

from collections.abc import Callable

import orjson

from proxy.answers import Refused, Send, send_whole

JSON = "application/json"
ErrorForm = Callable[[Refused], tuple[str, bytes]]  # the content type, and the body

# https://platform.openai.com/docs/guides/error-codes
OPENAI_TYPES = {
    401: "invalid_request_error",
    403: "invalid_request_error",
    404: "invalid_request_error",
    429: "rate_limit_exceeded",
}
OPENAI_CODES = {401: "invalid_api_key", 404: "model_not_found"}
# https://docs.claude.com/en/api/errors
ANTHROPIC_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


def in_v2(refused: Refused) -> tuple[str, bytes]:
    """Return ``{"error": message}``: the form of V2, and of KServe V1, Triton and Ollama."""
    return JSON, orjson.dumps({"error": str(refused)})


def in_openai(refused: Refused) -> tuple[str, bytes]:
    """Return the form of OpenAI's APIs: ``{"error": {"message", "type", "param", "code"}}``."""
    kind = "invalid_request_error" if refused.status < 500 else "server_error"
    error = {
        "message": str(refused),
        "type": OPENAI_TYPES.get(refused.status, kind),
        "param": None,
        "code": OPENAI_CODES.get(refused.status, refused.code),
    }
    return JSON, orjson.dumps({"error": error})


def in_anthropic(refused: Refused) -> tuple[str, bytes]:
    """Return the form of Anthropic's API: ``{"type": "error", "error": {"type", "message"}}``."""
    kind = "invalid_request_error" if refused.status < 500 else "api_error"
    kind = ANTHROPIC_TYPES.get(refused.status, kind)
    error = {"type": kind, "message": str(refused)}
    return JSON, orjson.dumps({"type": "error", "error": error})


async def send_refusal(
    send: Send, refused: Refused, form: ErrorForm, *more: tuple[bytes, bytes]
) -> None:
    """Send the response of a ``Refused`` in this form, with these headers besides."""
    content_type, body = form(refused)
    headers = [(b"content-type", content_type.encode()), *refused.headers, *more]
    await send_whole(send, refused.status, headers, body)
