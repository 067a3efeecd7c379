"""The REST API of the lake: its tables, and SQL over them."""

from __future__ import annotations

from typing import Any, ClassVar

from django.http import Http404
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from exports.lake import dropping
from exports.lake.doors import SQL_MAX_CHARS, find_table, list_tables, query
from inferences.store.api.scoped_views import StoreView
from istore.accounts.access import Caller
from istore.api.fields import MomentField, TextField, WholeField
from istore.api.schema import PROBLEMS
from istore.api.serializers import StrictSerializer
from istore.errors import Invalid
from istore.models import Project, Role

PROJECT = OpenApiParameter("project_id", str, description="Only those of one project.")


class ColumnSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    type = serializers.CharField(help_text="As Iceberg writes it.")
    key = serializers.CharField(
        allow_null=True, help_text="The metadata key whose values it holds."
    )


class LakeTableSerializer(serializers.Serializer[Any]):
    """A table of the lake as it is now."""

    name = serializers.CharField(help_text="namespace.name, as in SQL.")
    model_id = serializers.CharField()
    project_id = serializers.CharField()
    schedule_id = serializers.CharField(allow_null=True)
    shape = serializers.CharField()
    exported_until = MomentField(allow_null=True)
    location = serializers.CharField(
        allow_null=True, help_text="Null before the first row."
    )
    row_count = serializers.IntegerField()
    file_count = serializers.IntegerField()
    size = serializers.IntegerField()
    snapshot_count = serializers.IntegerField()
    columns = ColumnSerializer(many=True)


class LakeTablesSerializer(serializers.Serializer[Any]):
    results = LakeTableSerializer(many=True)
    next = serializers.CharField(allow_null=True)


class LakeQuerySerializer(StrictSerializer):
    """One SELECT over the tables that the caller may see."""

    sql = TextField(max_length=SQL_MAX_CHARS, allow_blank=False)
    project_id = TextField(required=False, help_text="Only the tables of one project.")
    limit = WholeField(min_value=1, max_value=2**31, required=False)


class LakeColumnSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    type = serializers.CharField(help_text="As DuckDB writes it.")


class LakeRowsSerializer(serializers.Serializer[Any]):
    columns = LakeColumnSerializer(many=True)
    rows = serializers.ListField(child=serializers.ListField())
    is_complete = serializers.BooleanField(
        help_text="False: rows beyond the limit are left out."
    )


class LakeTablesView(StoreView):
    """The tables of the lake that the caller may see."""

    @extend_schema(
        operation_id="list_lake_tables",
        parameters=[PROJECT],
        responses={200: LakeTablesSerializer, **PROBLEMS},
    )
    def get(self, request: Request) -> Response:
        for name in request.query_params:
            if name != "project_id":
                message = "There is no such parameter."
                raise Invalid(message, name, code="unknown-parameter")
        projects = seen(self.caller, request.query_params.get("project_id"))
        found = LakeTableSerializer(list_tables(projects), many=True).data
        return Response({"results": found, "next": None})


class LakeTableView(StoreView):
    """A table that stayed when its schedule was deleted."""

    needs: ClassVar = {"DELETE": Role.EDITOR}

    @extend_schema(
        operation_id="drop_lake_table",
        responses={204: None, **PROBLEMS},
    )
    def delete(self, request: Request, name: str) -> Response:
        row = find_table(self.caller.visible_projects(), name)
        if row is None:
            raise Http404
        if not self.caller.may(Role.EDITOR, row.model.project):
            raise PermissionDenied
        dropping.drop(self.caller, row)
        return Response(status=204)


class LakeQueryView(StoreView):
    """SQL over the tables of the lake that the caller may see."""

    needs: ClassVar = {"POST": Role.VIEWER}

    @extend_schema(
        operation_id="query_lake",
        request=LakeQuerySerializer,
        responses={200: LakeRowsSerializer, **PROBLEMS},
    )
    def post(self, request: Request) -> Response:
        asked = LakeQuerySerializer.parse(request.data)
        projects = seen(self.caller, asked.get("project_id"))
        found = query(projects, asked["sql"], asked.get("limit"))
        return Response(LakeRowsSerializer(found).data)


def seen(caller: Caller, project_id: str | None) -> list[Project]:
    """Return the projects that the caller may see, or the one that is named. Raises a 400."""
    found = caller.visible_projects()
    if project_id is None:
        return list(found)
    named = list(found.filter(project_id=project_id))
    if not named:
        raise Invalid("There is no such project.", "project_id")
    return named
