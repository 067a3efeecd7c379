"""URLs of the pages of traces; the receiver of spans stands in ``istore/urls.py``."""

from django.urls import path, re_path

from istore.addresses import PROJECT
from traces.web import views

app_name = "traces"

urlpatterns = [
    path("traces", views.overview, name="overview"),
    re_path(rf"^{PROJECT}/traces$", views.traces, name="traces"),
    re_path(
        rf"^{PROJECT}/traces/(?P<trace_id>[0-9a-f]{{32}})$", views.trace, name="trace"
    ),
]
