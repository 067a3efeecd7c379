"""URLs of the datasets API. Names of datasets have no slash, so they fit one segment."""

from django.urls import re_path

from datasets.api import views
from istore.addresses import API_PROJECT

DATASETS = rf"{API_PROJECT}/datasets"
DATASET = rf"{DATASETS}/(?P<name>[^/]+)"
VERSION = rf"{DATASET}/versions/(?P<number>[0-9]{{1,9}}|working)"
TASK = r"(?P<task_id>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"
ADDITION = rf"{DATASET}/additions/{TASK}"
ARCHIVE = rf"{DATASET}/archives/{TASK}"
COMPARED = r"(?P<before>[0-9]{1,9}|working)\.\.(?P<after>[0-9]{1,9}|working)"

urlpatterns = [
    re_path(rf"^{DATASETS}$", views.DatasetsView.as_view()),
    re_path(rf"^{DATASET}$", views.DatasetView.as_view()),
    re_path(rf"^{DATASET}/versions$", views.VersionsView.as_view()),
    re_path(rf"^{VERSION}$", views.VersionView.as_view()),
    re_path(rf"^{VERSION}/entries$", views.EntriesView.as_view()),
    re_path(rf"^{VERSION}/distribution$", views.DistributionView.as_view()),
    re_path(rf"^{DATASET}/duplicates$", views.DuplicatesView.as_view()),
    re_path(rf"^{VERSION}/archives$", views.NewArchiveView.as_view()),
    re_path(rf"^{DATASET}/entries/remove$", views.RemoveEntriesView.as_view()),
    re_path(rf"^{DATASET}/entries/move$", views.MoveEntriesView.as_view()),
    re_path(rf"^{DATASET}/compare/{COMPARED}$", views.CompareView.as_view()),
    re_path(rf"^{DATASET}/additions$", views.AdditionsView.as_view()),
    re_path(rf"^{ADDITION}$", views.AdditionView.as_view()),
    re_path(rf"^{ADDITION}/stop$", views.StopAdditionView.as_view()),
    re_path(rf"^{ADDITION}/retry$", views.RetryAdditionView.as_view()),
    re_path(rf"^{DATASET}/archives$", views.ArchivesView.as_view()),
    re_path(rf"^{ARCHIVE}$", views.ArchiveView.as_view()),
    re_path(rf"^{ARCHIVE}/stop$", views.StopArchiveView.as_view()),
    re_path(rf"^{ARCHIVE}/retry$", views.RetryArchiveView.as_view()),
    re_path(rf"^{ARCHIVE}/file$", views.ArchiveFileView.as_view()),
]
