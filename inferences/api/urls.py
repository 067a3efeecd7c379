"""The table of contents of the API."""

from django.urls import path, re_path

from inferences.api import (
    creating,
    erasing,
    ground_truth,
    metadata,
    projects,
    protecting,
    removing,
    restoring,
    text_index,
    views,
)
from istore.addresses import API_PROJECT, INFERENCE, MODEL, also_in_projects

TASK = r"(?P<task_id>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"
ERASURE = rf"{API_PROJECT}/erasures/{TASK}"

urlpatterns = also_in_projects(
    [
        re_path(
            rf"^{API_PROJECT}/inferences/filter$",
            projects.FilterProjectView.as_view(),
        ),
        re_path(
            rf"^{API_PROJECT}/inferences/count$",
            projects.CountProjectView.as_view(),
        ),
        re_path(rf"^{API_PROJECT}/erasures$", erasing.ErasuresView.as_view()),
        re_path(rf"^{ERASURE}$", erasing.ErasureView.as_view()),
        re_path(rf"^{ERASURE}/stop$", erasing.StopErasureView.as_view()),
        re_path(rf"^{ERASURE}/included$", erasing.ErasedView.as_view()),
        path("models", views.ModelsView.as_view()),
        re_path(
            rf"^{MODEL}/inference-server-settings$", views.ServerSettingsView.as_view()
        ),
        re_path(rf"^{MODEL}/text-index$", text_index.TextIndexView.as_view()),
        re_path(rf"^{MODEL}/inferences/filter$", views.FilterInferencesView.as_view()),
        re_path(rf"^{MODEL}/inferences/count$", views.CountInferencesView.as_view()),
        re_path(rf"^{MODEL}/inferences/delete$", removing.BulkDeleteView.as_view()),
        re_path(
            rf"^{MODEL}/inferences/protection$", protecting.BulkProtectionView.as_view()
        ),
        re_path(rf"^{MODEL}/inferences/batch$", creating.BatchView.as_view()),
        re_path(rf"^{MODEL}/inferences$", creating.NewInferenceView.as_view()),
        re_path(rf"^{MODEL}/uploads/data$", creating.UploadsView.as_view()),
        re_path(rf"^{MODEL}/uploads/metadata$", creating.MetadataUploadsView.as_view()),
        re_path(rf"^{MODEL}/metadata/counts$", metadata.KeyTypeCountsView.as_view()),
        re_path(rf"^{MODEL}/metadata/statistics$", metadata.StatisticsView.as_view()),
        re_path(rf"^{MODEL}/metadata/bulk$", metadata.BulkMetadataView.as_view()),
        re_path(rf"^{MODEL}/deleted$", restoring.DeletedView.as_view()),
        re_path(rf"^{MODEL}/deleted/filter$", restoring.FilterDeletedView.as_view()),
        re_path(rf"^{MODEL}/deleted/restore$", restoring.RestoreView.as_view()),
        re_path(rf"^{MODEL}/deleted/remove$", restoring.RemoveDeletedView.as_view()),
        re_path(
            rf"^{INFERENCE}/ground-truth/history$",
            ground_truth.GroundTruthHistoryView.as_view(),
        ),
        re_path(rf"^{INFERENCE}/ground-truth$", ground_truth.GroundTruthView.as_view()),
        re_path(rf"^{MODEL}/ground-truth/pending$", ground_truth.PendingView.as_view()),
        re_path(rf"^{MODEL}/ground-truth$", ground_truth.GroundTruthsView.as_view()),
        re_path(
            rf"^{MODEL}/ground-truth-files$", ground_truth.TruthFilesView.as_view()
        ),
        re_path(
            rf"^{MODEL}/ground-truth-files/{TASK}$",
            ground_truth.TruthFileView.as_view(),
        ),
        re_path(
            rf"^{MODEL}/ground-truth-files/{TASK}/stop$",
            ground_truth.StopTruthFileView.as_view(),
        ),
        re_path(rf"^{INFERENCE}/metadata$", metadata.MetadataView.as_view()),
        re_path(
            rf"^{INFERENCE}/metadata-history$", metadata.MetadataHistoryView.as_view()
        ),
        re_path(
            rf"^{INFERENCE}/metadata/(?P<key>.+)$", metadata.OneMetadataView.as_view()
        ),
        re_path(rf"^{INFERENCE}/protection$", protecting.ProtectionView.as_view()),
        re_path(rf"^{INFERENCE}/(?P<kind>input|answer)$", views.BlobView.as_view()),
        re_path(rf"^{INFERENCE}$", views.InferenceView.as_view()),
        re_path(rf"^{MODEL}$", views.ModelView.as_view()),
    ]
)
