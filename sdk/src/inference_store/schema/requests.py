"""What is sent to make sessions and tokens, by the name that ported programs import."""

from inference_store.schema import (
    InferenceSessionCreateRequest,
    InferenceSessionTokenCreateRequest,
)

__all__ = ["InferenceSessionCreateRequest", "InferenceSessionTokenCreateRequest"]
