"""The admin site of accounts. Tokens and the audit log are read-only here."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.auth import get_permission_codename
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import User
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property

from istore.accounts.access import caller_of
from istore.accounts.login_throttle import AdminLoginForm, forget_failures_of
from istore.accounts.token_makers import find_makers
from istore.accounts.tokens import revoke_token
from istore.errors import StoreError
from istore.models import (
    AuditEntry,
    IdempotentCall,
    Membership,
    Project,
    Token,
    VerifyRun,
)
from istore.tasks import control
from istore.tasks.tracking import TrackedTask

admin.site.site_header = admin.site.site_title = "Inference Store"
admin.site.index_title = "Administration"
admin.site.login_form = AdminLoginForm
admin.site.unregister(User)


@admin.register(User)
class PersonAdmin(UserAdmin):
    """Accounts. Only a superuser may grant rights beyond projects.

    Only a superuser may change a superuser's account: whoever sets its password gets all rights.
    """

    BEYOND_PROJECTS = ("is_staff", "is_superuser", "groups", "user_permissions")

    def get_readonly_fields(
        self, request: HttpRequest, obj: User | None = None
    ) -> tuple[str, ...]:
        given = tuple(super().get_readonly_fields(request, obj))
        return given if request.user.is_superuser else given + self.BEYOND_PROJECTS

    def has_change_permission(
        self, request: HttpRequest, obj: User | None = None
    ) -> bool:
        allowed = super().has_change_permission(request, obj)
        return allowed and _may_touch(request, obj)

    def has_delete_permission(
        self, request: HttpRequest, obj: User | None = None
    ) -> bool:
        allowed = super().has_delete_permission(request, obj)
        return allowed and _may_touch(request, obj)

    def log_change(self, request: HttpRequest, obj: User, message: Any) -> Any:
        """Audit the change. Django calls this for a password that was set here, too."""
        is_password = bool(message) and "password" in str(message).lower()
        if is_password:
            forget_failures_of(obj.get_username())
        act = "user.set-password" if is_password else "user.change"
        AuditEntry.write(caller_of(request), act, str(obj), None)
        return super().log_change(request, obj, message)

    def log_addition(self, request: HttpRequest, obj: User, message: Any) -> Any:
        AuditEntry.write(caller_of(request), "user.create", str(obj), None)
        return super().log_addition(request, obj, message)


def _may_touch(request: HttpRequest, person: User | None) -> bool:
    return person is None or request.user.is_superuser or not person.is_superuser


class ReadOnlyAdmin(admin.ModelAdmin):
    """Rows that can be viewed, but not added, changed or deleted."""

    list_per_page = 50

    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class ShortPaginator(Paginator):
    """A paginator whose count stops at a limit, because a full count reads the whole table."""

    MOST = 10_000

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        return int(rows[: self.MOST].count())


class TaskAdmin(ReadOnlyAdmin):
    """Tracked tasks: read-only rows with the actions "stop" and "resume" of the API.

    ``actions`` names those that a kind has.
    """

    list_filter = ["state"]
    ordering = ["-created_at"]
    list_per_page = 50
    paginator = ShortPaginator
    actions = ["stop", "resume"]

    @staticmethod
    def resume_task(actor: object, task: Any) -> bool:
        """Resume the task; a kind that has conditions of its own replaces this."""
        return control.resume(actor, task)

    @admin.display(description="Done")
    def share(self, task: TrackedTask) -> str:
        return f"{100 * task.share_done:.0f}\N{NO-BREAK SPACE}%"

    @admin.action(description="Stop the selected tasks", permissions=["change_task"])
    def stop(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        self._each(request, queryset, control.stop, "asked to stop")

    @admin.action(description="Resume the selected tasks", permissions=["change_task"])
    def resume(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        self._each(request, queryset, self.resume_task, "resumed")

    def _each(self, request: HttpRequest, tasks: Any, act: Any, said: str) -> None:
        caller, done = caller_of(request), 0
        for task in tasks:
            try:
                done += bool(act(caller, task))
            except StoreError as error:
                messages.error(request, f"{task}: {error}")
        messages.success(request, f"{done} tasks {said}.")

    def has_change_task_permission(self, request: HttpRequest) -> bool:
        name = get_permission_codename("change", self.opts)
        return request.user.has_perm(f"{self.opts.app_label}.{name}")


class MembershipInline(admin.TabularInline):
    model = Membership
    extra = 0
    autocomplete_fields = ["user"]


@admin.register(Project)
class ProjectAdmin(admin.ModelAdmin):
    list_display = ["project_id", "created_at"]
    search_fields = ["project_id"]
    show_full_result_count = False
    inlines = [MembershipInline]

    def get_readonly_fields(
        self, request: HttpRequest, obj: Project | None = None
    ) -> list[str]:
        return ["project_id"] if obj else []  # blobs and clients know it by this name

    def save_model(
        self, request: HttpRequest, obj: Project, form: Any, change: bool
    ) -> None:
        super().save_model(request, obj, form, change)
        if not change:
            AuditEntry.write(caller_of(request), "project.create", str(obj), obj)

    def save_formset(
        self, request: HttpRequest, form: Any, formset: Any, change: bool
    ) -> None:
        super().save_formset(request, form, formset, change)
        for each in formset.new_objects:
            audit_member(request, each, "add", role=each.role)
        for each, _ in formset.changed_objects:
            audit_member(request, each, "change", role=each.role)
        for each in formset.deleted_objects:
            audit_member(request, each, "remove")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # only retention and removal delete data


@admin.register(Membership)
class MembershipAdmin(admin.ModelAdmin):
    list_display = ["user", "project", "role"]
    list_filter = ["role", "project"]
    list_select_related = ["user", "project"]
    search_fields = ["user__username", "project__project_id"]
    autocomplete_fields = ["user", "project"]
    show_full_result_count = False
    actions = None  # a bulk delete would skip the audit entry of each

    def save_model(
        self, request: HttpRequest, obj: Membership, form: Any, change: bool
    ) -> None:
        super().save_model(request, obj, form, change)
        audit_member(request, obj, "change" if change else "add", role=obj.role)

    def delete_model(self, request: HttpRequest, obj: Membership) -> None:
        super().delete_model(request, obj)
        audit_member(request, obj, "remove")


def audit_member(
    request: HttpRequest, membership: Membership, act: str, **details: Any
) -> None:
    """Write the same audit entry as the members page does."""
    AuditEntry.write(
        caller_of(request),
        f"member.{act}",
        str(membership.user),
        membership.project,
        **details,
    )


@admin.register(Token)
class TokenAdmin(ReadOnlyAdmin):
    """Tokens. They are created on the project's page, which shows the secret once."""

    list_display = [
        "name",
        "project",
        "role",
        "prefix",
        "creator",
        "last_used_at",
        "expires_at",
        "revoked_at",
    ]
    list_filter = ["role", "project"]
    list_select_related = ["project"]
    search_fields = ["name", "prefix"]
    exclude = ["digest"]
    actions = ["revoke"]

    @admin.display(description="Created by")
    def creator(self, token: Token) -> str:
        maker = find_makers([token])[token.pk]
        problem = maker.problem(token)
        return f"{maker.name} ({problem})" if problem else maker.name

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
    """The audit log. The search takes an exact subject, such as an inference id.

    The log is long, and the index serves the whole subject only.
    """

    list_display = ["at", "actor", "action", "subject", "project", "said"]
    list_filter = ["project", "action"]
    list_select_related = ["project"]
    search_fields = ["subject__exact"]
    search_help_text = "The whole subject, such as the id of an inference or a model."
    paginator = ShortPaginator
    list_per_page = 50

    @admin.display(description="Details")
    def said(self, entry: AuditEntry) -> str:
        told = (f"{name}: {value}" for name, value in entry.details.items() if value)
        return "; ".join(told)[:200]


@admin.register(VerifyRun)
class VerifyRunAdmin(ReadOnlyAdmin):
    list_display = ["started_at", "kind", "finding_count", "repaired", "finished_at"]
    list_filter = ["kind"]


@admin.register(IdempotentCall)
class IdempotentCallAdmin(ReadOnlyAdmin):
    """POSTs that were answered. The answers themselves are the caller's and are not shown."""

    list_display = ["key", "caller", "status", "created_at"]
    list_filter = ["status"]
    search_fields = ["key__exact"]
    exclude = ["content", "fingerprint"]
    paginator = ShortPaginator
