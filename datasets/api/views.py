"""The REST API of datasets: each view parses the request, calls ``lifecycle``, answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.http import Http404, HttpResponseBase
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from datasets import duplicates, lifecycle, listing, summary
from datasets.api.serializers import (
    AddingTaskSerializer,
    AddingTasksSerializer,
    AdditionSerializer,
    ComparisonSerializer,
    DatasetArchiveSerializer,
    DatasetArchivesSerializer,
    DatasetChangeSerializer,
    DatasetSerializer,
    DatasetsSerializer,
    DistributionSerializer,
    DuplicatesSerializer,
    EntriesSerializer,
    MovedSerializer,
    MoveSerializer,
    NewArchiveSerializer,
    NewDatasetSerializer,
    PublishSerializer,
    RemovalSerializer,
    RemovedSerializer,
    SummarySerializer,
    VersionsSerializer,
)
from datasets.distribution import distribution_of
from datasets.models import AddingTask, Dataset, DatasetArchive
from exports.models import CONTENT_TYPES
from inferences.models import RegisteredModel
from inferences.previews.media import serve
from inferences.search import text
from inferences.search.filters import Filter
from inferences.store.api.scoped_views import ProjectView
from istore.api.access import RolePermission
from istore.api.schema import PROBLEMS
from istore.api.tasks import (
    ResumeTaskView,
    ShowTaskView,
    StopTaskView,
    TaskView,
    operation,
)
from istore.db.statement_timeout import statement_timeout
from istore.errors import Invalid
from istore.models import Project
from istore.tasks.paging import find_task

TASKS_LISTED = 100
DUPLICATES_MAX = 100


class DatasetsIn(ProjectView):
    """A view of a project's datasets; changing them needs an editor."""

    needs: ClassVar = {}

    def project(self, project_id: str) -> Project:
        project = super().project(project_id)
        role = RolePermission.role(self.request, self)
        if not self.caller.may(role, project):
            raise PermissionDenied(f"This needs the role {role.label.lower()}.")
        return project

    def dataset(self, project_id: str, name: str) -> Dataset:
        project = self.project(project_id)
        found = Dataset.objects.live().filter(project=project, name=name).first()
        if found is None:
            raise Http404
        found.project = project
        return found

    def version(self, dataset: Dataset, number: str) -> int:
        """Return the number of a version that is given as a number or as ``working``."""
        if number == "working":
            return dataset.working
        if 0 < int(number) <= dataset.working:
            return int(number)
        raise Http404


class DatasetsView(DatasetsIn):
    """The datasets of a project, by name; making another."""

    @extend_schema(
        operation_id="list_datasets", responses={200: DatasetsSerializer, **PROBLEMS}
    )
    def get(self, request: Request, project_id: str) -> Response:
        project = self.project(project_id)
        found = Dataset.objects.live().filter(project=project).select_related("project")
        return Response(DatasetsSerializer({"results": found, "next": None}).data)

    @extend_schema(
        operation_id="create_dataset",
        request=NewDatasetSerializer,
        responses={201: DatasetSerializer, **PROBLEMS},
    )
    def post(self, request: Request, project_id: str) -> Response:
        project = self.project(project_id)
        values = NewDatasetSerializer.parse(request.data)
        dataset = lifecycle.create(self.caller, project, **values)
        return Response(DatasetSerializer(dataset).data, status=201)


class DatasetView(DatasetsIn):
    """One dataset."""

    @extend_schema(
        operation_id="get_dataset", responses={200: DatasetSerializer, **PROBLEMS}
    )
    def get(self, request: Request, project_id: str, name: str) -> Response:
        return Response(DatasetSerializer(self.dataset(project_id, name)).data)

    @extend_schema(
        operation_id="change_dataset",
        request=DatasetChangeSerializer,
        responses={200: DatasetSerializer, **PROBLEMS},
    )
    def patch(self, request: Request, project_id: str, name: str) -> Response:
        dataset = self.dataset(project_id, name)
        values = DatasetChangeSerializer.parse(request.data)
        changed = lifecycle.change(self.caller, dataset, **values)
        return Response(DatasetSerializer(changed).data)

    @extend_schema(operation_id="delete_dataset", responses={204: None, **PROBLEMS})
    def delete(self, request: Request, project_id: str, name: str) -> Response:
        lifecycle.delete(self.caller, self.dataset(project_id, name))
        return Response(status=204)


