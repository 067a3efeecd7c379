"""The features of a model whose inputs are rows of a table: their names, and how much they count.

Named inputs and SHAP values are members of the collection with which a record was stored
(``inputs``, ``shap_values``). The names are not kept anywhere else, so the newest ``SAMPLE``
records tell which there are, and the mean of |SHAP| over them orders the features.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from inferences.models import Inference, InferencePayload, RegisteredModel
from inferences.predictions.model_types import type_of
from inferences.web.view_models.inputs import Look
from istore import best_effort_cache

SAMPLE = 500
ANSWER_BYTES = 64 * 1024
FEATURES_MOST = 500
KEPT_SECONDS = 300  # of a full sample; a smaller one is read again, as it costs little
INPUTS, SHAP_VALUES = "inputs", "shap_values"


@dataclass(frozen=True, slots=True)
class Feature:
    """A feature: whether records have it as an input, and the mean of |SHAP| if they have that."""

    name: str
    is_input: bool
    importance: float | None = None


@dataclass(frozen=True, slots=True)
class Features:
    """The features, the most important first, of the ``sampled`` newest records.

    ``most`` is the largest |SHAP| among them, which is the length of a full bar.
    """

    features: list[Feature] = field(default_factory=list)
    sampled: int = 0
    most: float = 0.0

    @property
    def has_shap(self) -> bool:
        return any(each.importance is not None for each in self.features)


@dataclass(frozen=True, slots=True)
class NamedValues:
    """The named values of one record: inputs as they are shown, SHAP values as numbers."""

    inputs: dict[str, str]
    shap: dict[str, float]


def is_tabular(model: RegisteredModel) -> bool:
    """Return whether the inputs of the model are rows of named features."""
    return type_of(model.task_type).is_tabular


def features_of(model: RegisteredModel) -> Features:
    """Return the features of the newest records; none for models of other types."""
    if not is_tabular(model):
        return Features()
    key = f"features:{model.pk}"
    if known := best_effort_cache.recall(key):
        return Features([Feature(*each) for each in known[0]], *known[1:])
    found = rank_features(_answers(model))
    if found.sampled == SAMPLE:
        plain = [(each.name, each.is_input, each.importance) for each in found.features]
        best_effort_cache.remember(
            key, (plain, found.sampled, found.most), KEPT_SECONDS
        )
    return found


def _answers(model: RegisteredModel) -> list[str]:
    newest = model.inferences.live().newest_first().values_list("id", flat=True)
    rows = InferencePayload.objects.beside(model).filter(id__in=list(newest[:SAMPLE]))
    answers = rows.extra(where=[f"octet_length(data) <= {ANSWER_BYTES}"])
    return list(answers.values_list("data", flat=True))


def rank_features(answers: Sequence[str]) -> Features:
    """Return the features that answers name, by the mean of |SHAP|; others as they come."""
    totals: dict[str, float] = {}
    inputs: dict[str, None] = {}
    most = 0.0
    for text in answers:
        collection = _collection(text)
        inputs |= dict.fromkeys(_object(collection, INPUTS))
        for name, value in _numbers(_object(collection, SHAP_VALUES)):
            totals[name] = totals.get(name, 0.0) + abs(value)
            most = max(most, abs(value))
    count = len(answers) or 1
    names = [
        *sorted(totals, key=lambda name: -totals[name]),
        *(name for name in inputs if name not in totals),
    ]
    features = [
        Feature(name, name in inputs, totals[name] / count if name in totals else None)
        for name in names[:FEATURES_MOST]
    ]
    return Features(features, len(answers), most)


def named_values(inference: Inference, look: Look) -> NamedValues:
    """Return the named inputs and SHAP values of a record.

    Inputs that were sent to the proxy lie in a file; a page has read the first of them.
    """
    collection = _collection(inference.payload.data)
    given = _object(collection, INPUTS)
    inputs = {name: _show(value) for name, value in given.items()}
    shap = dict(_numbers(_object(collection, SHAP_VALUES)))
    return NamedValues(inputs or dict(look.values), shap)


def _collection(text: str) -> Any:
    if not text.startswith("{") or not any(
        f'"{part}"' in text for part in (INPUTS, SHAP_VALUES)
    ):
        return None
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def _object(collection: Any, part: str) -> dict[str, Any]:
    found = collection.get(part) if isinstance(collection, dict) else None
    return found if isinstance(found, dict) else {}


def _numbers(values: dict[str, Any]) -> Iterable[tuple[str, float]]:
    return (
        (name, float(value))
        for name, value in values.items()
        if type(value) in (int, float)
    )


def _show(value: Any) -> str:
    if isinstance(value, str):
        return value
    if type(value) is float:
        return f"{value:.6g}"
    return orjson.dumps(value).decode()
