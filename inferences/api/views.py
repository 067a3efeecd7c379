"""The REST API of models and inferences: each view parses, asks, answers."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.http import Http404, HttpResponse, HttpResponseBase
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from inferences.api.json_rows import read_page, to_json
from inferences.api.serializers import (
    CountSerializer,
    DeletedSerializer,
    InferenceSerializer,
    ModelSerializer,
    ModelsSerializer,
    NewModelSerializer,
    PageSerializer,
    ServerSettingsSerializer,
)
from inferences.models import Inference, RegisteredModel
from inferences.previews.media import serve_blob
from inferences.search.api.filter_serializers import (
    CountQuerySerializer,
    InferenceQuerySerializer,
    PaginationSerializer,
)
from inferences.search.counting import Count, count_matching
from inferences.search.filters import Filter, InferenceFilter
from inferences.search.pagination import BadQuestion, Pagination, TooDeep
from inferences.search.query import InferenceQuery
from inferences.search.url_parameters import InferenceFilterSet
from inferences.store import removal
from inferences.store.answer_fields import FIELDS, give_fields
from inferences.store.api.fields_field import FieldsField
from inferences.store.api.scoped_views import StoreView
from inferences.store.registration import change_settings, register_model
from istore.api.schema import PROBLEMS
from istore.db.statement_timeout import each_statement_limited, statement_timeout
from istore.errors import Invalid, Unprocessable
from istore.json_text import format_moment
from istore.models import Project, Role


class ModelsView(StoreView):
    """The models of the caller's projects; registering another."""

    @extend_schema(
        operation_id="list_models",
        responses={200: ModelsSerializer, **PROBLEMS},
    )
    def get(self, request: Request) -> Response:
        models = RegisteredModel.objects.visible_to(self.caller).select_related(
            "project"
        )
        return Response(
            {"results": ModelSerializer(models, many=True).data, "next": None}
        )

    @extend_schema(
        operation_id="register_model",
        request=NewModelSerializer,
        responses={200: ModelSerializer, 201: ModelSerializer, **PROBLEMS},
    )
    def post(self, request: Request) -> Response:
        values = NewModelSerializer.parse(request.data)
        project = self._project(values.pop("project_id"))
        model, new = register_model(self.caller, project, **values)
        return Response(ModelSerializer(model).data, status=201 if new else 200)

    def _project(self, project_id: str) -> Project:
        caller = self.caller
        project = caller.visible_projects().filter(project_id=project_id).first()
        if project is None:
            raise Invalid("There is no such project.", "project_id")
        if not caller.may(Role.EDITOR, project):
            raise PermissionDenied("This needs the role editor.")
        return project


class ModelView(StoreView):
    """One model."""

    @extend_schema(
        operation_id="get_model", responses={200: ModelSerializer, **PROBLEMS}
    )
    def get(self, request: Request, model_id: str) -> Response:
        return Response(ModelSerializer(self.registered_model(model_id)).data)


class ServerSettingsView(StoreView):
    """How a model is served and stored."""

    @extend_schema(
        operation_id="change_inference_server_settings",
        request=ServerSettingsSerializer,
        responses={200: ModelSerializer, **PROBLEMS},
    )
    def patch(self, request: Request, model_id: str) -> Response:
        model = self.registered_model(model_id)
        values = ServerSettingsSerializer.parse(request.data)
        changed = change_settings(self.caller, model, **values)
        return Response(ModelSerializer(changed).data)


FIELDS_PARAMETER = OpenApiParameter(
    "fields",
    str,
    enum=FIELDS,
    many=True,
    description="What is read from answers and inputs, several parted by commas. Of one "
    "inference all when not given, of a list none.",
)


def _named_fields(request: Request) -> tuple[str, ...] | None:
    """The fields a query string asks for; None: it says nothing of them."""
    given = request.query_params.getlist("fields")
    if not given:
        return None
    try:
        fields: tuple[str, ...] = FieldsField().run_validation(",".join(given))
    except serializers.ValidationError as error:
        raise serializers.ValidationError({"fields": error.detail}) from None
    return fields


class InferencesView(StoreView):
    """The list as a plain GET, for people, browsers and scripts."""

    PAGING = ("direction", "limit", "offset", "cursor", "sort", "presign", "fields")

    @extend_schema(
        operation_id="list_inferences",
        parameters=[FIELDS_PARAMETER],
        responses={200: PageSerializer, **PROBLEMS},
    )
    def get(self, request: Request, model_id: str) -> HttpResponse:
        model = self.registered_model(model_id)
        query = InferenceQuery(
            filters=read_filters(request, also=self.PAGING),
            pagination=self._pagination(request),
            presign=request.query_params.get("presign") == "true",
            fields=_named_fields(request) or (),
        )
        return self.respond(self.read(partial(read_page_body, query, model)))

    def _pagination(self, request: Request) -> Pagination:
        given: dict[str, Any] = {
            n: request.query_params[n]
            for n in self.PAGING[:5]
            if n in request.query_params
        }
        for name in ("limit", "offset"):
            if name in given and given[name].isdecimal() and len(given[name]) < 12:
                given[name] = int(given[name])
        pagination: Pagination = PaginationSerializer.parse(given)
        return pagination


def read_filters(request: Request, also: tuple[str, ...] = ()) -> Filter:
    """The filter a query string says, or a 400 that names the parameter."""
    known = {*InferenceFilterSet.base_filters, *also}
    for name in request.query_params:
        if name not in known:
            raise Invalid("There is no such parameter.", name, code="unknown-parameter")
        # A blank is no value; only a query may be one, and then it is everything.
        values = request.query_params.getlist(name)
        if name in InferenceFilterSet.base_filters and name != "q" and "" in values:
            raise Invalid("It has no value; leave it out.", name)
    if not InferenceFilterSet.base_filters.keys() & request.query_params.keys():
        return InferenceFilter()
    filterset = InferenceFilterSet(request.query_params, Inference.objects.none())
    try:
        return filterset.inference_filter
    except ValidationError:
        name, errors = next(iter(filterset.form.errors.items()))
        path = () if name == "__all__" else (name,)
        raise Invalid(errors[0], *path) from None


