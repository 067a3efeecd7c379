"""The admin site of export tasks: read-only rows, with the API's stop and retry as actions.

Schedules are in ``exports.schedules.admin``.
"""

from __future__ import annotations

from django.contrib import admin

from exports import task_lifecycle
from exports.models import ExportTask
from exports.schedules import admin as schedules_admin  # noqa: F401 registers itself
from istore.admin import TaskAdmin


@admin.register(ExportTask)
class ExportTaskAdmin(TaskAdmin):
    list_display = [
        "created_at",
        "model",
        "model__project",
        "state",
        "format",
        "share",
        "expected_count",
        "created_by",
    ]
    list_filter = ["state", "format"]
    list_select_related = ["model__project"]
    search_fields = ["model__model_id__exact"]
    exclude = ["selection", "receipt"]

    resume_task = staticmethod(task_lifecycle.retry)
