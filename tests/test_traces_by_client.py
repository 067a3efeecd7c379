"""Traces with the real client and the command against the real API."""

from __future__ import annotations

import json
import sys

import jsonschema_rs
import pytest
from drf_spectacular.generators import SchemaGenerator
from inference_store import Client, cli, errors, models

from istore.accounts.tokens import create_token
from istore.db import clock
from istore.models import Role
from protocols.otlp import messages
from traces.intake import store_spans
from traces.tests.builders import OPENINFERENCE, TRACE, request_of

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def client(live_server, project, monkeypatch):
    secret = create_token("sdk", project, Role.VIEWER)[1]
    monkeypatch.setenv("ISTORE_URL", live_server.url)
    monkeypatch.setenv("ISTORE_TOKEN", secret)
    spans = [{"name": "answer", "attributes": {"openinference.span.kind": "AGENT"}}]
    spans += [{"name": f"chat {n}", "parent": 1} for n in range(2)]
    spans[1] |= {"attributes": OPENINFERENCE, "error": "Busy."}
    spans.append({"name": "deeper", "parent": 2})
    others = [{"trace": bytes([n] * 16), "name": "other"} for n in range(1, 6)]
    body = request_of(*spans, *others).SerializeToString()
    receipt = store_spans("test", project, messages.read_spans(body), clock.now())
    assert receipt.refused == []
    with Client(live_server.url, secret) as found:
        yield found


@pytest.fixture
def istore(client, monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["istore", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return end.value.code or 0, capsys.readouterr().out

    return run


def test_traces_are_found_and_read(client, istore):
    page = client.traces.list_traces("harbour", limit=2)
    assert (len(page), page.searched_until) == (2, None)
    query = models.TraceQuery(status="error", model="gpt-4o", start="1h")
    (found,) = client.traces.iter_traces("harbour", query, page_size=1)
    assert found.trace_id == TRACE.hex()
    assert len(list(client.traces.iter_traces("harbour", page_size=2))) == 6

    trace = client.traces.get_trace("harbour", TRACE.hex().upper())
    (root,) = trace.roots
    one, two = trace.children(root)
    assert [each.name for each in (root, one, two)] == ["answer", "chat 0", "chat 1"]
    assert [each.name for each in trace.children(one)] == ["deeper"]
    assert trace.children(two) == []
    assert (one.message, trace.total_tokens) == ("Busy.", 16)
    assert client.inference.get_inference(one.model_id, one.inference_id)
    assert client.traces.get_trace("harbour", "0" * 32) is None
    with pytest.raises(errors.NotFound):
        client.traces.list_traces("absent")
    with pytest.raises(errors.ValidationError, match="kind"):
        client.traces.list_traces("harbour", models.TraceQuery(kind="x"))

    code, out = istore("traces", "list", "harbour", "--name", "chat", "--json")
    assert (code, json.loads(out)["span_count"]) == (0, 4)
    code, out = istore("traces", "show", "harbour", TRACE.hex())
    assert out.splitlines()[1].startswith("  chat 0\tllm\t1.000\t16\tBusy.\tgpt-4o\t")
    code, _ = istore("traces", "show", "harbour", "f" * 32)
    assert code != 0


def test_a_trace_is_as_described(client, api, project):
    described = SchemaGenerator().get_schema(public=True)
    for name, path in (("Trace", f"/{TRACE.hex()}"), ("Traces", "")):
        validator = jsonschema_rs.Draft202012Validator(
            {
                "$ref": f"#/components/schemas/{name}",
                "components": described["components"],
            }
        )
        told = api.get(f"/api/v1/projects/{project.project_id}/traces{path}").json()
        validator.validate(told)
        known = described["components"]["schemas"][name]["properties"]
        assert told.keys() == known.keys()
