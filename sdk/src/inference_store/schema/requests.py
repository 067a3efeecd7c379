"""Requests for sessions and tokens, by the module name that ported programs import."""

from inference_store.schema import (
    InferenceSessionCreateRequest,
    InferenceSessionTokenCreateRequest,
)

__all__ = ["InferenceSessionCreateRequest", "InferenceSessionTokenCreateRequest"]
