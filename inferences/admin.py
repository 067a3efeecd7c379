"""The admin site of the store: settings of models are edited, inferences only read."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property

from inferences.models import Inference, RegisteredModel
from inferences.registration import change_settings
from istore.access import caller_of
from istore.admin import ReadOnlyAdmin
from istore.upstreams import check_upstream_url

CHOSEN = "registered_model__id__exact"
IDENTITY = ["model_id", "project", "task_type", "embedding_size"]


class ModelForm(forms.ModelForm):
    def clean_upstream_url(self) -> str:
        url = self.cleaned_data["upstream_url"]
        if url:
            try:
                check_upstream_url(url)
            except ValueError as error:
                raise forms.ValidationError(str(error)) from None
        return url


@admin.register(RegisteredModel)
class RegisteredModelAdmin(admin.ModelAdmin):
    """Settings alone: a model is registered on its page or by the API."""

    form = ModelForm
    fields = [
        *IDENTITY,
        "enable_inference_storage",
        "upstream_url",
        "upstream_model",
        "class_labels",
        "box_format",
        "strip_metadata",
        "created_at",
        "updated_at",
    ]
    readonly_fields = [*IDENTITY, "created_at", "updated_at"]
    list_display = ["model_id", "project", "task_type", "enable_inference_storage"]
    list_filter = ["task_type", "enable_inference_storage", "project"]
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


class ShortPaginator(Paginator):
    """Counts to a bound: a count of everything would read everything."""

    MOST = 10_000

    @cached_property
    def count(self) -> int:
        return self.object_list[: self.MOST].count()


@admin.register(Inference)
class InferenceAdmin(ReadOnlyAdmin):
    """The rows as they lie in the table, newest first, of the model that is chosen.

    Without one there are none: the table is ordered within a model alone.
    """

    paginator = ShortPaginator

    list_display = [
        "inference_id",
        "registered_model",
        "moment",
        "inference_action",
        "is_protected",
        "deleted",
    ]
    # Ids are unique within a model only, so a row has no address of its own here.
    list_display_links = None
    list_filter = ["registered_model"]
    list_select_related = ["registered_model"]
    list_per_page = 50
    ordering = ["-id"]

    @admin.display(description="Created")
    def moment(self, inference: Inference) -> str:
        return f"{inference.created_at:%Y-%m-%d %H:%M:%S}"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Inference]:
        rows = super().get_queryset(request)
        return rows if CHOSEN in request.GET else rows.none()

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return obj is None and super().has_view_permission(request)
