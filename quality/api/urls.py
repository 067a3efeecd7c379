from django.urls import re_path

from istore.addresses import also_in_projects
from quality.api.views import QualityView

# An inference's id may end in "/quality" too; such a URL must not match here.
MODEL = r"models/(?P<model_id>(?:(?!/inferences/).)+?)"

urlpatterns = also_in_projects([re_path(rf"^{MODEL}/quality$", QualityView.as_view())])
