"""``istore dataset``: fill datasets, publish versions, compare and fetch them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from inference_store import Client
from inference_store.cli import output
from inference_store.cli.account import client
from inference_store.cli.app import AsJson, app
from inference_store.cli.exporting import (
    ExportFailed,
    check_place,
    fetched,
    followed,
    progress_bars,
)
from inference_store.cli.selection import (
    Comparisons,
    Label,
    MinScore,
    Query,
    Since,
    Until,
    selection,
)
from inference_store.errors import NotFound
from inference_store.models import (
    DatasetAddition,
    DatasetChange,
    DatasetSelection,
    DatasetVersion,
    NewAdditionRequest,
    NewDatasetArchiveRequest,
    NewDatasetRequest,
    Splitting,
)

T = TypeVar("T")
datasets = typer.Typer(help="Sets of inputs to train with.", no_args_is_help=True)
app.add_typer(datasets, name="dataset")

ProjectId = Annotated[str, typer.Argument(metavar="PROJECT", help="Its id.")]
Name = Annotated[str, typer.Argument(metavar="DATASET", help="Its name.")]
Version = Annotated[
    str, typer.Argument(metavar="VERSION", help="A number, or working.")
]


@datasets.command("list")
def list_(project_id: ProjectId, as_json: AsJson = False) -> None:
    """The datasets of a project."""
    with client() as store:
        found = store.dataset.list_datasets(project_id)
    if as_json:
        for each in found:
            output.show_json(each)
        return
    rows = [
        (each.name, str(each.published_version), each.task_type, each.description)
        for each in found
    ]
    output.show_rows(("dataset", "version", "task", "what it is"), rows)


@datasets.command()
def create(
    project_id: ProjectId,
    name: Name,
    description: Annotated[str | None, typer.Option(help="What it is for.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a dataset without entries."""
    body = NewDatasetRequest(name=name, description=description)
    with client() as store:
        made = store.dataset.create_dataset(project_id, body)
    output.show_json(made) if as_json else print(made.name)


