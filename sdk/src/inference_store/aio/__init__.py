"""The client for asyncio: the modules of ``inference_store``, with functions to await.

from inference_store.aio import connect, inference
connect()
total = await inference.count_inferences("harbour-detector", models.NewGetInferencesRequest())
"""

from inference_store import errors, models
from inference_store.aio import (
    dataset,
    deleted,
    erasure,
    export_schedule,
    export_task,
    ground_truth,
    inference,
    lake,
    metadata,
    protection,
    quality,
    register,
    retention_policy,
    retention_task,
    traces,
    upload,
)
from inference_store.aio.client import AsyncClient, connect, get_model
from inference_store.serving import AsyncModel

__all__ = [
    "AsyncClient",
    "AsyncModel",
    "connect",
    "dataset",
    "deleted",
    "erasure",
    "errors",
    "export_schedule",
    "export_task",
    "get_model",
    "ground_truth",
    "inference",
    "lake",
    "metadata",
    "models",
    "protection",
    "quality",
    "register",
    "retention_policy",
    "retention_task",
    "traces",
    "upload",
]
