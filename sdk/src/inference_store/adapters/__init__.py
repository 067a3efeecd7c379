"""Adapters: small steps that turn the JSON of one side into that of the other.

    pipeline = create_pipeline([
        {"kind": "Rename", "configuration": {"prompt": "text"}},
        {"kind": "Select", "configuration": {"fields": ["text"]}},
    ])
    list(pipeline([{"prompt": "A ship", "user": 3}]))  # [{"text": "A ship"}]

An interface of a service describes its pipelines this way. Descriptions and items may be
anything: what cannot be done is an ``AdapterError`` that names the step, and nothing in
either is ever run as code.
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
