"""Tabular classification: the class of a row of features."""

from __future__ import annotations

from inferences.models import TaskType
from inferences.predictions.model_types.base import Classification, Takes
from inferences.predictions.parsers.values import Kind


class TabularClassification(Classification):
    task = TaskType.TABULAR_CLASSIFICATION
    kind = Kind.CLASSIFICATION
    takes = Takes.ROWS
    is_tabular = True
    mocks = ("tabular-classification",)
