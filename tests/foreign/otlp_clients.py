"""Real libraries send the spans of a model's calls to a running store, unchanged but for an address.

openinference-instrumentation-openai, opentelemetry-sdk, langfuse, mlflow-tracing and litellm run
in an environment of their own, each with a language model of the script's own. What they were
asked and answered is compared with what the store has.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from inferences.models import Inference, RegisteredModel
from inferences.store.reading import find_inference
from istore import blobs
from tests.foreign.environments import interpreter, run_inside
from traces.models import Span

PACKAGES = (
    "openai==3.57.0",
    "opentelemetry-sdk==1.45.2",
    "opentelemetry-exporter-otlp-proto-http==1.45.2",
    "openinference-instrumentation-openai==0.1.66",
    "langfuse==5.0.4",
    "mlflow-tracing==3.17.2",
    "litellm==1.110.2",
)
LIBRARIES = ("openinference", "opentelemetry", "langfuse", "mlflow", "litellm")


def send(library: str, store: str, token: str) -> dict[str, Any]:
    """Return what the library's model was asked and answered."""
    python = interpreter("otlp", PACKAGES)
    told = run_inside(python, "send_spans.py", library, store, token)
    found: dict[str, Any] = json.loads(told.splitlines()[-1])
    return found


def stored_spans() -> dict[str, list[dict[str, Any]]]:
    """Return the stored spans by their kinds, each with all that the store has of it."""
    found: dict[str, list[dict[str, Any]]] = {}
    for span in Span.objects.select_related("registered_model").order_by("started_at"):
        model: RegisteredModel = span.registered_model
        inference = find_inference(model, f"{span.trace_hex}-{span.span_hex}")
        assert inference is not None
        found.setdefault(span.kind, []).append(_whole(span, model, inference))
    return found


def _whole(span: Span, model: RegisteredModel, inference: Inference) -> dict[str, Any]:
    payload = inference.payload
    key = payload.data_storage_key
    metadata: Mapping[str, Any] = payload.metadata
    return {
        "span": span,
        "model": model,
        "request": json.loads(blobs.get(key)) if key else None,
        "answer": json.loads(payload.data) if payload.data else None,
        "facts": {name: text for name, (_, text) in metadata.items()},
        "notes": payload.notes,
    }
