"""The model types. A type is one module with a subclass of ``ModelType``, listed here."""

from __future__ import annotations

from typing import Any

from inferences.predictions.model_types.base import ModelType
from inferences.predictions.model_types.image_classification import ImageClassification
from inferences.predictions.model_types.image_embedding import ImageEmbedding
from inferences.predictions.model_types.image_segmentation import ImageSegmentation
from inferences.predictions.model_types.multi_output import MultiOutput
from inferences.predictions.model_types.named_entities import NamedEntities
from inferences.predictions.model_types.object_detection import ObjectDetection
from inferences.predictions.model_types.oriented_object_detection import (
    OrientedObjectDetection,
)
from inferences.predictions.model_types.ranking import Ranking
from inferences.predictions.model_types.tabular_classification import (
    TabularClassification,
)
from inferences.predictions.model_types.tabular_regression import TabularRegression
from inferences.predictions.model_types.text_classification import TextClassification
from inferences.predictions.model_types.text_embedding import TextEmbedding
from inferences.predictions.model_types.text_generation import TextGeneration
from inferences.predictions.model_types.time_series import TimeSeries
from inferences.predictions.parsers.values import Content, Kind

# The order is that in which the parts of a collection are read.
MODEL_TYPES: tuple[ModelType[Any], ...] = (
    ObjectDetection(),
    OrientedObjectDetection(),
    ImageClassification(),
    ImageSegmentation(),
    TabularClassification(),
    TextClassification(),
    NamedEntities(),
    Ranking(),
    TabularRegression(),
    MultiOutput(),
    TimeSeries(),
    TextGeneration(),
    ImageEmbedding(),
    TextEmbedding(),
)
UNKNOWN: ModelType[Any] = ModelType()

_BY_TASK = {str(each.task): each for each in MODEL_TYPES}
_BY_CONTENT = {each.content: each for each in MODEL_TYPES if each.content}
# Where several types have the same part of a create, the first stands for it.
BY_KIND: dict[Kind, ModelType[Any]] = {}
for _each in MODEL_TYPES:
    BY_KIND.setdefault(_each.kind, _each)

# Parts that may stand beside the answer of any type.
BESIDE = ("embeddings", "inputs", "shap_values")
# Parts of a create that are lists of items, each of which is one label.
LISTED = tuple(kind for kind in BY_KIND if kind.has_labels)
PARTS = (*map(str, BY_KIND), *BESIDE)


def type_of(task_type: str) -> ModelType[Any]:
    """Return the model type of a task; ``UNKNOWN`` for a task that is not known."""
    return _BY_TASK.get(task_type, UNKNOWN)


def type_of_kind(kind: Kind) -> ModelType[Any]:
    """Return the model type whose answers are of this kind, or ``UNKNOWN``."""
    return BY_KIND.get(kind, UNKNOWN)


def type_of_content(content: Content | None) -> ModelType[Any]:
    """Return the model type that describes this content, or ``UNKNOWN`` if there is none."""
    return _BY_CONTENT.get(type(content), UNKNOWN)
