"""The pages of models and their inferences."""

from django.urls import path, re_path

from inferences import views

app_name = "inferences"

# An id may hold a slash, which arrives decoded: what follows an id is matched last.
MODEL = r"models/(?P<model_id>.+?)"
INFERENCE = rf"{MODEL}/inferences/(?P<inference_id>.+?)"

urlpatterns = [
    path("", views.models, name="models"),
    path("register", views.register, name="register"),
    re_path(rf"^{MODEL}/settings$", views.model_settings, name="settings"),
    re_path(rf"^{MODEL}/storage$", views.switch_storage, name="storage"),
    re_path(rf"^{MODEL}/activity$", views.model_activity, name="activity"),
    re_path(rf"^{MODEL}/inferences$", views.browse, name="browse"),
    re_path(
        rf"^{INFERENCE}/(?P<kind>input|answer|preview)$", views.media, name="media"
    ),
    re_path(rf"^{INFERENCE}$", views.detail, name="detail"),
]
