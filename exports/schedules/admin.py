"""The admin site of scheduled exports: read-only; schedules are changed on their pages."""

from __future__ import annotations

from django.contrib import admin

from exports.schedules.models import ExportedFile, ExportSchedule, ScheduledExport
from istore.admin import ReadOnlyAdmin


@admin.register(ExportSchedule)
class ExportScheduleAdmin(ReadOnlyAdmin):
    list_display = (
        *("name", "model", "model__project", "format", "interval_hours", "enabled"),
        *("destination", "prefix", "exported_until", "row_count", "last_error"),
    )
    list_filter = ("enabled", "destination", "model__project")
    list_select_related = ("model__project",)
    search_fields = ("name", "model__model_id", "prefix")


@admin.register(ScheduledExport)
class ScheduledExportAdmin(ReadOnlyAdmin):
    list_display = (
        *("schedule", "created_at", "state", "arrived_count", "row_count"),
        *("file_count", "reason"),
    )
    list_filter = ("state",)
    list_select_related = ("schedule__model",)
    search_fields = ("schedule__name", "schedule__model__model_id")


@admin.register(ExportedFile)
class ExportedFileAdmin(ReadOnlyAdmin):
    list_display = ("key", "schedule", "date", "row_count", "size", "committed_at")
    list_select_related = ("schedule__model",)
    search_fields = ("key", "schedule__name")
