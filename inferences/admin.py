"""The admin site of the store: settings of models are edited, inferences only read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse

from inferences.models import (
    Inference,
    InferenceKey,
    RegisteredModel,
    TokenPrice,
    UploadGrant,
)
from inferences.models.erasure import ErasureTask
from inferences.store import soft_deletion
from inferences.store.protection import Protection, protect_all
from inferences.store.registration import change_settings
from inferences.store.soft_deletion import soft_deleted
from inferences.store.token_prices import add_price, remove_price
from inferences.tasks import notify_removals
from istore.accounts.access import caller_of
from istore.admin import ReadOnlyAdmin, ShortPaginator, TaskAdmin
from istore.upstreams import check_upstream_url

CHOSEN = "registered_model__id__exact"
AT_ONCE = 1000
IDENTITY = ["model_id", "project", "task_type", "embedding_size"]


class ModelForm(forms.ModelForm):
    def clean_upstream_url(self) -> str:
        url: str = self.cleaned_data["upstream_url"]
        if url:
            try:
                check_upstream_url(url)
            except ValueError as error:
                raise forms.ValidationError(str(error)) from None
        return url


@admin.register(RegisteredModel)
class RegisteredModelAdmin(admin.ModelAdmin):
    """The settings of a model. A model is registered on its page or by the API."""

    form = ModelForm
    fields = [
        *IDENTITY,
        "enable_inference_storage",
        "upstream_url",
        "upstream_model",
        "class_labels",
        "first_class_number",
        "box_format",
        "strip_metadata",
        "keep_failures",
        "created_at",
        "updated_at",
    ]
    readonly_fields = [*IDENTITY, "created_at", "updated_at"]
    list_display = ["model_id", "project", "task_type", "enable_inference_storage"]
    list_filter = ["task_type", "enable_inference_storage", "project"]
    show_full_result_count = False
    list_select_related = ["project"]
    search_fields = ["model_id"]

    def save_model(
        self, request: HttpRequest, obj: RegisteredModel, form: Any, change: bool
    ) -> None:
        changed = {name: form.cleaned_data[name] for name in form.changed_data}
        if changed:
            change_settings(caller_of(request), obj, **changed)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class ModelFilter(admin.RelatedFieldListFilter):
    """The models with their projects: two projects may have a model of the same id."""

    def field_choices(
        self, field: Any, request: HttpRequest, model_admin: Any
    ) -> list[tuple[Any, Any]]:
        models = RegisteredModel.objects.select_related("project")
        return [(model.pk, model.full_name) for model in models]


@admin.register(Inference)
class InferenceAdmin(ReadOnlyAdmin):
    """The rows of the chosen model as they are in the table, newest first.

    Without a model there are no rows: the table is ordered within a model only.
    """

    paginator = ShortPaginator

    list_display = [
        "inference_id",
        "registered_model",
        "registered_model__project",
        "moment",
        "inference_action",
        "is_protected",
        "deleted",
    ]
    # Ids are unique within a model only, so the admin has no URL for a single row.
    list_display_links = None
    list_filter = [("registered_model", ModelFilter), "deleted", "is_protected"]
    list_select_related = ["registered_model__project"]
    search_fields = ["inference_id"]
    search_help_text = "The whole id of an inference."
    ordering = ["-id"]
    actions = ["protect", "unprotect", "restore", "remove_deleted"]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Ask for a model to be chosen, where Django would say "0 inferences"."""
        context = {"needs_a_model": CHOSEN not in request.GET, **(extra_context or {})}
        return super().changelist_view(request, context)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Inference], search_term: str
    ) -> tuple[QuerySet[Inference], bool]:
        """Search by the key table: the rows have no index on the inference id."""
        if not search_term:
            return queryset, False
        keys = InferenceKey.objects.filter(inference_id=search_term)
        row_ids = keys.values_list("row_id", flat=True)
        ids = [row_id for row_id in row_ids if row_id is not None]
        return queryset.filter(id__in=ids, inference_id=search_term), False

    @admin.action(description="Protect from retention", permissions=["change"])
    def protect(self, request: HttpRequest, queryset: QuerySet[Inference]) -> None:
        self._protect(request, queryset, Protection())

    @admin.action(description="Protect no longer", permissions=["change"])
    def unprotect(self, request: HttpRequest, queryset: QuerySet[Inference]) -> None:
        self._protect(request, queryset, Protection(is_protected=False))

    @admin.action(description="Restore the soft-deleted", permissions=["change"])
    def restore(self, request: HttpRequest, queryset: QuerySet[Inference]) -> None:
        done = 0
        for model, ids in _by_model(queryset):
            chosen = lambda m=model, i=ids: soft_deleted(m).filter(id__in=i)  # noqa: E731
            done += soft_deletion.restore(caller_of(request), model, chosen).count
        messages.success(request, f"{done} inferences restored.")

    @admin.action(
        description="Remove the soft-deleted for good", permissions=["remove"]
    )
    def remove_deleted(
        self, request: HttpRequest, queryset: QuerySet[Inference]
    ) -> None:
        done, caller = 0, caller_of(request)
        for model, ids in _by_model(queryset):
            chosen = lambda m=model, i=ids: soft_deleted(m).filter(id__in=i)  # noqa: E731
            done += soft_deletion.intend_removal(caller, model, chosen).count
            notify_removals(model.pk)
        messages.success(request, f"{done} inferences are removed for good.")

    def _protect(
        self, request: HttpRequest, queryset: QuerySet[Inference], wanted: Protection
    ) -> None:
        count = late = gone = 0
        for model, ids in _by_model(queryset):
            chosen = lambda m=model, i=ids: m.inferences.live().filter(id__in=i)  # noqa: E731
            done = protect_all(caller_of(request), model, chosen, wanted)
            count, late = count + done.count, late + done.being_removed
            gone += done.input_expired
        too_late = f" {late} came too late." if late else ""
        too_late += f" {gone} had lost their input before." if gone else ""
        messages.success(request, f"{count} inferences changed.{too_late}")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return the permission for the actions only: rows have no page of their own here."""
        return obj is None and request.user.has_perm("inferences.change_inference")

    def has_remove_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("inferences.delete_inference")

    @admin.display(description="Created")
    def moment(self, inference: Inference) -> str:
        return f"{inference.created_at:%Y-%m-%d %H:%M:%S}"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Inference]:
        rows = super().get_queryset(request)
        return rows if CHOSEN in request.GET else rows.none()

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return obj is None and super().has_view_permission(request)


def _by_model(
    rows: QuerySet[Inference],
) -> Iterator[tuple[RegisteredModel, list[int]]]:
    """Yield the ids of the chosen rows in batches, one model after the other."""
    ids: dict[int, list[int]] = {}
    for model_key, row_id in rows.order_by().values_list("registered_model", "id"):
        ids.setdefault(model_key, []).append(row_id)
    models = RegisteredModel.objects.select_related("project").in_bulk(ids)
    for model_key, found in ids.items():
        for start in range(0, len(found), AT_ONCE):
            yield models[model_key], found[start : start + AT_ONCE]


@admin.register(UploadGrant)
class UploadGrantAdmin(ReadOnlyAdmin):
    list_display = [
        "created_at",
        "registered_model",
        "registered_model__project",
        "kind",
        "expires_at",
        "bound_at",
    ]
    list_filter = ["kind", ("bound_at", admin.EmptyFieldListFilter)]
    list_select_related = ["registered_model__project"]
    search_fields = ["storage_key__exact"]
    paginator = ShortPaginator


@admin.register(ErasureTask)
class ErasureTaskAdmin(TaskAdmin):
    """The erasures and who requested them. The value is never shown."""

    list_display = ["created_at", "project", "key", "state", "dry_run", "share"]
    list_filter = ["state", "dry_run", "project"]
    list_select_related = ["project"]
    exclude = ["value", "salt", "open_batch"]
    actions = ["stop"]


@admin.register(TokenPrice)
class TokenPriceAdmin(admin.ModelAdmin):
    """Prices of tokens, of one project or of all. A price is removed and added, not changed."""

    fields = [
        "project",
        "model_pattern",
        "input_price",
        "cached_input_price",
        "output_price",
        "currency",
        "valid_from",
    ]
    list_display = [
        "model_pattern",
        "project",
        "input_price",
        "cached_input_price",
        "output_price",
        "currency",
        "valid_from",
    ]
    list_filter = ["project", "currency"]
    show_full_result_count = False
    list_select_related = ["project"]
    search_fields = ["model_pattern"]

    def save_model(
        self, request: HttpRequest, obj: TokenPrice, form: Any, change: bool
    ) -> None:
        add_price(caller_of(request), obj)

    def delete_model(self, request: HttpRequest, obj: TokenPrice) -> None:
        remove_price(caller_of(request), obj)

    def delete_queryset(
        self, request: HttpRequest, queryset: QuerySet[TokenPrice]
    ) -> None:
        for price in queryset:
            remove_price(caller_of(request), price)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