class VersionsView(DatasetsIn):
    """The published versions, newest first; publishing the working one."""

    @extend_schema(
        operation_id="list_dataset_versions",
        responses={200: VersionsSerializer, **PROBLEMS},
    )
    def get(self, request: Request, project_id: str, name: str) -> Response:
        dataset = self.dataset(project_id, name)
        told = [_version_body(each) for each in dataset.versions.all()]
        return Response(VersionsSerializer({"results": told, "next": None}).data)

    @extend_schema(
        operation_id="publish_dataset_version",
        request=PublishSerializer,
        responses={201: SummarySerializer, **PROBLEMS},
    )
    def post(self, request: Request, project_id: str, name: str) -> Response:
        dataset = self.dataset(project_id, name)
        note = PublishSerializer.parse(request.data).get("note", "")
        version = lifecycle.publish(self.caller, dataset, note)
        return Response(SummarySerializer(_version_body(version)).data, status=201)


class VersionView(DatasetsIn):
    """What one version holds; the working one is counted now."""

    @extend_schema(
        operation_id="get_dataset_version",
        responses={200: SummarySerializer, **PROBLEMS},
    )
    def get(
        self, request: Request, project_id: str, name: str, number: str
    ) -> Response:
        dataset = self.dataset(project_id, name)
        version = self.version(dataset, number)
        if version != dataset.working:
            told = _version_body(dataset.versions.get(number=version))
        else:
            with statement_timeout():
                counted = summary.of_version(dataset, version)
            told = {
                **counted,
                "version": version,
                "is_published": False,
                "note": "",
                "published_at": None,
                "published_by": None,
                "splitting": dataset.splitting,
            }
        return Response(SummarySerializer(told).data)


def _version_body(version: Any) -> dict[str, Any]:
    return {
        **version.told,
        "version": version.number,
        "is_published": True,
        "note": version.note,
        "published_at": version.published_at,
        "published_by": version.published_by,
        "splitting": version.splitting,
    }


class DistributionView(DatasetsIn):
    """How many entries of a version have each label, by split."""

    @extend_schema(
        operation_id="get_dataset_distribution",
        parameters=[OpenApiParameter("query", str)],
        responses={200: DistributionSerializer, **PROBLEMS},
    )
    def get(
        self, request: Request, project_id: str, name: str, number: str
    ) -> Response:
        dataset = self.dataset(project_id, name)
        version = self.version(dataset, number)
        given = request.query_params
        _check_names(given, ("query",))
        filters = _query(given["query"]) if given.get("query") else None
        with statement_timeout(), refused_filters():
            found = distribution_of(dataset, version, filters)
        return Response(DistributionSerializer(found).data)


class DuplicatesView(DatasetsIn):
    """Entries of the working version with equal inputs, or nearly equal ones.

    Pages end after a while, with a cursor and perhaps without a group.
    """

    PARAMETERS = ("kind", "limit", "cursor")

    @extend_schema(
        operation_id="list_dataset_duplicates",
        parameters=[
            OpenApiParameter("kind", str, enum=["within", "across", "alike"]),
            OpenApiParameter("limit", str),
            OpenApiParameter("cursor", str),
        ],
        responses={200: DuplicatesSerializer, **PROBLEMS},
    )
    def get(self, request: Request, project_id: str, name: str) -> Response:
        dataset = self.dataset(project_id, name)
        given = request.query_params
        _check_names(given, self.PARAMETERS)
        limit = _whole(given.get("limit"), "limit", duplicates.GROUPS, DUPLICATES_MAX)
        cursor = given.get("cursor", "")
        if cursor and not duplicates.CURSOR.fullmatch(cursor):
            raise Invalid("It is no cursor of this list.", "cursor")
        with statement_timeout():
            match given.get("kind", "within"):
                case "within":
                    found = duplicates.within(dataset, cursor, limit)
                case "across":
                    found = duplicates.across(dataset, cursor, limit)
                case "alike":
                    found = duplicates.Groups(duplicates.alike(dataset, limit=limit))
                case _:
                    raise Invalid("It is within, across or alike.", "kind")
        return Response(DuplicatesSerializer(found).data)


