"""Routes of the export pages."""

from django.urls import path, re_path

from exports import overview, views
from exports.lake import pages as lake
from exports.schedules import pages as schedules
from istore.addresses import MODEL, also_in_projects

app_name = "exports"

TASK = rf"{MODEL}/exports/(?P<task_id>[0-9a-f-]{{36}})"
SCHEDULE = rf"{MODEL}/exports/schedules/(?P<schedule_id>[0-9a-f-]{{36}})"

urlpatterns = also_in_projects(
    [
        path("exports", overview.overview, name="overview"),
        path("exports/lake", lake.sql, name="lake"),
        path("exports/lake/<str:name>/drop", lake.drop, name="lake-drop"),
        re_path(rf"^{MODEL}/exports/schedules$", schedules.schedules, name="schedules"),
        re_path(rf"^{SCHEDULE}/run$", schedules.run, name="schedule-run"),
        re_path(rf"^{SCHEDULE}/delete$", schedules.delete, name="schedule-delete"),
        re_path(rf"^{SCHEDULE}$", schedules.schedule, name="schedule"),
        re_path(rf"^{MODEL}/exports$", views.tasks, name="list"),
        re_path(rf"^{MODEL}/exports/new$", views.new, name="new"),
        re_path(rf"^{MODEL}/exports/start$", views.start, name="start"),
        re_path(rf"^{TASK}/stop$", views.stop, name="stop"),
        re_path(rf"^{TASK}/retry$", views.retry, name="retry"),
        re_path(rf"^{TASK}/archive$", views.download, name="archive"),
        re_path(rf"^{TASK}/manifest$", views.manifest, name="manifest"),
        re_path(rf"^{TASK}$", views.task, name="task"),
    ]
)
