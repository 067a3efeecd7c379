"""URLs of the API of services and sessions."""

from django.urls import path

from services.api import views

SESSION = "inferencesessions/<str:session_id>"

urlpatterns = [
    path("inferenceservices", views.ServicesView.as_view()),
    path("inferenceservices/mock", views.MockServicesView.as_view()),
    path("inferenceservices/<str:service_id>", views.ServiceView.as_view()),
    path("inferencesessions", views.SessionsView.as_view()),
    path(SESSION, views.SessionView.as_view()),
    path(f"{SESSION}/token", views.SessionTokensView.as_view()),
    path(f"{SESSION}/terminate", views.TerminateView.as_view()),
    path(f"{SESSION}/ready", views.ReadyView.as_view()),
    path(f"{SESSION}/infer/<path:endpoint>", views.InferView.as_view()),
]
