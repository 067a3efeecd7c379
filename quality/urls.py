"""The page of quality."""

from django.urls import re_path

from quality import views

app_name = "quality"

urlpatterns = [
    re_path(r"^models/(?P<model_id>.+?)/quality$", views.page, name="page"),
]
