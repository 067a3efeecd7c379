"""The API answers as its own description says, whatever is sent to it."""

from __future__ import annotations

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from drf_spectacular.generators import SchemaGenerator
from hypothesis import HealthCheck, settings
from openapi_spec_validator import validate
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    positive_data_acceptance,
)

from istore.models import Role
from istore.wsgi import application

CASES_OF_AN_OPERATION = 12


@schemathesis.serializer("application/x-ndjson")
def lines(context, value):
    """What was generated for a batch, as it is: a text, of lines or not."""
    return str(value).encode("utf-8", "replace")


@schemathesis.serializer("application/vnd.apache.parquet")
def table(context, value):
    """What was generated for a file: bytes that are none, most often."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


described = SchemaGenerator().get_schema(public=True)
# A schema cannot say that a hash must fit, or that "filter" may be an inference's id.
BEYOND_A_SCHEMA = [positive_data_acceptance, allow_header_conformance]
schema = schemathesis.openapi.from_dict(described)
schema.app = application


@pytest.fixture
def open_connection():
    """What ends a request would end the connection that holds the test's transaction."""
    signals = (request_started, request_finished)
    for signal in signals:
        signal.disconnect(close_old_connections)
    yield
    for signal in signals:
        signal.connect(close_old_connections)


@pytest.fixture
def headers(api_as):
    return {
        "Authorization": api_as(Role.ADMINISTRATOR)._credentials["HTTP_AUTHORIZATION"]
    }


def test_the_description_is_valid():
    validate(described)


@schema.parametrize()
@settings(
    max_examples=CASES_OF_AN_OPERATION,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
)
def test_no_input_surprises_an_operation(case, headers, model, open_connection):
    case.call_and_validate(headers=headers, excluded_checks=BEYOND_A_SCHEMA)
