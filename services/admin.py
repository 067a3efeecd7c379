"""The admin site of services: read-only, except for terminating sessions as the API does."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest

from istore.accounts.access import caller_of
from istore.admin import ReadOnlyAdmin
from services.models import (
    InferenceService,
    InferenceSession,
    InferenceSessionQuerySet,
    Replica,
)
from services.sessions import terminate_session


@admin.register(InferenceService)
class InferenceServiceAdmin(ReadOnlyAdmin):
    list_display = ["name", "project", "account", "runner", "endpoint", "model_id"]
    list_filter = ["runner", "project"]
    list_select_related = ["project"]
    search_fields = ["name", "model_id", "account"]


class ReplicaInline(admin.TabularInline):
    model = Replica
    extra = 0
    fields = readonly_fields = ("number", "port", "is_ready", "starts", "said")
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(InferenceSession)
class InferenceSessionAdmin(ReadOnlyAdmin):
    list_display = ["id", "service", "status", "replicas", "expires_at", "created_by"]
    list_filter = ["status", "service__project"]
    list_select_related = ["service"]
    inlines = [ReplicaInline]
    actions = ["terminate"]

    @admin.action(description="Terminate the selected sessions", permissions=["view"])
    def terminate(
        self, request: HttpRequest, queryset: InferenceSessionQuerySet
    ) -> None:
        if not request.user.is_superuser:
            messages.error(request, "Only a superuser ends sessions here.")
            return
        found = queryset.live().select_related("service__project")
        count = 0
        for session in found:
            terminate_session(caller_of(request), session)
            count += 1
        messages.success(request, f"{count} sessions have ended.")
