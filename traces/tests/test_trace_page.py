"""The tree of a trace and its page, whatever parents say."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inferences.models import RegisteredModel, TokenPrice
from istore.models import Membership, Project, Role
from traces.costs import Cost, costs_of, sums_of
from traces.models import Span
from traces.templatetags.traces import money
from traces.tests.builders import OPENINFERENCE, SECOND, TRACE, request_of
from traces.tree import FACTS, Node, Trace, _in_order, read_trace
from traces.web import parts
from traces.web.waterfall import Waterfall

LLM = {"attributes": OPENINFERENCE}
ADDRESS = f"/projects/harbour/traces/{TRACE.hex()}"


def node(number: int, parent: int | None, start: int = 0, tokens: str = "") -> Node:
    began = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=start)
    span = Span(
        trace_id=TRACE,
        span_id=number.to_bytes(8),
        parent_id=None if parent is None else parent.to_bytes(8),
        row_id=number,
        kind="llm",
        name=f"span {number}",
        started_at=began,
        ended_at=began + timedelta(seconds=1),
    )
    facts = {"total_tokens": ["int", tokens]} if tokens else {}
    return Node(span, None, facts)


def order(nodes: list[Node]) -> list[tuple[int, int]]:
    return [(n.span.row_id, n.depth) for n in _in_order(nodes)]


def test_children_stand_below_their_parents_by_their_beginning():
    nodes = [node(1, None), node(3, 1, 1), node(2, 1, 2), node(4, 3, 3)]
    assert order(nodes) == [(1, 0), (3, 1), (4, 2), (2, 1)]


def test_spans_without_their_parent_and_circles_stand_at_the_top():
    nodes = [node(1, 9), node(2, 3), node(3, 2), node(4, 4)]
    assert order(nodes) == [(1, 0), (4, 0), (2, 0), (3, 1)]
    assert nodes[0].is_orphan


@given(st.lists(st.integers(0, 12) | st.none(), min_size=1, max_size=12))
@settings(deadline=None)
def test_each_span_stands_in_the_order_once(parents):
    nodes = [node(number, parent) for number, parent in enumerate(parents)]
    assert sorted(number for number, _ in order(nodes)) == list(range(len(parents)))


def test_sums_count_each_call_once():
    nodes = [
        node(1, None, tokens="30"),
        node(2, 1, tokens="10"),
        node(3, 1, tokens="20"),
    ]
    trace = Trace(TRACE.hex(), list(_in_order(nodes)), is_cut=False)
    assert trace.total("total_tokens") == 30
    assert sums_of(trace.nodes, costs_of(trace.nodes, [])) == []


def test_costs_are_those_of_prices_and_else_what_was_stated():
    facts = {
        "prompt_tokens": ["int", "1000"],
        "cached_tokens": ["int", "400"],
        "completion_tokens": ["int", "100"],
        "model_version": ["string", "gpt-4o-2026"],
        "cost": ["float", "9.5"],
    }
    agent, priced, stated = node(1, None), node(2, 1), node(3, 1)
    for each, name in ((agent, "shop.agent"), (priced, "gpt-4o"), (stated, "other")):
        each.model = RegisteredModel(model_id=name)
    priced.metadata = facts
    stated.metadata = {"cost": ["float", "0.25"]}
    agent.metadata = {"cost": ["float", "9.75"]}  # repeats those below it
    price = TokenPrice(
        model_pattern="gpt-4o*",
        input_price=Decimal(10),
        cached_input_price=Decimal(1),
        output_price=Decimal(20),
        currency="EUR",
        valid_from=date(2025, 1, 1),
    )
    nodes = list(_in_order([agent, priced, stated]))

    costs = costs_of(nodes, [price])

    assert costs[id(priced)] == Cost(Decimal("0.0084"), "EUR")
    assert sums_of(nodes, costs) == [
        Cost(Decimal("0.0084"), "EUR"),
        Cost(Decimal("0.25")),
    ]


@pytest.mark.parametrize("text", ["nan", "inf", "many"])
def test_what_an_application_calls_tokens_may_be_no_number(text):
    nodes = [node(1, None, tokens="30"), node(2, 1, tokens=text)]
    trace = Trace(TRACE.hex(), list(_in_order(nodes)), is_cut=False)
    assert Waterfall.of(trace).tokens == 30


def test_costs_are_written_as_on_the_page_of_an_inference():
    amounts = ["0.000042", "0.0042", "12.5"]
    written = [money(Cost(Decimal(amount), "USD")) for amount in amounts]
    assert written == ["0.000042 USD", "0.0042 USD", "12.50 USD"]


def test_bars_lie_within_the_trace():
    nodes = [node(1, None), node(2, 1, 3)]
    trace = Trace(TRACE.hex(), list(_in_order(nodes)), is_cut=False)
    first, second = Waterfall.of(trace, f"{2:016x}").bars
    assert (first.x, second.x + second.width) == (0, 100)
    assert second.is_marked


@pytest.mark.django_db(transaction=True)
class TestPage:
    def test_it_shows_the_spans_of_all_models_in_order(self, send, person):
        at = {"start": 1_780_000_000 * SECOND}
        tool = {"openinference.span.kind": "TOOL", "tool.name": "ships"}
        send(request_of(LLM | {"id": 2, "parent": 1} | at))
        send(
            request_of(
                {"id": 1, "name": "agent"} | at,
                {
                    "id": 3,
                    "parent": 2,
                    "attributes": tool,
                    "name": "ships",
                    "error": "late",
                }
                | at,
            )
        )
        content = person().get(ADDRESS).content.decode()
        places = [content.index(f'id="span-{n:016x}"') for n in (1, 2, 3)]
        assert places == sorted(places)
        assert "1 error" in content
        assert "indent-2" in content
        assert "gpt-4o" in content

    def test_a_long_trace_is_shown_whole_in_parts(self, send, person, monkeypatch):
        monkeypatch.setattr(parts, "SPANS_SHOWN", 2)
        at = {"start": 1_780_000_000 * SECOND}
        send(request_of(*(LLM | {"id": n} | at for n in range(1, 6))))

        def list_spans(query: str) -> list[int]:
            answer = person().get(ADDRESS + query)
            assert answer.status_code == 200
            content = answer.content.decode()
            assert "80</span>" in content  # the tokens of all spans
            return [n for n in range(1, 6) if f'id="span-{n:016x}"' in content]

        assert [list_spans(f"?part={n}") for n in (1, 2, 3)] == [[1, 2], [3, 4], [5]]
        assert list_spans(f"?span={5:016x}") == [5]
        for strange in ("0", "4", "-1", "9" * 500, "\u0663", "x", "9" * 5000):
            assert list_spans(f"?part={strange}") == [1, 2]
        assert person().get(f"{ADDRESS}?part=%00").status_code == 400  # as anywhere

    def test_only_facts_of_the_metadata_are_read(self, send, person):
        more = {f"note.{n}": "x" * 1000 for n in range(5)}
        attributes = OPENINFERENCE | more
        send(request_of({"attributes": attributes, "error": "late"}))
        project = Project.objects.get(project_id="harbour")
        (only,) = read_trace(project, TRACE).nodes
        assert set(only.metadata) <= set(FACTS)
        assert only.number("prompt_tokens") == 12
        assert only.fact("conversation_id") == "s-1"
        assert only.fact("status_message") == "late"
        assert only.fact("service") == "shop"

    def test_names_are_escaped(self, send, person):
        send(request_of(LLM | {"name": "<script>alert(1)</script>", "error": "<b>"}))
        content = person().get(ADDRESS).content.decode()
        assert "<script>alert" not in content
        assert "<b>" not in content

    def test_a_hidden_span_is_not_shown(self, send, person, api):
        send(request_of(LLM, LLM | {"id": 2}))
        path = f"/api/v1/models/gpt-4o/inferences/{TRACE.hex()}-{1:016x}"
        assert api.delete(path).status_code in (200, 202, 204)
        content = person().get(ADDRESS).content.decode()
        assert f"span-{1:016x}" not in content
        assert f"span-{2:016x}" in content

    def test_the_page_of_an_inference_leads_to_its_trace(self, send, person):
        send(request_of(LLM))
        path = f"/projects/harbour/models/gpt-4o/inferences/{TRACE.hex()}-{1:016x}"
        content = person().get(path).content.decode()
        assert f"{ADDRESS}?span={1:016x}#span-{1:016x}" in content

    def test_it_is_found_by_its_id(self, send, person):
        send(request_of(LLM))
        assert ADDRESS in person().get(f"/find?q={TRACE.hex()}").content.decode()

    def test_who_is_no_member_sees_nothing(self, send, person):
        send(request_of(LLM))
        stranger = person(None)
        assert stranger.get(ADDRESS).status_code == 404
        assert ADDRESS not in stranger.get(f"/find?q={TRACE.hex()}").content.decode()
        assert not Membership.objects.filter(user=stranger.user, role=Role.VIEWER)

    def test_a_trace_that_is_not_there_is_a_404(self, send, person):
        send(request_of(LLM))
        assert person().get(ADDRESS[:-1] + "0").status_code == 404
