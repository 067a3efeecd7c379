"""The page of a trace in a browser, and the way there from an inference and back."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from istore.accounts.access import Caller
from istore.accounts.tokens import create_token
from istore.db import clock
from istore.models import Role
from protocols.otlp.messages import read_spans
from tests.conftest import shot
from traces.intake import store_spans
from traces.tests.builders import OPENINFERENCE, SECOND, TRACE, request_of

pytestmark = pytest.mark.django_db(transaction=True)

ADDRESS = f"/projects/harbour/traces/{TRACE.hex()}"
NOW = 1_790_000_000 * SECOND


def at(start: float, end: float) -> dict[str, int]:
    return {"start": NOW + int(start * SECOND), "end": NOW + int(end * SECOND)}


def of_kind(kind: str, **more) -> dict[str, object]:
    return {"openinference.span.kind": kind, **more}


@pytest.fixture
def trace(store, project):
    """An agent that asks a model, looks something up, calls a tool that fails, and asks again."""
    token, _ = create_token("spans", project, Role.EDITOR)
    cost = {"llm.cost.total": 0.0042}
    question = {"input.value": "Which ships are in the harbour?"}
    found = {
        "retrieval.documents.0.document.id": "log-7",
        "retrieval.documents.0.document.content": "The Aurora made fast at nine.",
        "retrieval.documents.0.document.score": 0.83,
    }
    request = request_of(
        {"id": 1, "name": "harbour agent", "attributes": of_kind("AGENT", **question)}
        | at(0, 6),
        {"id": 2, "parent": 1, "name": "plan", "attributes": of_kind("CHAIN")}
        | at(0.1, 2.2),
        {"id": 3, "parent": 2, "attributes": OPENINFERENCE | cost} | at(0.2, 2.1),
        {
            "id": 4,
            "parent": 1,
            "name": "logbook",
            "attributes": of_kind("RETRIEVER", **found),
        }
        | at(2.3, 2.5),
        {
            "id": 5,
            "parent": 1,
            "name": "berth_of",
            "attributes": of_kind("TOOL", **{"tool.name": "berth_of"}),
            "error": "TimeoutError: the harbour master does not answer",
        }
        | at(2.6, 4),
        {"id": 6, "parent": 1, "attributes": OPENINFERENCE | cost} | at(4.1, 5.9),
        {"id": 7, "parent": 99, "name": "late", "attributes": of_kind("CHAIN")}
        | at(5, 5.2),
    )
    sent = read_spans(request.SerializeToString())
    receipt = store_spans(Caller(token=token), project, sent, clock.now())
    assert (receipt.stored, receipt.refused) == (7, [])


def test_from_an_inference_to_its_trace_and_to_another_span(
    trace, watched, live_server, log_in
):
    page = watched
    log_in(page)
    page.goto(f"{live_server.url}/models/gpt-4o/inferences/{TRACE.hex()}-{3:016x}")
    page.get_by_role("link", name="Open the trace").click()
    expect(page.get_by_role("heading", name="Trace")).to_be_visible()
    expect(page.locator("tr.marked")).to_contain_text("chat")
    rows = page.locator(".waterfall tbody tr")
    expect(rows).to_have_count(7)
    expect(rows.nth(2).locator(".indent-2").first).to_be_visible()
    expect(page.locator("tr.failed")).to_contain_text(
        "the harbour master does not answer"
    )
    expect(rows.last).to_contain_text("parent missing")
    # The sums are those of the calls, each counted once.
    expect(page.locator(".tile").nth(2)).to_contain_text("32")
    expect(page.locator(".tile").nth(3)).to_contain_text("0.0084")
    shot(page, "trace")
    page.get_by_role("link", name="berth_of").click()
    expect(page.get_by_role("heading", name=f"{TRACE.hex()}-{5:016x}")).to_be_visible()
    shot(page, "trace-place")


def test_the_page_has_no_faults_that_axe_finds(
    trace, watched, live_server, log_in, findings
):
    page = watched
    log_in(page)
    page.goto(f"{live_server.url}{ADDRESS}")
    assert findings(page, "the page of a trace") == []


def test_the_page_fits_a_phone(trace, watched, live_server, log_in):
    page = watched
    log_in(page)
    page.set_viewport_size({"width": 320, "height": 700})
    page.goto(f"{live_server.url}{ADDRESS}")
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    expect(page.get_by_role("link", name="berth_of")).to_be_visible()


def test_a_trace_of_another_project_is_not_there(trace, watched, live_server, log_in):
    page = watched
    log_in(page)
    for address in (ADDRESS.replace("harbour", "elsewhere"), ADDRESS[:-1] + "0"):
        answer = page.request.get(f"{live_server.url}{address}")
        assert answer.status == 404
