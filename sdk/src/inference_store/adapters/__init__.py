"""Adapters: small steps that transform JSON between a caller's form and a service's.

    pipeline = create_pipeline([
        {"kind": "Rename", "configuration": {"prompt": "text"}},
        {"kind": "Select", "configuration": {"fields": ["text"]}},
    ])
    list(pipeline([{"prompt": "A ship", "user": 3}]))  # [{"text": "A ship"}]

The interface of a service describes its pipelines this way. Descriptions and items are
untrusted: whatever cannot be done raises an ``AdapterError`` that names the step, and
nothing in them is ever executed as code.
"""

from inference_store.adapters.base import Adapter
from inference_store.adapters.errors import AdapterError
from inference_store.adapters.fields import Drop, Rename, Select
from inference_store.adapters.nesting import ExplodeCollections, FlattenHierarchy
from inference_store.adapters.pipelines import (
    Map,
    Pipeline,
    create_adapter,
    create_pipeline,
)
from inference_store.adapters.transforming import TransformJSON

__all__ = [
    "Adapter",
    "AdapterError",
    "Drop",
    "ExplodeCollections",
    "FlattenHierarchy",
    "Map",
    "Pipeline",
    "Rename",
    "Select",
    "TransformJSON",
    "create_adapter",
    "create_pipeline",
]
