"""Which model a command is about: its id, and its project where the id alone is not enough."""

from __future__ import annotations

from argparse import ArgumentParser

from django.core.management.base import CommandError

from inferences.models import RegisteredModel
from istore.models import Project

PROJECT_HELP = "the model's project; needed when several have a model of this id"


def add_model_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("model_id")
    add_project_argument(parser)


def add_project_argument(parser: ArgumentParser) -> None:
    parser.add_argument("--project", metavar="PROJECT_ID", help=PROJECT_HELP)


def named_project(project_id: str) -> Project:
    found = Project.objects.filter(project_id=project_id).first()
    if found is None:
        raise CommandError(f"There is no project {project_id!r}.")
    return found


def named_model(model_id: str, project_id: str | None) -> RegisteredModel:
    """The one model that is meant; CommandError when there is none, or several."""
    models = RegisteredModel.objects.filter(model_id=model_id)
    where = ""
    if project_id is not None:
        models = models.filter(project=named_project(project_id))
        where = f" in project {project_id!r}"
    found = list(models.select_related("project"))
    if not found:
        raise CommandError(f"There is no registered model {model_id!r}{where}.")
    if len(found) > 1:
        raise several_projects(model_id, [model.project.project_id for model in found])
    return found[0]


def several_projects(model_id: str, project_ids: list[str]) -> CommandError:
    projects = ", ".join(sorted(project_ids))
    return CommandError(
        f"Several projects have a model {model_id!r}: {projects}. Say --project."
    )
