"""Enums of the store's API. The value of each member is its text on the wire."""

from __future__ import annotations

from enum import Enum


class Word(str, Enum):
    """A string enum: a member equals its text, ``MetadataType.INT == "int"``, and prints as it."""

    __str__ = str.__str__


class TaskType(Word):
    """What a model does."""

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


class InferenceAction(Word):
    """What a model was asked to do."""

    DETECT = "detect"
    EMBED = "embed"
    PREDICT = "predict"
    PREDICT_PROBA = "predict_proba"


class MetadataType(Word):
    """The types of metadata values."""

    FLOAT = "float"
    INT = "int"
    JSON = "json"
    STRING = "string"


class MetadataFilterType(Word):
    """The type that a metadata filter compares; ``json.…`` is a path inside a JSON value."""

    FLOAT = "float"
    INT = "int"
    JSON_FLOAT = "json.float"
    JSON_INT = "json.int"
    JSON_STRING = "json.string"
    STRING = "string"


class MetadataFilterOperator(Word):
    """The operators of metadata filters. ``!=`` matches only inferences that have the key."""

    EQUAL = "="
    GREATER = ">"
    GREATER_OR_EQUAL = ">="
    IN = "in"
    LESS = "<"
    LESS_OR_EQUAL = "<="
    NOT_EQUAL = "!="


class ComparisonOperator(Word):
    """The operators of comparisons in a filter tree: those of metadata filters, and more."""

    EQUAL = "="
    GREATER = ">"
    GREATER_OR_EQUAL = ">="
    IN = "in"
    LESS = "<"
    LESS_OR_EQUAL = "<="
    NOT_EQUAL = "!="
    NOT_IN = "not in"
    CONTAINS = "contains"
    STARTS_WITH = "starts with"


class MetadataStatisticsType(Word):
    """The types of metadata that have statistics; ``number`` is int and float combined."""

    FLOAT = "float"
    INT = "int"
    NUMBER = "number"
    STRING = "string"


class EmbeddingDistanceMetric(Word):
    """The distance between two embeddings; a smaller value is always nearer."""

    COSINE = "cosine"
    L2 = "l2"
    NEGATIVE_DOT_PRODUCT = "negative_dot_product"


class PaginationSortDirection(Word):
    """Ascending or descending order."""

    ASCENDING = "asc"
    DESCENDING = "desc"


class PaginationSortField(Word):
    """Sort orders of any request."""

    CREATED_AT = "created_at"


class PaginationEmbeddingSortField(Word):
    """Sort orders of a request with an embedding filter."""

    CREATED_AT = "created_at"
    EMBEDDING_DISTANCE = "embedding_distance"


class PaginationGranularInferenceSortField(Word):
    """Sort orders by the best detection of an inference that matches the filter."""

    CREATED_AT = "created_at"
    LABEL = "label"
    SCORE = "score"


class DeleteAction(Word):
    """What retention does with old records: soft deletion, or permanent removal."""

    HARD = "hard"
    SOFT = "soft"


class ExportTaskState(Word):
    """The state of an export task."""

    COMPLETE = "complete"
    FAILED = "failed"
    PENDING = "pending"
    RUNNING = "running"
    SCHEDULED = "scheduled"
    STOPPED = "stopped"


class RetentionTaskState(Word):
    """The state of a retention task."""

    COMPLETE = "complete"
    FAILED = "failed"
    PENDING = "pending"
    RUNNING = "running"
    SCHEDULED = "scheduled"
    STOPPED = "stopped"
