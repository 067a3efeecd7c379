from __future__ import annotations

from django.contrib import admin

from datasets.models import AddingTask, Dataset, DatasetArchive, DatasetVersion
from istore.admin import ReadOnlyAdmin


@admin.register(Dataset)
class DatasetAdmin(ReadOnlyAdmin):
    list_display = (
        "name",
        "project",
        "task_type",
        "published",
        "created_at",
        "deleted_at",
    )
    list_filter = ("project", "task_type")
    search_fields = ("name", "description")
    list_select_related = ("project",)


@admin.register(DatasetVersion)
class DatasetVersionAdmin(ReadOnlyAdmin):
    list_display = ("dataset", "number", "published_at", "published_by", "note")
    search_fields = ("dataset__name", "note")
    list_select_related = ("dataset",)


@admin.register(AddingTask)
class AddingTaskAdmin(ReadOnlyAdmin):
    list_display = (
        "id",
        "dataset",
        "model",
        "state",
        "progress_count",
        "expected_count",
    )
    list_filter = ("state",)
    search_fields = ("dataset__name", "model__model_id")
    list_select_related = ("dataset", "model")


@admin.register(DatasetArchive)
class DatasetArchiveAdmin(ReadOnlyAdmin):
    list_display = ("id", "dataset", "version", "format", "state", "archive_size")
    list_filter = ("state", "format")
    search_fields = ("dataset__name",)
    list_select_related = ("dataset",)