def _check_names(given: Any, known: tuple[str, ...]) -> None:
    for parameter in given:
        if parameter not in known:
            message = "There is no such parameter."
            raise Invalid(message, parameter, code="unknown-parameter")


class EntriesView(DatasetsIn):
    """The entries of a version; adding inferences to the working one."""

    PARAMETERS = ("limit", "cursor", "label", "query")

    @extend_schema(
        operation_id="list_dataset_entries",
        parameters=[OpenApiParameter(name, str) for name in PARAMETERS],
        responses={200: EntriesSerializer, **PROBLEMS},
    )
    def get(
        self, request: Request, project_id: str, name: str, number: str
    ) -> Response:
        dataset = self.dataset(project_id, name)
        version = self.version(dataset, number)
        given = request.query_params
        _check_names(given, self.PARAMETERS)
        limit = _whole(given.get("limit"), "limit", listing.PAGE, listing.PAGE_MAX)
        after = _whole(given.get("cursor"), "cursor", 0, 2**63 - 1)
        filters = _query(given.get("query", ""))
        with statement_timeout(), refused_filters():
            page, following = listing.entries_page(
                dataset,
                version,
                limit=limit,
                after=after,
                label=given.get("label"),
                filters=filters,
            )
        content = {
            "results": page,
            "next": None if following is None else str(following),
        }
        return Response(EntriesSerializer(content).data)


def _query(written: str) -> Filter:
    try:
        return text.parse(written)
    except text.TextQueryError as error:
        raise Invalid(str(error), "query") from None


@contextmanager
def refused_filters() -> Iterator[None]:
    """Raise ``Invalid`` for a filter that the entries of a dataset cannot be asked for."""
    try:
        yield
    except ValidationError as error:
        raise Invalid(" ".join(error.messages), "query") from None


def _whole(text: str | None, name: str, default: int, most: int) -> int:
    if text is None:
        return default
    if not text.isascii() or not text.isdecimal() or not 0 < int(text[:20]) <= most:
        raise Invalid(f"A whole number from 1 to {most}.", name)
    return int(text)


class AdditionsView(DatasetsIn):
    """Tasks that add a selection, newest first; opening another."""

    @extend_schema(
        operation_id="list_dataset_additions",
        responses={200: AddingTasksSerializer, **PROBLEMS},
    )
    def get(self, request: Request, project_id: str, name: str) -> Response:
        tasks = self.dataset(project_id, name).adding_tasks.select_related("model")
        found = tasks.order_by("-created_at")[:TASKS_LISTED]
        return Response(AddingTasksSerializer({"results": found, "next": None}).data)

    @extend_schema(
        operation_id="add_to_dataset",
        request=AdditionSerializer,
        responses={201: AddingTaskSerializer, **PROBLEMS},
    )
    def post(self, request: Request, project_id: str, name: str) -> Response:
        dataset = self.dataset(project_id, name)
        wanted = AdditionSerializer.parse(request.data)
        models = RegisteredModel.objects.visible_to(self.caller)
        model = models.filter(
            model_id=wanted["model_id"], project=dataset.project
        ).first()
        if model is None:
            raise Invalid("The project has no such model.", "model_id")
        task = lifecycle.add(
            self.caller,
            dataset,
            model,
            wanted["selection"],
            wanted["asked"],
            skip_duplicates=wanted["skip_duplicates"],
        )
        return Response(AddingTaskSerializer(task).data, status=201)


class OneAddition(DatasetsIn, TaskView):
    """A view of one such task."""

    serializer = AddingTaskSerializer

    def task(self, project_id: str, name: str, task_id: str) -> AddingTask:
        tasks = self.dataset(project_id, name).adding_tasks.select_related("model")
        return find_task(tasks, task_id)


@operation("get_dataset_addition")
class AdditionView(OneAddition, ShowTaskView):
    """One such task, as it is now."""


@operation("stop_dataset_addition")
class StopAdditionView(OneAddition, StopTaskView):
    """Ends the task where it is; what was added stays."""

    ended_code = "task-already-ended"