@datasets.command()
def add(
    project_id: ProjectId,
    name: Name,
    model_id: Annotated[str, typer.Argument(metavar="MODEL", help="Whose inferences.")],
    query: Query = None,
    since: Since = None,
    until: Until = None,
    label: Label = None,
    min_score: MinScore = None,
    metadata: Comparisons = None,
    skip_duplicates: Annotated[
        bool, typer.Option("--skip-duplicates", help="Leave out inputs that are there.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Add what matches to the working version, as copies, and wait for the end."""
    asked = selection(since, until, label, min_score, metadata, query).request()
    chosen = DatasetSelection(filters=asked.filters, query=asked.query)
    body = NewAdditionRequest(
        model_id=model_id, selection=chosen, skip_duplicates=skip_duplicates
    )
    with client() as store, progress_bars() as progress:
        begun = store.dataset.add_to_dataset(project_id, name, body)

        def look() -> DatasetAddition:
            return _there(store.dataset.get_addition(project_id, name, begun.id))

        ended = followed(begun, look, progress)
    if ended.state != "complete":
        raise ExportFailed(f"Adding ended {ended.state}: {ended.reason}")
    if as_json:
        output.show_json(ended)
        return
    for what, count in ended.counts.items():
        if count:
            print(f"{count} {what.replace('_', ' ')}")


@datasets.command()
def show(
    project_id: ProjectId,
    name: Name,
    version: Version = "working",
    as_json: AsJson = False,
) -> None:
    """What a version holds."""
    with client() as store:
        found = _there(store.dataset.get_version(project_id, name, version))
    if as_json:
        output.show_json(found)
        return
    _tell(found)


@datasets.command()
def publish(
    project_id: ProjectId,
    name: Name,
    note: Annotated[str, typer.Option(help="What is new.")] = "",
    as_json: AsJson = False,
) -> None:
    """Fix the working version for good."""
    with client() as store:
        made = store.dataset.publish_version(project_id, name, note)
    output.show_json(made) if as_json else _tell(made)


@datasets.command()
def split(
    project_id: ProjectId,
    name: Name,
    shares: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SPLIT=SHARE]...", help="train=0.8 test=0.2"),
    ] = None,
    seed: Annotated[int, typer.Option(help="The same gives the same split.")] = 0,
    group: Annotated[
        str | None, typer.Option(help="A metadata key whose groups stay together.")
    ] = None,
    value: Annotated[
        str | None, typer.Option(help="A metadata key that names the split itself.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Share the working version out; without shares there are no splits."""
    if group and value:
        raise ValueError("Either --group or --value.")
    kind = "group" if group else "value" if value else "share" if shares else "none"
    given = dict(_share(each) for each in shares or ())
    splitting = Splitting(
        kind=kind, shares=given or None, seed=seed, key=group or value
    )
    body = DatasetChange(splitting=splitting)
    with client() as store:
        store.dataset.change_dataset(project_id, name, body)
        found = _there(store.dataset.get_version(project_id, name))
    output.show_json(found) if as_json else _tell(found)


@datasets.command()
def compare(
    project_id: ProjectId,
    name: Name,
    before: Version,
    after: Version = "working",
    as_json: AsJson = False,
) -> None:
    """What became of one version on the way to another."""
    with client() as store:
        found = store.dataset.compare_versions(project_id, name, before, after)
    if as_json:
        output.show_json(found)
        return
    for what in ("added", "removed", "changed", "kept"):
        print(f"{getattr(found, what)} {what}")
    rows = [
        (label, str(pair["before"]), str(pair["after"]))
        for label, pair in found.labels.items()
    ]
    output.show_rows(("label", before, after), rows)


@datasets.command()
def download(
    project_id: ProjectId,
    name: Name,
    version: Annotated[int, typer.Argument(metavar="VERSION", help="A published one.")],
    format_: Annotated[
        str, typer.Option("--format", "-f", help="See: istore formats.")
    ] = "chariot",
    to: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="A file, or a directory to put it in."),
    ] = None,
    container: Annotated[str, typer.Option(help="zip or tar.")] = "zip",
    only: Annotated[
        str | None, typer.Option("--split", help="One split alone.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make an archive of a published version, and fetch it."""
    check_place(to)
    body = NewDatasetArchiveRequest(format=format_, container=container, split=only)
    with client() as store:
        task = store.dataset.create_archive(project_id, name, version, body)

        def look() -> Any:
            return _there(store.dataset.get_archive(project_id, name, task.id))

        path = fetched(task, look, to)
        ended = look()
    if as_json:
        output.show_json(ended.model_dump(mode="json") | {"path": str(path)})
    else:
        print(f"{path}: {ended.written_count} of {ended.expected_count} entries")


@datasets.command()
def remove(
    project_id: ProjectId,
    name: Name,
    entry_ids: Annotated[
        list[int], typer.Argument(metavar="ENTRY...", help="Numbers of entries.")
    ],
) -> None:
    """Take entries out of the working version."""
    with client() as store:
        print(store.dataset.remove_entries(project_id, name, entry_ids))


@datasets.command()
def delete(
    project_id: ProjectId,
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete a dataset with all its versions, for good."""
    if not yes:
        typer.confirm(f"Delete {name} with all its versions?", abort=True, err=True)
    with client() as store:
        _delete(store, project_id, name)


def _delete(store: Client, project_id: str, name: str) -> None:
    print(_there(store.dataset.delete_dataset(project_id, name)))


def _there(found: T | None) -> T:
    if found is None:
        raise NotFound("There is no such dataset or version.")
    return found


def _share(text: str) -> tuple[str, float]:
    name, equals, share = text.partition("=")
    if not equals:
        raise ValueError(f"{text!r} is not like train=0.8.")
    return name, float(share)


def _tell(found: DatasetVersion) -> None:
    state = "published" if found.is_published else "working"
    print(f"version {found.version} ({state}): {found.entries} entries")
    for title, counts in (("label", found.labels), ("split", found.splits)):
        if counts:
            largest = max(counts.values())
            rows = [
                (name or "(none)", str(n), output.bar(n, largest))
                for name, n in counts.items()
            ]
            output.show_rows((title, "entries", ""), rows)
