"""Routes of the retention API."""

from django.urls import re_path

from istore.addresses import MODEL, also_in_projects
from retention.api import views

TASK = rf"{MODEL}/retention-tasks/(?P<task_id>[^/]+)"

urlpatterns = also_in_projects(
    [
        re_path(rf"^{MODEL}/retention-policy$", views.RetentionPolicyView.as_view()),
        re_path(
            rf"^{MODEL}/retention-policy/(?P<policy_id>[^/]+)$",
            views.OneRetentionPolicyView.as_view(),
        ),
        re_path(rf"^{MODEL}/retention-preview$", views.RetentionPreviewView.as_view()),
        re_path(rf"^{MODEL}/retention-tasks$", views.RetentionTasksView.as_view()),
        re_path(
            rf"^{MODEL}/retention-tasks/filter$",
            views.FilterRetentionTasksView.as_view(),
        ),
        re_path(rf"^{TASK}/stop$", views.StopRetentionTaskView.as_view()),
        re_path(rf"^{TASK}/resume$", views.ResumeRetentionTaskView.as_view()),
        re_path(rf"^{TASK}$", views.RetentionTaskView.as_view()),
    ]
)
