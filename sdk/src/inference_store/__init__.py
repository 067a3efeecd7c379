"""Client of the Inference Store: call models, store their inferences, and find them again.

from inference_store import connect, inference, models
connect()  # ISTORE_URL, ISTORE_TOKEN
inference.count_inferences("harbour-detector", models.NewGetInferencesRequest())
"""

from inference_store import (
    dataset,
    deleted,
    erasure,
    errors,
    export_schedule,
    export_task,
    ground_truth,
    inference,
    lake,
    metadata,
    models,
    protection,
    quality,
    register,
    retention_policy,
    retention_task,
    traces,
    upload,
)
from inference_store.client import Client, connect, get_model
from inference_store.errors import InferenceStoreError
from inference_store.frames import to_pandas
from inference_store.model_calls import Answer
from inference_store.retries import Retries
from inference_store.serving import Model
from inference_store.version import __version__

__all__ = [
    "Answer",
    "Client",
    "InferenceStoreError",
    "Model",
    "Retries",
    "__version__",
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
    "to_pandas",
    "traces",
    "upload",
]
