"""Find the model that a span belongs to; the first span of a model registers it.

A call of a language model, of an embedding model or of a reranker belongs to the model that it
names. All other spans, and calls that name none, belong to ``<service.name>.<kind>``, such as
``shop.retriever``: what an application does under its own name.
"""

from __future__ import annotations

import re

from inferences.models import RegisteredModel, TaskType
from inferences.store.registration import register_model
from istore.errors import Conflict
from istore.models import Project
from istore.outside_ids import is_outside_id
from protocols.otlp.draft import EMBEDDING, LLM, RERANKER, RETRIEVER
from protocols.otlp.readings import Reading

NAMED = (LLM, EMBEDDING, RERANKER)
TASKS = {
    EMBEDDING: TaskType.TEXT_EMBEDDING,
    RETRIEVER: TaskType.RANKING,
    RERANKER: TaskType.RANKING,
}
NEW_MAX = 100  # models that one request may register
SERVICE = "unknown_service"  # of OpenTelemetry, where an application tells no name
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
ID_CHARS = 255


def model_id_of(reading: Reading) -> str:
    """Return the id of the model that a span belongs to."""
    if reading.kind in NAMED and is_outside_id(reading.model):
        return reading.model
    service = CONTROL.sub("-", reading.service) or SERVICE
    ending = f".{reading.kind}"
    return f"{service[: ID_CHARS - len(ending)]}{ending}"


def find_models(
    caller: object, project: Project, firsts: dict[str, Reading], most: int = NEW_MAX
) -> tuple[dict[str, RegisteredModel], int]:
    """Return the models with these ids, and how many of them were registered just now.

    ``firsts`` has a span of each model, which says its task and the size of its embeddings. Of
    models that are new, those beyond ``most`` are left out.
    """
    known = project.models.filter(model_id__in=list(firsts))
    found = {model.model_id: model for model in known}
    new = [model_id for model_id in firsts if model_id not in found][:most]
    for model_id in new:
        found[model_id] = _register(caller, project, model_id, firsts[model_id])
    for model in found.values():
        model.project = project
    return found, len(new)


def _register(
    caller: object, project: Project, model_id: str, first: Reading
) -> RegisteredModel:
    task = TASKS.get(first.kind, TaskType.TEXT_GENERATION)
    size = first.vector_size if first.kind == EMBEDDING else 0
    try:
        model, _ = register_model(
            caller, project, model_id, task_type=task, embedding_size=size
        )
    except Conflict:  # somebody registered it with other values meanwhile
        model = RegisteredModel.objects.get(project=project, model_id=model_id)
    return model
