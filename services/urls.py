"""URLs of the pages of services and sessions."""

from django.urls import path

from services import views

app_name = "services"

urlpatterns = [
    path("services", views.services, name="services"),
    path("services/new", views.new_service, name="new"),
    path("services/mocks", views.start_mock, name="mock"),
    path("services/<uuid:service_id>", views.service, name="service"),
    path("services/<uuid:service_id>/delete", views.delete_service, name="delete"),
    path("services/<uuid:service_id>/sessions", views.start, name="start"),
    path("sessions/<uuid:session_id>/terminate", views.terminate, name="terminate"),
    path("sessions/<uuid:session_id>/call", views.call, name="call"),
]
