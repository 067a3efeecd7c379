"""The URL configuration. This is the only module that names every app."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from inferences.api.creating import ReceiveUploadView
from inferences.previews.media import linked_blob
from istore import views
from istore.accounts.login_throttle import answering_delays
from istore.checks import health, operations
from istore.telemetry import web_requests
from istore.web import finding
from traces.api.otlp import TracesView

urlpatterns = [
    path("health/live", health.live),
    path("health/ready", health.ready),
    path("metrics", web_requests.metrics_view),
    path("blobs", linked_blob),
    path("uploads", ReceiveUploadView.as_view()),
    path("api/schema", views.SchemaView.as_view(), name="schema"),
    path("api/docs", views.SwaggerView.as_view(url_name="schema"), name="api-docs"),
    path("api/v1/", include("datasets.api.urls")),
    path("api/v1/", include("exports.api.urls")),
    path("api/v1/", include("quality.api.urls")),
    path("api/v1/", include("retention.api.urls")),
    path("api/v1/", include("services.api.urls")),
    path("api/v1/", include("traces.api.urls")),
    path("api/v1/", include("inferences.api.urls")),
    path("admin/login/", answering_delays(admin.site.login)),
    path("admin/password_change/", RedirectView.as_view(pattern_name="password")),
    path("admin/", admin.site.urls),
    path("operations", operations.page, name="operations"),
    path("operations/verify", operations.verify_now, name="verify-now"),
    path("find", finding.find, name="find"),
    path("favicon.ico", views.favicon),
    path("v1/traces", TracesView.as_view()),
    # Where clients of Langfuse send the same.
    path("api/public/otel/v1/traces", TracesView.as_view()),
    path("", include("exports.urls")),
    path("", include("inferences.urls")),
    path("", include("services.urls")),
    path("", include("quality.urls")),
    path("", include("retention.urls")),
    # Routes that begin with a project come last: see istore.addresses.
    path("", include("datasets.urls")),
    path("", include("traces.urls")),
    path("", include("istore.accounts.urls")),
]
handler400 = "istore.views.bad_request"
handler403 = "istore.views.forbidden"
handler404 = "istore.views.not_found"
handler500 = "istore.views.server_error"