@operation("retry_dataset_addition")
class RetryAdditionView(OneAddition, ResumeTaskView):
    """Goes on with a task that failed or was stopped."""


class RemoveEntriesView(DatasetsIn):
    """Takes entries out of the working version."""

    @extend_schema(
        operation_id="remove_dataset_entries",
        request=RemovalSerializer,
        responses={200: RemovedSerializer, **PROBLEMS},
    )
    def post(self, request: Request, project_id: str, name: str) -> Response:
        dataset = self.dataset(project_id, name)
        wanted = RemovalSerializer.parse(request.data)
        removed = lifecycle.remove_entries(self.caller, dataset, wanted["entry_ids"])
        return Response({"removed": removed})


class MoveEntriesView(DatasetsIn):
    """Moves entries to a split, and with each those of the same input or group."""

    @extend_schema(
        operation_id="move_dataset_entries",
        request=MoveSerializer,
        responses={200: MovedSerializer, **PROBLEMS},
    )
    def post(self, request: Request, project_id: str, name: str) -> Response:
        dataset = self.dataset(project_id, name)
        wanted = MoveSerializer.parse(request.data)
        moved = lifecycle.move_entries(
            self.caller, dataset, wanted["entry_ids"], wanted["split"]
        )
        return Response({"moved": moved})


class CompareView(DatasetsIn):
    """What became of one version on the way to another."""

    @extend_schema(
        operation_id="compare_dataset_versions",
        responses={200: ComparisonSerializer, **PROBLEMS},
    )
    def get(
        self, request: Request, project_id: str, name: str, before: str, after: str
    ) -> Response:
        dataset = self.dataset(project_id, name)
        first, second = self.version(dataset, before), self.version(dataset, after)
        with statement_timeout():
            found = summary.compare(dataset, first, second)
        return Response(ComparisonSerializer(found).data)


class ArchivesView(DatasetsIn):
    """Archives of the versions, newest first; writing another."""

    @extend_schema(
        operation_id="list_dataset_archives",
        responses={200: DatasetArchivesSerializer, **PROBLEMS},
    )
    def get(self, request: Request, project_id: str, name: str) -> Response:
        dataset = self.dataset(project_id, name)
        found = dataset.archives.order_by("-created_at")[:TASKS_LISTED]
        return Response(
            DatasetArchivesSerializer({"results": found, "next": None}).data
        )


class NewArchiveView(DatasetsIn):
    @extend_schema(
        operation_id="create_dataset_archive",
        request=NewArchiveSerializer,
        responses={201: DatasetArchiveSerializer, **PROBLEMS},
    )
    def post(
        self, request: Request, project_id: str, name: str, number: str
    ) -> Response:
        dataset = self.dataset(project_id, name)
        wanted = NewArchiveSerializer.parse(request.data)
        task = lifecycle.archive(
            self.caller, dataset, self.version(dataset, number), **wanted
        )
        return Response(DatasetArchiveSerializer(task).data, status=201)


class OneArchive(DatasetsIn, TaskView):
    """A view of one archive."""

    serializer = DatasetArchiveSerializer

    def task(self, project_id: str, name: str, task_id: str) -> DatasetArchive:
        return find_task(self.dataset(project_id, name).archives, task_id)


@operation("get_dataset_archive")
class ArchiveView(OneArchive, ShowTaskView):
    """One archive, as it is now."""


@operation("stop_dataset_archive")
class StopArchiveView(OneArchive, StopTaskView):
    """Ends the writing of an archive; it leaves nothing behind."""

    ended_code = "task-already-ended"


@operation("retry_dataset_archive")
class RetryArchiveView(OneArchive, ResumeTaskView):
    """Begins again with an archive that failed or was stopped."""


class ArchiveFileView(OneArchive):
    """The archive itself, or the range of it that is asked for."""

    @extend_schema(
        operation_id="get_dataset_archive_file",
        responses={(200, "*/*"): bytes, **PROBLEMS},
    )
    def get(
        self, request: Request, project_id: str, name: str, task_id: str
    ) -> HttpResponseBase:
        task = self.task(project_id, name, task_id)
        if not task.has_archive:
            raise Http404
        content_type = CONTENT_TYPES[task.container]
        return serve(request, task.archive_key, content_type, task.filename)
