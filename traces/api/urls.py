"""URLs of the API of traces."""

from django.urls import re_path

from istore.addresses import API_PROJECT
from traces.api import views

TRACES = rf"{API_PROJECT}/traces"

urlpatterns = [
    re_path(rf"^{TRACES}$", views.TracesView.as_view()),
    re_path(rf"^{TRACES}/(?P<trace_id>[0-9a-f]{{32}})$", views.TraceView.as_view()),
]
