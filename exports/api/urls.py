"""Routes of the export API.

They are mounted before those of inferences, whose last routes match any text as an id.
"""

from django.urls import path, re_path

from exports.api import lake, schedules, views
from istore.addresses import MODEL, also_in_projects

TASKS = rf"{MODEL}/export-tasks"
TASK = rf"{TASKS}/(?P<task_id>[0-9A-Za-z-]+)"
SCHEDULES = rf"{MODEL}/export-schedules"
SCHEDULE = rf"{SCHEDULES}/(?P<schedule_id>[0-9A-Za-z-]+)"

urlpatterns = also_in_projects(
    [
        path("export-destinations", schedules.DestinationsView.as_view()),
        re_path(rf"^{SCHEDULES}$", schedules.SchedulesView.as_view()),
        re_path(rf"^{SCHEDULE}/run$", schedules.RunScheduleView.as_view()),
        re_path(rf"^{SCHEDULE}/runs$", schedules.ScheduledExportsView.as_view()),
        re_path(rf"^{SCHEDULE}/files$", schedules.ExportedFilesView.as_view()),
        re_path(rf"^{SCHEDULE}$", schedules.ScheduleView.as_view()),
        path("lake/tables", lake.LakeTablesView.as_view()),
        path("lake/tables/<str:name>", lake.LakeTableView.as_view()),
        path("lake/sql", lake.LakeQueryView.as_view()),
        path("export-formats", views.FormatsView.as_view()),
        re_path(rf"^{TASKS}$", views.ExportTasksView.as_view()),
        re_path(rf"^{TASKS}/filter$", views.FilterExportTasksView.as_view()),
        re_path(rf"^{TASK}/stop$", views.StopExportTaskView.as_view()),
        re_path(rf"^{TASK}/retry$", views.RetryExportTaskView.as_view()),
        re_path(rf"^{TASK}/archive$", views.ArchiveView.as_view()),
        re_path(rf"^{TASK}$", views.ExportTaskView.as_view()),
    ]
)
