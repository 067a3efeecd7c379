"""The admin site of accounts: tokens and the audit log are read here, not written."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from istore.access import caller_of
from istore.models import AuditEntry, Membership, Project, Token
from istore.tokens import revoke_token

admin.site.site_header = admin.site.site_title = "Inference Store"
admin.site.index_title = "Administration"


class ReadOnlyAdmin(admin.ModelAdmin):
    """Rows to look at: nothing is added, changed or removed here."""

    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class MembershipInline(admin.TabularInline):
    model = Membership
    extra = 0
    autocomplete_fields = ["user"]


@admin.register(Project)
class ProjectAdmin(admin.ModelAdmin):
    list_display = ["project_id", "created_at"]
    search_fields = ["project_id"]
    inlines = [MembershipInline]

    def get_readonly_fields(
        self, request: HttpRequest, obj: Project | None = None
    ) -> list[str]:
        return ["project_id"] if obj else []  # blobs and clients know it by this name

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # what is stored goes by retention and removal, with their records


@admin.register(Membership)
class MembershipAdmin(admin.ModelAdmin):
    list_display = ["user", "project", "role"]
    list_filter = ["role", "project"]
    list_select_related = ["user", "project"]
    search_fields = ["user__username", "project__project_id"]
    autocomplete_fields = ["user", "project"]


@admin.register(Token)
class TokenAdmin(ReadOnlyAdmin):
    """Tokens are created on the project's page, which shows the secret once."""

    list_display = [
        "name",
        "project",
        "role",
        "prefix",
        "last_used_at",
        "expires_at",
        "revoked_at",
    ]
    list_filter = ["role", "project"]
    list_select_related = ["project"]
    search_fields = ["name", "prefix"]
    exclude = ["digest"]
    actions = ["revoke"]

    @admin.action(description="Revoke the selected tokens", permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[Token]) -> None:
        chosen = list(queryset.filter(revoked_at=None).select_related("project"))
        for token in chosen:
            revoke_token(token, caller_of(request))
        messages.success(request, f"{len(chosen)} tokens open nothing any more.")

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("istore.change_token")


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    list_display = ["at", "actor", "action", "subject", "project"]
    list_filter = ["action"]
    list_select_related = ["project"]
    search_fields = ["subject", "actor"]
