"""Traces and error reports over the wire, and nothing of a caller in them."""

from __future__ import annotations

import logging
import os
import subprocess
import sys

import pytest
import sentry_sdk
import structlog
from django.conf import settings as settings_of_django
from django.db import connection, connections

from istore.telemetry import error_reports, request_ids, startup, task_runs, tracing
from tests.collectors import Collector

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"
SECRET = "moonraker-needle"


@pytest.fixture
def collector():
    with Collector() as collector:
        yield collector


@pytest.fixture
def traced(settings, collector):
    """This process with traces, until the end of the test."""
    settings.ISTORE_OTEL_ENDPOINT = f"{collector.url}/"
    tracing.begin("web")
    yield collector
    tracing.flush()
    tracing._provider.shutdown()
    tracing.is_on = False
    for each in connections.all(initialized_only=True):
        each.execute_wrappers[:] = [
            e for e in each.execute_wrappers if e is not tracing._trace_statement
        ]
    tracing.connection_created.disconnect(dispatch_uid="istore.tracing")


@pytest.fixture
def reported(settings, collector):
    """This process with error reports, until the end of the test."""
    settings.ISTORE_SENTRY_DSN = collector.dsn
    error_reports.begin("web")
    yield collector
    sentry_sdk.get_client().close()
    sentry_sdk.init(default_integrations=False)
    error_reports.is_on = False


@pytest.mark.django_db
def test_a_request_is_a_span_below_its_callers_with_statements_below_it(
    traced, api, model
):
    path = f"/api/v1/models/{model.model_id}/inferences"
    answer = api.get(
        path, {"metadata": f"camera={SECRET}"}, headers={"traceparent": TRACEPARENT}
    )
    assert answer.status_code == 200
    tracing.flush()
    spans = {span.name: span for span in traced.spans()}
    request = spans["GET /api/v1/models/{model_id}/inferences"]
    assert request.trace_id.hex() == TRACE
    assert request.parent_span_id.hex() == PARENT
    statement = spans["SELECT"]
    assert statement.parent_span_id == request.span_id
    token = api._credentials["HTTP_AUTHORIZATION"].partition(" ")[2]
    for told in (SECRET, model.model_id, token, "inferences_inference"):
        assert told.encode() not in traced.bytes


@pytest.mark.django_db
def test_batches_link_to_the_traces_of_their_events_and_failures_have_no_text(traced):
    batch_span = tracing.batch_span("listener batch", [TRACEPARENT, "", "damaged"])
    with pytest.raises(ValueError, match=SECRET), batch_span:
        with connection.cursor() as cursor:
            cursor.execute("SELECT %s", [SECRET])
        raise ValueError(SECRET)
    tracing.flush()
    (batch,) = [span for span in traced.spans() if span.name == "listener batch"]
    assert [link.trace_id.hex() for link in batch.links] == [TRACE]
    assert batch.status.code == 2
    assert SECRET.encode() not in traced.bytes


def test_a_task_is_a_span_and_goes_on_under_the_id_of_its_request(traced):
    class Task:
        name = "istore.tasks.collect"
        request = type("Request", (), {request_ids.TASK_HEADER: "job-7"})

    task_runs._note_begin(task_id="1", task=Task)
    assert request_ids.current() == "job-7"
    headers: dict[str, str] = {}
    task_runs._pass_on(headers=headers)
    assert headers == {request_ids.TASK_HEADER: "job-7"}
    task_runs._note_end(task_id="1", task=Task, state="FAILURE")
    assert request_ids.current() == ""
    tracing.flush()
    (span,) = traced.spans()
    assert (span.name, span.status.code) == ("task istore.tasks.collect", 2)
    text = startup.process.render("worker").decode()
    wanted = '_count{outcome="broke-off",task="istore.tasks.collect"} '
    assert f"istore_task_duration_seconds{wanted}" in text


def test_what_is_reported_says_where_and_nothing_that_a_caller_sent(reported):
    request_ids.begin("job-8")
    camera = SECRET
    try:
        try:
            int(camera)
        except ValueError as error:
            raise KeyError(camera) from error
    except KeyError:
        logging.getLogger("proxy.app").exception("A call failed")
    logging.getLogger("istore.x").error("%s cannot be captured: %s", camera, camera)
    logging.getLogger("urllib3x").error(f"sent {camera}")
    structlog.get_logger("ingest.x").error("event failed", value=camera)
    request_ids.end()
    sentry_sdk.flush(5)
    reported.wait_for(lambda: len(reported.reports()) == 4)
    first, second, third, fourth = reported.reports()
    assert [each["type"] for each in first["exception"]["values"]] == [
        "ValueError",
        "KeyError",
    ]
    frames = first["exception"]["values"][-1]["stacktrace"]["frames"]
    assert frames[-1]["function"] == "test_what_is_reported_says_where_and_nothing_" + (
        "that_a_caller_sent"
    )
    assert "vars" not in frames[-1]
    assert first["logentry"]["message"] == "A call failed"
    assert first["tags"] == {"role": "web", "request_id": "job-8"}
    assert second["logentry"]["message"] == "%s cannot be captured: %s"
    assert third["logentry"]["message"] == "Of urllib3x"
    assert fourth["logentry"]["message"] == "event failed"
    assert SECRET.encode() not in reported.bytes
    assert os.uname().nodename.encode() not in reported.bytes


def test_nothing_is_imported_without_a_setting():
    program = (
        "import django, sys; django.setup()\n"
        "import istore.asgi, proxy.app, ingest.listener\n"
        "from istore.telemetry import startup, tracing\n"
        "startup.begin('listener')\n"
        # The client of Redis imports the API and the metrics where they are installed.
        "ours = ('opentelemetry.sdk.trace.export', 'opentelemetry.exporter', 'sentry_')\n"
        "print([name for name in sys.modules if name.startswith(ours)])"
    )
    outside = {k: v for k, v in os.environ.items() if "OTEL" not in k}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=settings_of_django.BASE_DIR,
        env={**outside, "DJANGO_SETTINGS_MODULE": "istore.settings"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip().splitlines()[-1] == "[]"
