"""The OpenAPI description: every operation lists the problems it may answer with."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiResponse, inline_serializer
from rest_framework import serializers

Problem = inline_serializer(
    "Problem",
    {
        "type": serializers.CharField(),
        "title": serializers.CharField(),
        "status": serializers.IntegerField(),
        "code": serializers.CharField(),
        "detail": serializers.CharField(),
        "request_id": serializers.CharField(allow_null=True),
        "projects": serializers.ListField(
            child=serializers.CharField(),
            required=False,
            help_text="With `ambiguous-model`: the caller's projects that have the id.",
        ),
        "errors": serializers.ListField(
            child=serializers.DictField(child=serializers.CharField()), required=False
        ),
    },
)
MEDIA_TYPE = "application/problem+json"
REASONS = {
    400: "What was sent is not right; `errors` name the places.",
    401: "No token, or one that is unknown, expired or revoked.",
    403: "The caller's role does not cover this.",
    404: "Absent, removed, or another project's: one and the same answer.",
    405: "The resource does not know the method.",
    409: "It conflicts with what is there.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    422: "The question would take too long.",
    429: "Too many calls; `Retry-After` says how long to wait.",
    503: "A server behind this one does not answer.",
}


def leave_out_second_addresses(
    endpoints: list[tuple[Any, ...]],
) -> list[tuple[Any, ...]]:
    """Return the endpoints without those whose path names the project.

    ``istore.addresses`` gives each call of a model two paths; only the short one is described.
    """
    second = "/projects/{project_id}/models/{model_id}"
    return [each for each in endpoints if second not in each[0]]


PROBLEMS: dict[Any, OpenApiResponse] = {
    (status, MEDIA_TYPE): OpenApiResponse(Problem, description=why)
    for status, why in REASONS.items()
}


class BearerScheme(OpenApiAuthenticationExtension):
    """The security scheme ``Authorization: Bearer <token>``."""

    target_class = "istore.api.access.BearerAuthentication"
    match_subclasses = True
    name = "token"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer"}


class Schema(AutoSchema):
    """The description of one operation, grouped by its resource below /api/v1."""

    def get_tags(self) -> list[str]:
        if self.path.startswith(
            ("/api/v1/inferenceservices", "/api/v1/inferencesessions")
        ):
            return ["services"]
        return ["inferences" if "/inferences" in self.path else "models"]

    def is_excluded(self) -> bool:
        # GET and DELETE of "inferences/filter" mean the inference with the id "filter",
        # which is described with the inferences.
        named = getattr(self.view, "inference_id", "")
        return bool(named) and self.method in ("GET", "DELETE")
