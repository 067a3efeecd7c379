"""Ranking: items in an order, the best first. Each item is a label."""

from __future__ import annotations

from inferences.models import TaskType
from inferences.predictions.model_types.base import SCORES, Column, ModelType
from inferences.predictions.parsers import rankings
from inferences.predictions.parsers.values import Content, Kind


class Ranking(ModelType[Content]):
    task = TaskType.RANKING
    kind = Kind.RANKING
    has_prompt = True
    reader = staticmethod(rankings.read)
    forms = ("relevance",)
    columns = (Column("ranking", "[str]", "the items, the best first"), SCORES)
    item = "item"
    title = "Ranking"
