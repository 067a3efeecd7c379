from __future__ import annotations

from argparse import ArgumentParser
from contextlib import closing
from typing import Any

import redis
from django.core.management.base import BaseCommand, CommandError
from django.db.models import Count, Max, Min

from inferences.management.naming import (
    add_project_argument,
    named_project,
    several_projects,
)
from ingest.errors import Reason
from ingest.models import DeadLetter, DeadLetterQuerySet
from ingest.replaying import replay
from ingest.stream import EventStream
from istore.models import Project

KEY_DIGITS = 18  # of a number in a storage key


class Command(BaseCommand):
    help = "Publish again events that were set aside; without options, list them."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--reason", choices=[str(reason) for reason in Reason])
        parser.add_argument("--model", metavar="MODEL_ID")
        add_project_argument(parser)
        parser.add_argument("--all", action="store_true", help="whatever the reason")

    def handle(
        self,
        *,
        reason: str | None,
        model: str | None,
        project: str | None,
        all: bool,
        **options: Any,
    ) -> str:
        waiting = DeadLetter.objects.filter(replayed_at=None)
        if project:
            waiting = waiting.of_project(named_project(project))
        if not (reason or model or all):
            return _list(waiting)
        if reason:
            waiting = waiting.filter(reason=reason)
        if model:
            waiting = waiting.filter(model_id=model)
            if len(owners := _owners(waiting)) > 1:
                raise several_projects(model, owners)
        with closing(EventStream()) as stream:
            try:
                done = replay(waiting, stream)
            except redis.RedisError as error:
                raise CommandError(f"The stream does not answer: {error}") from None
        left = f"; {done.unreadable} cannot be read" if done.unreadable else ""
        return f"{done.published} events published again{left}."


def _owners(waiting: DeadLetterQuerySet) -> list[str]:
    """The projects whose prefix the keys of these events have."""
    keys = waiting.with_project_key().values_list("project_key", flat=True)
    return list(_names_of(set(keys)).values())


def _names_of(keys: set[str]) -> dict[str, str]:
    numbers = [int(key) for key in keys if key.isdecimal() and len(key) <= KEY_DIGITS]
    return {str(p.pk): p.project_id for p in Project.objects.filter(pk__in=numbers)}


def _list(waiting: DeadLetterQuerySet) -> str:
    groups = list(
        waiting.with_project_key()
        .order_by("reason", "model_id", "project_key")
        .values_list("reason", "model_id", "project_key")
        .annotate(Count("pk"), Min("set_aside_at"), Max("set_aside_at"))
    )
    projects = _names_of({group[2] for group in groups})
    lines = [
        f"{count:>8}  {reason:<20} {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M}  "
        f"{model_id or '(no model)'}"
        f"{f' ({projects[key]})' if key in projects else ''}"
        for reason, model_id, key, count, first, last in groups
    ]
    return "\n".join(lines) or "No event is set aside."
