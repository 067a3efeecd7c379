"""URLs of the quality page."""

from django.urls import re_path

from istore.addresses import MODEL, also_in_projects
from quality import views

app_name = "quality"

urlpatterns = also_in_projects(
    [
        re_path(rf"^{MODEL}/quality$", views.page, name="page"),
    ]
)
