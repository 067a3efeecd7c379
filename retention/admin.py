"""The admin site of retention. Policies change by the API's functions; tasks are read-only."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from istore.accounts.access import caller_of
from istore.admin import TaskAdmin
from istore.errors import StoreError
from retention import policies
from retention.models import RetentionPolicy, RetentionTask


class PolicyForm(forms.ModelForm):
    def clean(self) -> dict[str, Any]:
        super().clean()
        fields = self.cleaned_data
        record_age = fields.get("maximum_record_age")
        blob_age = fields.get("maximum_blob_age")
        if record_age is None or blob_age is None:
            return fields
        if why := policies.contradiction(record_age, blob_age):
            raise forms.ValidationError(why)
        return fields


@admin.register(RetentionPolicy)
class RetentionPolicyAdmin(admin.ModelAdmin):
    form = PolicyForm
    list_display = [
        "model",
        "model__project",
        "maximum_blob_age",
        "maximum_record_age",
        "delete_action",
        "automated_interval",
        "last_scheduled_at",
    ]
    list_filter = ["delete_action", "model__project"]
    list_select_related = ["model__project"]
    search_fields = ["model__model_id"]
    show_full_result_count = False
    actions = ["run", "dry_run"]

    def formfield_for_foreignkey(
        self, db_field: Any, request: HttpRequest, **options: Any
    ) -> Any:
        field: Any = super().formfield_for_foreignkey(db_field, request, **options)
        if db_field.name == "model":
            # Two projects may have models with the same id, so the label names the project.
            field.queryset = field.queryset.select_related("project")
            field.label_from_instance = lambda model: model.full_name
        return field

    def get_readonly_fields(
        self, request: HttpRequest, obj: RetentionPolicy | None = None
    ) -> list[str]:
        return ["model", "last_scheduled_at"] if obj else ["last_scheduled_at"]

    def save_model(
        self, request: HttpRequest, obj: RetentionPolicy, form: Any, change: bool
    ) -> None:
        caller = caller_of(request)
        given = {name: form.cleaned_data[name] for name in policies.GIVEN}
        if change:
            policies.change_policy(caller, obj, **given)
        else:
            made = policies.create_policy(caller, obj.model, **given)
            obj.pk, obj._state.adding = made.pk, False

    def delete_model(self, request: HttpRequest, obj: RetentionPolicy) -> None:
        policies.delete_policy(caller_of(request), obj)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        actions = super().get_actions(request)
        actions.pop("delete_selected", None)  # it would write no audit entry
        return actions

    @admin.action(description="Carry out now", permissions=["change"])
    def run(self, request: HttpRequest, queryset: QuerySet[RetentionPolicy]) -> None:
        self._open(request, queryset, dry_run=False)

    @admin.action(description="Count what would go", permissions=["change"])
    def dry_run(
        self, request: HttpRequest, queryset: QuerySet[RetentionPolicy]
    ) -> None:
        self._open(request, queryset, dry_run=True)

    def _open(self, request: HttpRequest, chosen: Any, *, dry_run: bool) -> None:
        for policy in chosen.select_related("model__project"):
            try:
                policies.open_task(caller_of(request), policy, dry_run=dry_run)
            except StoreError as error:
                messages.error(request, f"{policy}: {error}")
            else:
                messages.success(request, f"{policy} is under way.")


@admin.register(RetentionTask)
class RetentionTaskAdmin(TaskAdmin):
    list_display = [
        "created_at",
        "model",
        "model__project",
        "state",
        "dry_run",
        "share",
        "deleted_record_count",
        "deleted_blob_count",
        "requested_by",
    ]
    list_filter = ["state", "dry_run", "by_schedule"]
    list_select_related = ["model__project"]
    search_fields = ["model__model_id__exact"]
    exclude = ["open_batch"]

    resume_task = staticmethod(policies.resume_task)
