"""Services and sessions as JSON, with the names of the client's ``schema`` module."""

from __future__ import annotations

from typing import Any

import orjson
from django.conf import settings
from rest_framework import serializers

from istore.api.fields import MomentField, OutsideIdField, TextField, WholeField
from istore.api.serializers import StrictSerializer, optional
from istore.outside_ids import OUTSIDE_ID
from services.models import (
    InferenceService,
    InferenceSession,
    Runner,
    Status,
    configuration_of,
)
from services.runners.checking import check_configuration, is_endpoint
from services.runners.config_fields import BadConfiguration
from services.runners.mocks import Mock
from services.runners.pipelines import check_pipeline
from services.runners.schemas import check_schema
from services.runners.servers import JSON, OPENAI

SCHEMA_BYTES = 256 * 1024
ADAPTERS = 100
NAME = {"max_length": 255, "allow_blank": False, "validators": [OUTSIDE_ID]}


class AdapterSerializer(StrictSerializer):
    kind = TextField(max_length=64, allow_blank=False)
    configuration = serializers.DictField(**optional)


class PipelineField(serializers.ListField):
    """Adapters, one after the other, each of a known kind and with what it needs."""

    child = AdapterSerializer()

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=ADAPTERS, **options)

    def to_internal_value(self, data: Any) -> list[dict[str, Any]]:
        adapters = super().to_internal_value(data)
        try:
            check_pipeline(adapters)
        except ValueError as error:
            raise serializers.ValidationError(str(error)) from None
        return adapters


class OutputSchemaField(serializers.DictField):
    """A JSON schema of what the service answers."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        schema = super().to_internal_value(data)
        if len(orjson.dumps(schema)) > SCHEMA_BYTES:
            raise serializers.ValidationError("The schema is too large.")
        try:
            check_schema(schema)
        except ValueError as error:
            raise serializers.ValidationError(str(error)) from None
        return schema


class InterfaceSerializer(StrictSerializer):
    """How data goes in and out. The pipelines are applied on the caller's side."""

    endpoint = TextField(max_length=255)
    outputSchema = OutputSchemaField(**optional)
    inputPipeline = PipelineField(**optional)
    outputPipeline = PipelineField(**optional)

    def validate_endpoint(self, value: str) -> str:
        if not is_endpoint(value):
            raise serializers.ValidationError(
                "Letters, digits and '._~-' in segments, such as generate or v1/rerank."
            )
        return value


class RunnerSerializer(serializers.Serializer[Any]):
    """What answers: a ``kind``, and beside it what the kind needs."""

    kind = serializers.ChoiceField(Runner.choices)

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        kind = super().to_internal_value(data)["kind"]
        given = {k: v for k, v in data.items() if k != "kind" and v is not None}
        try:
            check_configuration(kind, given)
        except BadConfiguration as error:
            code = "upstream-url-not-allowed" if error.name == "url" else "invalid"
            detail = serializers.ErrorDetail(str(error), code)
            raise serializers.ValidationError({error.name: [detail]}) from None
        return {"runner": kind, "configuration": given}


class NewServiceSerializer(StrictSerializer):
    account = TextField(**NAME)
    name = TextField(**NAME)
    model_id = OutsideIdField(**optional)
    runner = RunnerSerializer()
    interface = InterfaceSerializer(**optional)

    def validate(self, given: dict[str, Any]) -> dict[str, Any]:
        runner = given.pop("runner")
        interface = given.pop("interface", None)
        if interface is None:
            if runner["runner"] != Runner.MOCK:
                raise serializers.ValidationError(
                    {"interface": "Only a mock brings an interface with it."}
                )
            interface = Mock.read(runner["configuration"]).interface
        return {**given, **runner, **_interface_fields(interface)}


class NewMockSerializer(StrictSerializer):
    """A service that simulates, by the name of a mock that this release knows."""

    account = TextField(**NAME)
    mock = TextField(max_length=255, allow_blank=False)
    name = TextField(required=False, **NAME)
    model_id = OutsideIdField(**optional)
    options = serializers.DictField(**optional)
    protocol = serializers.ChoiceField((JSON, OPENAI), **optional)

    def validate(self, given: dict[str, Any]) -> dict[str, Any]:
        name = given.pop("mock")
        configuration: dict[str, Any] = {"mock": name}
        if options := given.pop("options", None):
            configuration["options"] = options
        try:
            mock = Mock.read(configuration)
        except BadConfiguration as error:
            raise serializers.ValidationError({error.name: str(error)}) from None
        interface: dict[str, Any] | None = mock.interface
        if given.pop("protocol", None) == OPENAI:
            interface = mock.openai_interface
        if interface is None:
            message = "OpenAI's protocol has nothing that this mock simulates."
            raise serializers.ValidationError({"protocol": message})
        given.setdefault("name", name)
        return {
            **given,
            "runner": Runner.MOCK,
            "configuration": configuration,
            **_interface_fields(interface),
        }


