"""Register models, and change how they are served and stored."""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError, transaction

from inferences.models import RegisteredModel
from inferences.store import text_reindexing
from inferences.store.text_indexing import is_searched
from istore.errors import Conflict
from istore.models import AuditEntry, Project

TAKEN = (
    "This id is taken. The project has a model of it with other values: "
    "register yours under another id, or change the settings of that one."
)
# The values that are fixed by the registration; the rest are settings.
IDENTITY = ("project_id", "task_type", "embedding_size")


def register_model(
    actor: object, project: Project, model_id: str, **values: Any
) -> tuple[RegisteredModel, bool]:
    """Return the model, and whether it is new.

    An id is unique within its project. Registering the same model again with the same
    values returns it; other values raise ``Conflict`` ``model-exists``.
    """
    if language := values.get("text_search_language"):
        text_reindexing.check_language(language)
    try:
        with transaction.atomic():
            model = RegisteredModel.objects.create(
                model_id=model_id, project=project, **values
            )
            AuditEntry.write(actor, "model.register", model_id, project)
            return model, True
    except IntegrityError:
        model = RegisteredModel.objects.get(model_id=model_id, project=project)
    if any(getattr(model, name) != value for name, value in values.items()):
        raise Conflict("model-exists", TAKEN)
    return model, False


@transaction.atomic
def change_settings(
    actor: object, model: RegisteredModel, **values: Any
) -> RegisteredModel:
    """Change how the model is served and stored; the change takes effect within a second.

    Where it concerns the search of texts, a task indexes those that are stored anew.
    """
    before = is_searched(model), model.text_search_language
    if language := values.get("text_search_language"):
        text_reindexing.check_language(language)
    for name, value in values.items():
        setattr(model, name, value)
    model.save(update_fields=[*values, "updated_at"])
    AuditEntry.write(actor, "model.change", model.model_id, model.project, **values)
    if before != (is_searched(model), model.text_search_language):
        text_reindexing.start(actor, model)
    return model
