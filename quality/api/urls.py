from django.urls import re_path

from quality.api.views import QualityView

# An inference's id may end in "/quality" as well: that is not a model's address.
MODEL = r"models/(?P<model_id>(?:(?!/inferences/).)+?)"

urlpatterns = [re_path(rf"^{MODEL}/quality$", QualityView.as_view())]
