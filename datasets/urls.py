"""URLs of the dataset pages. Names of datasets have no slash, so they fit one segment."""

from django.urls import path, re_path

from datasets import overview, views
from istore.addresses import MODEL, PROJECT, also_in_projects

app_name = "datasets"

DATASETS = rf"{PROJECT}/datasets"
DATASET = rf"{DATASETS}/(?P<name>[^/]+)"
TASK = r"(?P<task_id>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"

urlpatterns = also_in_projects(
    [
        path("datasets", overview.overview, name="overview"),
        re_path(rf"^{MODEL}/add-to-dataset$", views.add, name="add"),
        re_path(rf"^{DATASETS}$", views.datasets, name="datasets"),
        re_path(
            rf"^{DATASET}/entries/(?P<entry_id>[0-9]{{1,18}})/picture$",
            views.picture,
            name="picture",
        ),
        re_path(rf"^{DATASET}/compare$", views.compare, name="compare"),
        re_path(rf"^{DATASET}/publish$", views.publish, name="publish"),
        re_path(rf"^{DATASET}/split$", views.split, name="split"),
        re_path(rf"^{DATASET}/remove$", views.remove, name="remove"),
        re_path(rf"^{DATASET}/put-back$", views.put_back, name="put-back"),
        re_path(rf"^{DATASET}/delete$", views.delete, name="delete"),
        re_path(
            rf"^{DATASET}/versions/(?P<version>[0-9]+)/archive$",
            views.archive,
            name="archive",
        ),
        re_path(rf"^{DATASET}/archives/{TASK}$", views.archive_row, name="archive-row"),
        re_path(
            rf"^{DATASET}/archives/{TASK}/file$",
            views.archive_file,
            name="archive-file",
        ),
        re_path(
            rf"^{DATASET}/additions/{TASK}$", views.addition_row, name="addition-row"
        ),
        re_path(
            rf"^{DATASET}/additions/{TASK}/stop$",
            views.stop_addition,
            name="addition-stop",
        ),
        re_path(rf"^{DATASET}$", views.dataset, name="dataset"),
    ]
)
