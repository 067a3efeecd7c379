"""Responses about services and sessions, by the module name that ported programs import."""

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