class NewSessionSerializer(StrictSerializer):
    account = TextField(required=False, **NAME)
    inferenceService = TextField(max_length=64, allow_blank=False)
    replicas = WholeField(default=1, min_value=1)
    expires = MomentField(**optional)

    def validate_replicas(self, value: int) -> int:
        most = settings.ISTORE_SESSION_REPLICAS_MAX
        if value > most:
            raise serializers.ValidationError(f"At most {most}.")
        return value


class NewTokenSerializer(StrictSerializer):
    expires = MomentField(**optional)


def _interface_fields(interface: dict[str, Any]) -> dict[str, Any]:
    return {
        "endpoint": interface["endpoint"],
        "output_schema": interface.get("outputSchema") or None,
        "input_pipeline": interface.get("inputPipeline"),
        "output_pipeline": interface.get("outputPipeline"),
    }


# -- answers


class InterfaceAnswer(serializers.Serializer[Any]):
    endpoint = serializers.CharField()
    outputSchema = serializers.DictField()
    inputPipeline = AdapterSerializer(many=True, allow_null=True)
    outputPipeline = AdapterSerializer(many=True, allow_null=True)


class ModelReference(serializers.Serializer[Any]):
    id = serializers.CharField()
    name = serializers.CharField()


class ServiceReference(serializers.Serializer[Any]):
    """A service as a session carries it."""

    kind = serializers.CharField()
    id = serializers.CharField()
    name = serializers.CharField()
    model = ModelReference(allow_null=True)
    interface = InterfaceAnswer()
    runner = serializers.DictField()


class ServiceSerializer(ServiceReference):
    account = serializers.CharField()
    project_id = serializers.CharField()
    status = serializers.ChoiceField(["Ready"])
    reason = serializers.CharField(allow_null=True)
    creationTime = MomentField()

    def to_representation(self, service: InferenceService) -> dict[str, Any]:
        return {
            **_service_reference(service),
            "account": service.account,
            "project_id": service.project.project_id,
            "status": "Ready",
            "reason": None,
            "creationTime": MomentField().to_representation(service.created_at),
        }


class ServicesSerializer(serializers.Serializer[Any]):
    """One page; ``next`` is the ``cursor`` of the one after it."""

    results = ServiceSerializer(many=True)
    next = serializers.CharField(allow_null=True)


class SessionSerializer(serializers.Serializer[Any]):
    kind = serializers.CharField()
    id = serializers.CharField()
    account = serializers.CharField()
    project_id = serializers.CharField()
    inferenceService = ServiceReference()
    replicas = serializers.IntegerField()
    expires = MomentField()
    status = serializers.ChoiceField(Status.values)
    reason = serializers.CharField(allow_null=True)
    creationTime = MomentField()
    proxyUrl = serializers.CharField(help_text="Where its calls are answered first.")

    def to_representation(self, session: InferenceSession) -> dict[str, Any]:
        moment = MomentField().to_representation
        return {
            "kind": "InferenceSession",
            "id": session.id.hex,
            "account": session.account,
            "project_id": session.service.project.project_id,
            "inferenceService": _service_reference(session.service),
            "replicas": session.replicas,
            "expires": moment(session.expires_at),
            "status": session.status,
            "reason": session.reason or None,
            "creationTime": moment(session.created_at),
            "proxyUrl": settings.ISTORE_PROXY_URL,
        }


class SessionsSerializer(serializers.Serializer[Any]):
    """One page; ``next`` is the ``cursor`` of the one after it."""

    results = SessionSerializer(many=True)
    next = serializers.CharField(allow_null=True)


class SessionAndTokenSerializer(serializers.Serializer[Any]):
    inferencesession = SessionSerializer()
    token = serializers.CharField(help_text="Shown this once.")
    session = serializers.CharField(help_text="The token, under its older name.")


class TokenSerializer(serializers.Serializer[Any]):
    token = serializers.CharField(help_text="Shown this once.")


class ReadySerializer(serializers.Serializer[Any]):
    ready = serializers.BooleanField()
    status = serializers.ChoiceField(Status.values)


def _service_reference(service: InferenceService) -> dict[str, Any]:
    model_id = service.model_id
    return {
        "kind": "InferenceService",
        "id": service.id.hex,
        "name": service.name,
        "model": {"id": model_id, "name": model_id} if model_id else None,
        "interface": {
            "endpoint": service.endpoint,
            "outputSchema": service.output_schema or {},
            "inputPipeline": service.input_pipeline,
            "outputPipeline": service.output_pipeline,
        },
        "runner": configuration_of(service),
    }
