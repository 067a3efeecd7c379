"""``istore dataset``: fill datasets, publish versions, compare and download them."""

from __future__ import annotations

from typing import Annotated, TypeVar

import typer

from inference_store.cli import output
from inference_store.cli.account import client
from inference_store.cli.app import AsJson, Container, Format, Output, Yes, app
from inference_store.cli.exporting import (
    ExportFailed,
    check_place,
    download_archive,
    progress_bars,
    wait_for,
)
from inference_store.cli.selection import Selection, selecting
from inference_store.errors import NotFound
from inference_store.models import (
    Dataset,
    DatasetAddition,
    DatasetArchive,
    DatasetChange,
    DatasetSelection,
    DatasetVersion,
    NewAdditionRequest,
    NewDatasetArchiveRequest,
    NewDatasetRequest,
    Splitting,
)

T = TypeVar("T")
datasets = typer.Typer(
    help="Datasets: sets of inputs to train with.", no_args_is_help=True
)
app.add_typer(datasets, name="dataset")

ProjectId = Annotated[
    str, typer.Argument(metavar="PROJECT", help="The id of a project.")
]
Name = Annotated[str, typer.Argument(metavar="DATASET", help="The name of a dataset.")]
Version = Annotated[
    str, typer.Argument(metavar="VERSION", help="A number, or working.")
]


@datasets.command("list")
def list_(project_id: ProjectId, as_json: AsJson = False) -> None:
    """List the datasets of a project."""
    with client() as store:
        found = store.dataset.list_datasets(project_id)

    def row(dataset: Dataset) -> tuple[str, ...]:
        version = str(dataset.published_version)
        return dataset.name, version, dataset.task_type, dataset.description

    output.show_list(found, ("dataset", "version", "task", "what it is"), row, as_json)


@datasets.command()
def create(
    project_id: ProjectId,
    name: Name,
    description: Annotated[str | None, typer.Option(help="What it is for.")] = None,
    as_json: AsJson = False,
) -> None:
    """Create a dataset without entries."""
    body = NewDatasetRequest(name=name, description=description)
    with client() as store:
        dataset = store.dataset.create_dataset(project_id, body)
    output.show_json(dataset) if as_json else print(dataset.name)


