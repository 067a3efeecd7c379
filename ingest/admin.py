"""Admin pages of dead letters: read why they were set aside, and publish them again."""

from __future__ import annotations

from contextlib import closing

import redis
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from ingest.models import DeadLetter
from ingest.replaying import replay
from ingest.stream import EventStream
from istore.admin import ReadOnlyAdmin

SHOWN_BYTES = 20_000


@admin.register(DeadLetter)
class DeadLetterAdmin(ReadOnlyAdmin):
    list_display = ["set_aside_at", "reason", "model_id", "inference_id", "replayed_at"]
    list_filter = ["reason", ("replayed_at", admin.EmptyFieldListFilter)]
    search_fields = ["model_id", "inference_id"]
    exclude = ["payload"]
    readonly_fields = ["as_it_came"]
    actions = ["replay"]

    @admin.display(description="Payload")
    def as_it_came(self, event: DeadLetter) -> str:
        return bytes(event.payload)[:SHOWN_BYTES].decode("utf-8", "backslashreplace")

    @admin.action(description="Publish again", permissions=["replay"])
    def replay(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> None:
        with closing(EventStream()) as stream:
            try:
                done = replay(queryset.filter(replayed_at=None), stream)
            except redis.RedisError as error:
                messages.error(request, f"The stream does not answer: {error}")
                return
        messages.success(request, f"{done.published} events published again.")

    def has_replay_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("ingest.change_deadletter")
