"""URLs of the dataset pages. Names of datasets have no slash, so they fit one segment."""

from django.urls import path, re_path

from datasets.web import (
    additions,
    distribution,
    downloads,
    duplicates,
    entries,
    of_all_projects,
    of_model,
    overview,
    settings,
    versions,
)
from istore.addresses import MODEL, PROJECT, also_in_projects

app_name = "datasets"

DATASETS = rf"{PROJECT}/datasets"
DATASET = rf"{DATASETS}/(?P<name>[^/]+)"
VERSION = rf"{DATASET}/versions/(?P<version>[0-9]{{1,8}})"
ENTRY = r"entries/(?P<entry_id>[0-9]{1,18})"
TASK = r"(?P<task_id>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"

urlpatterns = also_in_projects(
    [
        path("datasets", of_all_projects.overview, name="overview"),
        re_path(rf"^{MODEL}/add-to-dataset$", additions.add, name="add"),
        re_path(rf"^{MODEL}/datasets$", of_model.show_datasets, name="of-model"),
        re_path(rf"^{DATASETS}$", overview.datasets, name="datasets"),
        # Of the working version, and of one by its number.
        re_path(rf"^{DATASET}/{ENTRY}/picture$", entries.picture, name="picture"),
        re_path(rf"^{VERSION}/{ENTRY}/picture$", entries.picture),
        re_path(rf"^{DATASET}/{ENTRY}$", entries.show_entry, name="entry"),
        re_path(rf"^{VERSION}/{ENTRY}$", entries.show_entry, name="version-entry"),
        re_path(
            rf"^{DATASET}/distribution$",
            distribution.show_distribution,
            name="distribution",
        ),
        re_path(rf"^{VERSION}/distribution$", distribution.show_distribution),
        re_path(rf"^{DATASET}/split$", distribution.split, name="split"),
        re_path(rf"^{DATASET}/remove$", entries.remove, name="remove"),
        re_path(rf"^{DATASET}/put-back$", entries.put_back, name="put-back"),
        re_path(rf"^{DATASET}/move$", entries.move, name="move"),
        re_path(rf"^{DATASET}/versions$", versions.show_versions, name="versions"),
        re_path(rf"^{DATASET}/compare$", versions.compare, name="compare"),
        re_path(rf"^{DATASET}/publish$", versions.publish, name="publish"),
        re_path(
            rf"^{DATASET}/duplicates$", duplicates.show_duplicates, name="duplicates"
        ),
        re_path(rf"^{DATASET}/duplicates/keep$", duplicates.keep, name="keep"),
        re_path(rf"^{DATASET}/settings$", settings.show_settings, name="settings"),
        re_path(rf"^{DATASET}/delete$", settings.delete, name="delete"),
        re_path(rf"^{DATASET}/download$", downloads.start, name="download"),
        re_path(rf"^{DATASET}/downloads$", downloads.show_downloads, name="downloads"),
        re_path(rf"^{VERSION}/archive$", downloads.archive, name="archive"),
        re_path(
            rf"^{DATASET}/archives/{TASK}$", downloads.archive_row, name="archive-row"
        ),
        re_path(
            rf"^{DATASET}/archives/{TASK}/file$",
            downloads.archive_file,
            name="archive-file",
        ),
        re_path(
            rf"^{DATASET}/additions/{TASK}$",
            additions.addition_row,
            name="addition-row",
        ),
        re_path(
            rf"^{DATASET}/additions/{TASK}/stop$",
            additions.stop_addition,
            name="addition-stop",
        ),
        re_path(rf"^{VERSION}$", entries.show_entries, name="version"),
        re_path(rf"^{DATASET}$", entries.show_entries, name="dataset"),
    ]
)
