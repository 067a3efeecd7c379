"""The choices of models and inferences: task types, box formats, actions, kinds of metadata."""

from __future__ import annotations

from django.db import models


class TaskType(models.TextChoices):
    """The kind of question that a model answers."""

    IMAGE_CLASSIFICATION = "Image Classification"
    IMAGE_EMBEDDING = "Image Embedding"
    IMAGE_SEGMENTATION = "Image Segmentation"
    OBJECT_DETECTION = "Object Detection"
    ORIENTED_OBJECT_DETECTION = "Oriented Object Detection"
    TEXT_EMBEDDING = "Text Embedding"
    TABULAR_CLASSIFICATION = "Tabular Classification"
    TABULAR_REGRESSION = "Tabular Regression"
    TEXT_GENERATION = "Text Generation"
    TEXT_CLASSIFICATION = "Text Classification"
    NAMED_ENTITIES = "Named Entity Recognition"
    RANKING = "Ranking"
    MULTI_OUTPUT = "Multi-Output"
    TIME_SERIES = "Time Series"


# Task types whose answer is one class; the other classes are its distribution.
ONE_CLASS = frozenset(
    {
        TaskType.IMAGE_CLASSIFICATION,
        TaskType.TEXT_CLASSIFICATION,
        TaskType.TABULAR_CLASSIFICATION,
    }
)


# Task types of models that are called by the APIs of text models, such as OpenAI's.
OF_TEXT_APIS = frozenset(
    {TaskType.TEXT_GENERATION, TaskType.TEXT_EMBEDDING, TaskType.RANKING}
)


class BoxFormat(models.TextChoices):
    """The order of a box's four numbers in the model's answers."""

    YXYX = "yxyx", "ymin, xmin, ymax, xmax in pixels"
    XYXY = "xyxy", "xmin, ymin, xmax, ymax in pixels"
    XYWH = "xywh", "xmin, ymin, width, height in pixels"
    YXYX_NORMALISED = "yxyx_normalised", "ymin, xmin, ymax, xmax as shares"
    XYXY_NORMALISED = "xyxy_normalised", "xmin, ymin, xmax, ymax as shares"
    XYWH_NORMALISED = "xywh_normalised", "xmin, ymin, width, height as shares"


class InferenceAction(models.IntegerChoices):
    """The action of an inference: the row holds the number, the API uses the label."""

    DETECT = 1, "detect"
    EMBED = 2, "embed"
    PREDICT = 3, "predict"
    PREDICT_PROBA = 4, "predict_proba"


class MetadataType(models.TextChoices):
    """The type that a metadata value was given with."""

    STRING = "string"
    INT = "int"
    FLOAT = "float"
    JSON = "json"


class MetadataKind(models.TextChoices):
    """The type that the values of a key are compared as. JSON has a kind for each type of leaf."""

    STRING = "string"
    INT = "int"
    FLOAT = "float"
    JSON_STRING = "json.string"
    JSON_NUMBER = "json.number"