@datasets.command()
@selecting()
def add(
    project_id: ProjectId,
    name: Name,
    model_id: Annotated[
        str, typer.Argument(metavar="MODEL", help="The model of the inferences.")
    ],
    chosen: Selection,
    skip_duplicates: Annotated[
        bool,
        typer.Option(
            "--skip-duplicates", help="Leave out inputs that the dataset has already."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Copy inferences that match to the working version, and wait until that is done."""
    request = chosen.request()
    body = NewAdditionRequest(
        model_id=model_id,
        selection=DatasetSelection(filters=request.filters, query=request.query),
        skip_duplicates=skip_duplicates,
    )
    with client() as store, progress_bars() as progress:
        task = store.dataset.add_to_dataset(project_id, name, body)

        def look() -> DatasetAddition:
            return _existing(store.dataset.get_addition(project_id, name, task.id))

        addition = wait_for(task, look, progress)
    if addition.state != "complete":
        raise ExportFailed(f"Adding ended {addition.state}: {addition.reason}")
    if as_json:
        output.show_json(addition)
        return
    for outcome, count in addition.counts.items():
        if count:
            print(f"{count} {outcome.replace('_', ' ')}")


@datasets.command()
def show(
    project_id: ProjectId,
    name: Name,
    version: Version = "working",
    as_json: AsJson = False,
) -> None:
    """Show the labels and splits of a version."""
    with client() as store:
        found = _existing(store.dataset.get_version(project_id, name, version))
    _show(found, as_json)


@datasets.command()
def publish(
    project_id: ProjectId,
    name: Name,
    note: Annotated[str, typer.Option(help="A note about the version.")] = "",
    as_json: AsJson = False,
) -> None:
    """Publish the working version, which then never changes."""
    with client() as store:
        _show(store.dataset.publish_version(project_id, name, note), as_json)


@datasets.command()
def split(
    project_id: ProjectId,
    name: Name,
    shares: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SPLIT=SHARE]...", help="train=0.8 test=0.2"),
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same splits.")] = 0,
    group: Annotated[
        str | None, typer.Option(help="A metadata key whose groups stay together.")
    ] = None,
    value: Annotated[
        str | None, typer.Option(help="A metadata key that names the split itself.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Split the working version by shares; without shares it has no splits."""
    if group and value:
        raise ValueError("Give either --group or --value.")
    kind = "group" if group else "value" if value else "share" if shares else "none"
    splitting = Splitting(
        kind=kind,
        shares=dict(map(_share, shares or ())) or None,
        seed=seed,
        key=group or value,
    )
    body = DatasetChange(splitting=splitting)
    with client() as store:
        store.dataset.change_dataset(project_id, name, body)
        _show(_existing(store.dataset.get_version(project_id, name)), as_json)


@datasets.command()
def compare(
    project_id: ProjectId,
    name: Name,
    before: Version,
    after: Version = "working",
    as_json: AsJson = False,
) -> None:
    """Compare the entries and labels of two versions."""
    with client() as store:
        comparison = store.dataset.compare_versions(project_id, name, before, after)
    if as_json:
        output.show_json(comparison)
        return
    for outcome in ("added", "removed", "changed", "kept"):
        print(f"{getattr(comparison, outcome)} {outcome}")
    rows = [
        (label, str(pair["before"]), str(pair["after"]))
        for label, pair in comparison.labels.items()
    ]
    output.show_rows(("label", before, after), rows)


@datasets.command()
def download(
    project_id: ProjectId,
    name: Name,
    version: Annotated[
        int, typer.Argument(metavar="VERSION", help="Of a published version.")
    ],
    format_: Format = "chariot",
    to: Output = None,
    container: Container = "zip",
    only: Annotated[
        str | None, typer.Option("--split", help="Only this split.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Export a published version as an archive, and download it."""
    check_place(to)
    body = NewDatasetArchiveRequest(format=format_, container=container, split=only)
    with client() as store:
        task = store.dataset.create_archive(project_id, name, version, body)

        def look() -> DatasetArchive:
            return _existing(store.dataset.get_archive(project_id, name, task.id))

        path = download_archive(task, look, to)
        archive = look()
    if as_json:
        output.show_json(archive.model_dump(mode="json") | {"path": str(path)})
    else:
        print(f"{path}: {archive.written_count} of {archive.expected_count} entries")


@datasets.command()
def remove(
    project_id: ProjectId,
    name: Name,
    entry_ids: Annotated[
        list[int], typer.Argument(metavar="ENTRY...", help="Ids of entries.")
    ],
) -> None:
    """Remove entries from the working version."""
    with client() as store:
        print(store.dataset.remove_entries(project_id, name, entry_ids))


@datasets.command()
def delete(
    project_id: ProjectId,
    name: Name,
    yes: Yes = False,
) -> None:
    """Delete a dataset with all its versions permanently."""
    if not yes:
        typer.confirm(f"Delete {name} with all its versions?", abort=True, err=True)
    with client() as store:
        print(_existing(store.dataset.delete_dataset(project_id, name)))


def _existing(found: T | None) -> T:
    if found is None:
        raise NotFound("There is no such dataset or version.")
    return found


def _share(text: str) -> tuple[str, float]:
    name, equals, share = text.partition("=")
    if not equals:
        raise ValueError(f"{text!r} is not like train=0.8.")
    return name, float(share)


def _show(version: DatasetVersion, as_json: bool) -> None:
    if as_json:
        output.show_json(version)
        return
    state = "published" if version.is_published else "working"
    print(f"version {version.version} ({state}): {version.entries} entries")
    for title, counts in (("label", version.labels), ("split", version.splits)):
        if counts:
            largest = max(counts.values())
            rows = [
                (name or "(none)", str(n), output.bar(n, largest))
                for name, n in counts.items()
            ]
            output.show_rows((title, "entries", ""), rows)
