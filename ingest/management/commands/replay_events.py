from __future__ import annotations

from argparse import ArgumentParser
from contextlib import closing
from typing import Any

import redis
from django.core.management.base import BaseCommand, CommandError
from django.db.models import Count, Max, Min, QuerySet

from ingest.models import SetAsideEvent
from ingest.refusals import Reason
from ingest.replaying import replay
from ingest.stream import EventStream


class Command(BaseCommand):
    help = "Publish again events that were set aside; without options, list them."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--reason", choices=[str(reason) for reason in Reason])
        parser.add_argument("--model", metavar="MODEL_ID")
        parser.add_argument("--all", action="store_true", help="whatever the reason")

    def handle(
        self, *, reason: str | None, model: str | None, all: bool, **options: Any
    ) -> str:
        waiting = SetAsideEvent.objects.filter(replayed_at=None)
        if not (reason or model or all):
            return _listed(waiting)
        if reason:
            waiting = waiting.filter(reason=reason)
        if model:
            waiting = waiting.filter(model_id=model)
        with closing(EventStream()) as stream:
            try:
                done = replay(waiting, stream)
            except redis.RedisError as error:
                raise CommandError(f"The stream does not answer: {error}") from None
        left = f"; {done.unreadable} cannot be read" if done.unreadable else ""
        return f"{done.published} events published again{left}."


def _listed(waiting: QuerySet[SetAsideEvent]) -> str:
    groups = (
        waiting.order_by("reason", "model_id")
        .values_list("reason", "model_id")
        .annotate(Count("pk"), Min("set_aside_at"), Max("set_aside_at"))
    )
    lines = [
        f"{count:>8}  {reason:<20} {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M}  "
        f"{model_id or '(no model)'}"
        for reason, model_id, count, first, last in groups
    ]
    return "\n".join(lines) or "No event is set aside."
