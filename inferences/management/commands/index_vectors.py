from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from inferences.management.naming import named_model, named_project
from inferences.models import RegisteredModel
from inferences.search.vectors import indexing, moving


class Command(BaseCommand):
    help = "Move recent vectors to where the index is, and make the indexes that pay."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--model", help="the id of one model; else all of them")
        parser.add_argument(
            "--project", metavar="PROJECT_ID", help="models of this project alone"
        )

    def handle(self, *, model: str | None, project: str | None, **options: Any) -> str:
        models = RegisteredModel.objects.filter(embedding_size__gt=0)
        if model is not None:
            models = models.filter(pk=named_model(model, project).pk)
            if not models:
                raise CommandError(f"There is no model {model!r} with embeddings.")
        elif project is not None:
            models = models.filter(project=named_project(project))
        models = models.select_related("project")
        return "\n".join(self._tended(each) for each in models)

    def _tended(self, model: RegisteredModel) -> str:
        moved = moving.tend(model)
        state = "indexed" if indexing.is_indexed(model) else "not indexed"
        return f"{model.full_name}: {moved} vectors moved, {indexing.count(model)} {state}."
