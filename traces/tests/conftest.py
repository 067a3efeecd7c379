from __future__ import annotations

import pytest
from django.test import Client
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceResponse,
)

from istore.accounts.tokens import create_token
from istore.models import Role

PROTOBUF = "application/x-protobuf"


@pytest.fixture
def secret(project) -> str:
    """The token of an editor."""
    return create_token("spans", project, Role.EDITOR)[1]


@pytest.fixture
def send(secret):
    """``send(request)`` posts spans and returns the response; ``response.told`` is its message."""

    def post(body, *, path="/v1/traces", content_type=PROTOBUF, **headers):
        if not isinstance(body, bytes | str):
            body = body.SerializeToString()
        headers = {"authorization": f"Bearer {secret}"} | headers
        client = Client(raise_request_exception=False)
        response = client.post(path, body, content_type=content_type, headers=headers)
        response.told = None
        if response.status_code == 200 and content_type == PROTOBUF:
            response.told = ExportTraceServiceResponse.FromString(response.content)
        return response

    return post
