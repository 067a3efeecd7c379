"""The same question to all models of a project."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from inferences.api.json_rows import to_json
from inferences.api.serializers import (
    CountSerializer,
    PageSerializer,
)
from inferences.models import RegisteredModel
from inferences.search.across import ProjectQuery
from inferences.search.api.filter_serializers import (
    FilteredSerializer,
    PaginationSerializer,
)
from inferences.search.counting import Count
from inferences.search.pagination import BadQuestion
from inferences.store.answer_fields import give_fields
from inferences.store.api.fields_field import FieldsField
from inferences.store.api.scoped_views import ProjectView
from istore.api.fields import FlagField, WholeField
from istore.api.schema import PROBLEMS
from istore.api.serializers import ValueSerializer, optional
from istore.db.statement_timeout import statement_timeout
from istore.errors import Invalid
from istore.models import Project


class ProjectQuerySerializer(ValueSerializer, FilteredSerializer):
    value_class = ProjectQuery

    pagination = PaginationSerializer(**optional)
    presign = FlagField(required=False, default=False)
    fields: Any = FieldsField(**optional)


class ProjectCountSerializer(FilteredSerializer):
    limit = WholeField(min_value=1, max_value=2**31, **optional)


class FilterProjectView(ProjectView):
    """The inferences of all models of a project, one page at a time, by time."""

    @extend_schema(
        operation_id="filter_project_inferences",
        request=ProjectQuerySerializer,
        responses={200: PageSerializer, **PROBLEMS},
    )
    def post(self, request: Request, project_id: str) -> Response:
        project = self.project(project_id)
        query: ProjectQuery = ProjectQuerySerializer.parse(request.data)
        models = self.models(project)
        return Response(self.read(lambda: _page(query, project, models)))


def _page(
    query: ProjectQuery, project: Project, models: list[RegisteredModel]
) -> dict[str, Any]:
    try:
        with statement_timeout():
            page = query.page(project.pk, models)
    except BadQuestion as error:
        raise Invalid(str(error), *error.path) from None
    give_fields(page.inferences, query.fields)
    rows = [to_json(each, presign=query.presign) for each in page.inferences]
    return {"results": rows, "next": page.next}


class CountProjectView(ProjectView):
    """How many inferences of all models of a project match."""

    @extend_schema(
        operation_id="count_project_inferences",
        request=ProjectCountSerializer,
        responses={200: CountSerializer, **PROBLEMS},
    )
    def post(self, request: Request, project_id: str) -> Response:
        project = self.project(project_id)
        wanted = ProjectCountSerializer.parse(request.data)
        given = {"filters": wanted["filters"]} if "filters" in wanted else {}
        query = ProjectQuery(**given)
        models = self.models(project)
        count = self.read(lambda: _count(query, models, wanted.get("limit")))
        return Response({"count": count.number, "is_exact": count.is_exact})


def _count(
    query: ProjectQuery, models: list[RegisteredModel], limit: int | None
) -> Count:
    with statement_timeout():
        return query.count(models, limit)
