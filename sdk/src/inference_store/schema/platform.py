"""Services and sessions as the store tells of them, by the name that ported programs import."""

from inference_store.schema import (
    InferenceInterface,
    InferenceRunner,
    InferenceService,
    InferenceServiceReference,
    InferenceServiceStatus,
    InferenceSession,
    InferenceSessionAndToken,
    InferenceSessionStatus,
    RunnerKind,
    SchemaAdapter,
    is_status_terminal,
)

__all__ = [
    "InferenceInterface",
    "InferenceRunner",
    "InferenceService",
    "InferenceServiceReference",
    "InferenceServiceStatus",
    "InferenceSession",
    "InferenceSessionAndToken",
    "InferenceSessionStatus",
    "RunnerKind",
    "SchemaAdapter",
    "is_status_terminal",
]
