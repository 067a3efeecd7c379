from django.urls import re_path

from quality.api.views import QualityView

urlpatterns = [
    re_path(r"^models/(?P<model_id>.+?)/quality$", QualityView.as_view()),
]