class InferenceView(StoreView):
    """One inference."""

    inference_id = ""

    @extend_schema(
        operation_id="get_inference",
        parameters=[FIELDS_PARAMETER],
        responses={200: InferenceSerializer, **PROBLEMS},
    )
    def get(
        self, request: Request, model_id: str, inference_id: str = ""
    ) -> HttpResponse:
        inference = self.inference(model_id, inference_id or self.inference_id)
        named = _named_fields(request)
        give_fields([inference], FIELDS if named is None else named)
        presign = request.query_params.get("presign") == "true"
        return self.respond(to_json(inference, presign=presign))

    @extend_schema(
        operation_id="delete_inference",
        responses={200: DeletedSerializer, **PROBLEMS},
    )
    def delete(
        self, request: Request, model_id: str, inference_id: str = ""
    ) -> Response:
        model = self.registered_model(model_id)
        named = inference_id or self.inference_id
        removed = removal.remove_one(self.caller, model, named)
        if removed is None:
            raise Http404
        answer: dict[str, object] = {"inference_id": named}
        if removed.bytes_gone_by:
            answer["bytes_gone_by"] = removed.bytes_gone_by
        return Response(DeletedSerializer(answer).data)


class FilterInferencesView(InferenceView):
    """The inferences of a model that match every filter, one page at a time."""

    needs: ClassVar = {"POST": Role.VIEWER}
    inference_id = "filter"  # a caller may have chosen it for an inference

    @extend_schema(
        operation_id="filter_inferences",
        request=InferenceQuerySerializer,
        responses={200: PageSerializer, **PROBLEMS},
    )
    def post(self, request: Request, model_id: str) -> HttpResponse:
        model = self.registered_model(model_id)
        query: InferenceQuery = InferenceQuerySerializer.parse(request.data)
        return self.respond(self.read(partial(read_page_body, query, model)))


def read_page_body(query: InferenceQuery, model: RegisteredModel) -> dict[str, Any]:
    """Return the page of a query as ``PageSerializer`` describes it."""
    try:
        return _page(query, model)
    except BadQuestion as error:
        raise Invalid(str(error), *error.path) from None
    except TooDeep as error:
        raise Unprocessable("query-too-expensive", str(error)) from None


def _page(query: InferenceQuery, model: RegisteredModel) -> dict[str, Any]:
    query = replace(query, may_stop=True)
    if query.embedding is None and not query.fields:
        with each_statement_limited():
            rows = query.page_of(model, partial(read_page, presign=query.presign))
        return {
            "results": rows.inferences,
            "next": rows.next,
            **_searched_until(rows.searched_until),
        }
    with statement_timeout():
        page = query.page(model)
    give_fields(page.inferences, query.fields)
    results = [to_json(each, presign=query.presign) for each in page.inferences]
    answer = {
        "results": results,
        "next": page.next,
        **_searched_until(page.searched_until),
    }
    if page.vector_search:
        answer["vector_search"] = page.vector_search
    return answer


def _searched_until(moment: datetime | None) -> dict[str, str]:
    return {"searched_until": format_moment(moment)} if moment else {}


class CountInferencesView(InferenceView):
    """How many inferences of a model match every filter, exactly."""

    needs: ClassVar = {"POST": Role.VIEWER}
    inference_id = "count"

    @extend_schema(
        operation_id="count_inferences",
        request=CountQuerySerializer,
        parameters=[OpenApiParameter("limit", int, description="Count no further.")],
        responses={200: CountSerializer, **PROBLEMS},
    )
    def post(self, request: Request, model_id: str) -> HttpResponse:
        model = self.registered_model(model_id)
        query = CountQuerySerializer.parse(request.data)
        given = request.query_params.get("limit")
        limit = query.limit if given is None else self._limit(given)
        return self._counted(model, query.filters, limit)

    def get(
        self, request: Request, model_id: str, inference_id: str = ""
    ) -> HttpResponse:
        """With a ``limit`` the count of what the query string says, else the inference
        that is called "count"."""
        if "limit" not in request.query_params:
            return super().get(request, model_id, inference_id)
        model = self.registered_model(model_id)
        filters = read_filters(request, also=("limit",))
        limit = self._limit(request.query_params["limit"])
        return self._counted(model, filters, limit)

    def _limit(self, given: str) -> int:
        limit = int(given) if given.isdecimal() and len(given) < 10 else 0
        if not limit:
            raise Invalid("A whole number, from 1.", "limit")
        return limit

    def _counted(
        self, model: RegisteredModel, filters: Filter, limit: int | None
    ) -> HttpResponse:
        count = self.read(partial(_count, model, filters, limit))
        if limit is None:
            return self.respond({"count": count.number})
        return self.respond({"count": count.number, "is_exact": count.is_exact})


def _count(model: RegisteredModel, filters: Filter, limit: int | None) -> Count:
    with each_statement_limited():
        return count_matching(model, filters, limit)


class BlobView(StoreView):
    """The input or the answer of an inference, as it was stored; ranges are served."""

    @extend_schema(operation_id="get_blob", responses={(200, "*/*"): bytes, **PROBLEMS})
    def get(
        self, request: Request, model_id: str, inference_id: str, kind: str
    ) -> HttpResponseBase:
        return serve_blob(request, self.inference(model_id, inference_id), kind)
