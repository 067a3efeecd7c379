"""Routes of the retention pages of a model."""

from django.urls import re_path

from istore.addresses import MODEL, also_in_projects
from retention import views

app_name = "retention"

TASK = rf"{MODEL}/retention/tasks/(?P<task_id>[0-9a-f-]+)"

urlpatterns = also_in_projects(
    [
        re_path(rf"^{MODEL}/retention$", views.policy, name="policy"),
        re_path(rf"^{MODEL}/retention/preview$", views.preview_policy, name="preview"),
        re_path(rf"^{MODEL}/retention/tasks$", views.tasks, name="tasks"),
        re_path(rf"^{TASK}/stop$", views.stop_task, name="stop"),
        re_path(rf"^{TASK}/resume$", views.resume_task, name="resume"),
        re_path(rf"^{TASK}$", views.task, name="task"),
    ]
)
