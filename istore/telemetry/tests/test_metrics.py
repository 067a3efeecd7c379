"""Metrics: counted in memory, added up over processes, told to who may read them."""

from __future__ import annotations

import json
import os
import re
import time

import pytest
from prometheus_client.parser import text_string_to_metric_families

from istore.telemetry import exposition, metrics, startup
from istore.telemetry.endpoint import Endpoint
from istore.telemetry.metrics import WEB, Distribution, Moment, Total
from istore.telemetry.shared_counts import SharedCounts
from istore.telemetry.web_requests import template_of
from istore.upstreams import is_own_server


@pytest.fixture
def catalogue(monkeypatch):
    """A catalogue of this test alone."""
    monkeypatch.setattr(metrics, "catalogue", {})


def samples(counted) -> dict[tuple[str, str], float]:
    """The samples that are not zero, by name and labels."""
    return {
        (each.name, ",".join(each.labels.values())): each.value
        for family in metrics.families_of(WEB, counted)
        for each in family.samples
        if each.value
    }


def test_processes_add_up_and_go_on_from_the_file_of_their_number(tmp_path, catalogue):
    total = Total("istore_a_total", "A.", "kind", roles=(WEB,))
    moment = Moment("istore_b", "B.", roles=(WEB,))
    seconds = Distribution("istore_c_seconds", "C.", roles=(WEB,), bounds=(1.0, 2.0))
    first, second = SharedCounts(tmp_path, WEB), SharedCounts(tmp_path, WEB)
    assert first.file != second.file
    total.add("x", by=3)
    moment.set(2)
    seconds.observe(1.5)
    second.write(metrics.count_all(WEB))
    expected = {
        ("istore_a_total", "x"): 6,
        ("istore_b", ""): 4,
        ("istore_c_seconds_bucket", "2.0"): 2,
        ("istore_c_seconds_bucket", "+Inf"): 2,
        ("istore_c_seconds_count", ""): 2,
        ("istore_c_seconds_sum", ""): 3.0,
    }
    assert samples(first.all(metrics.count_all(WEB))) == expected

    # The second ends, and one that is started in its place goes on where it was.
    os.close(second._lock)
    third = SharedCounts(tmp_path, WEB)
    assert third.file == second.file
    left = samples(third.all({}))
    assert left["istore_a_total", "x"] == 3
    assert ("istore_b", "") not in left
    third.write(metrics.count_all(WEB))
    assert samples(first.all({}))["istore_a_total", "x"] == 6


def test_a_process_that_has_ended_keeps_its_sums_and_nothing_of_the_moment(
    tmp_path, catalogue
):
    total = Total("istore_a_total", "A.", roles=(WEB,))
    moment = Moment("istore_b", "B.", roles=(WEB,))
    total.add(by=5)
    moment.set(2)
    ended = SharedCounts(tmp_path, WEB, 7)
    ended.write(metrics.count_all(WEB))
    at = time.time() - 10
    os.utime(ended.file, (at, at))
    assert samples(SharedCounts(tmp_path, WEB).all({})) == {("istore_a_total", ""): 5}


@pytest.mark.parametrize(
    "content",
    [b"{", b"[]", b'{"istore_a_total": 5}', b'{"istore_a_total": {"": "x"}}'],
)
def test_a_damaged_file_counts_for_nothing(tmp_path, catalogue, content):
    Total("istore_a_total", "A.", roles=(WEB,)).add(by=2)
    (tmp_path / "web-9.counts").write_bytes(content)
    shared = SharedCounts(tmp_path, WEB)
    assert samples(shared.all(metrics.count_all(WEB))) == {("istore_a_total", ""): 2}


def test_routes_become_templates():
    assert template_of("api/v1/^models/(?P<model_id>.+?)/inferences$") == (
        "/api/v1/models/{model_id}/inferences"
    )
    assert template_of("admin/<path:object_id>/change/") == "/admin/{object_id}/change/"
    project = r"^projects/(?P<project_id>(?:(?!/models/).)+?)/datasets\Z"
    assert template_of(project) == "/projects/{project_id}/datasets"


@pytest.mark.django_db
def test_no_route_of_the_store_has_an_expression_in_its_template():
    from django.urls import get_resolver

    def routes(patterns, before=""):
        for each in patterns:
            route = before + str(each.pattern)
            if hasattr(each, "url_patterns"):
                yield from routes(each.url_patterns, route)
            else:
                yield route

    found = {template_of(each) for each in routes(get_resolver().url_patterns)}
    assert len(found) > 100
    assert [each for each in found if re.search(r"[()?^$\\|+*]", each)] == []


@pytest.mark.parametrize(
    ("is_local", "headers", "status"),
    [
        (True, {}, 200),
        (False, {}, 401),
        (False, {"Authorization": "Bearer wrong"}, 401),
        (False, {"Authorization": "Basic t0k"}, 401),
        (True, {"Authorization": "Bearer wrong"}, 401),
        (False, {"Authorization": "Bearer t0k"}, 200),
        (False, {"Authorization": "Bearer t\xf6k"}, 401),
    ],
)
@pytest.mark.django_db
def test_the_web_server_tells_whoever_has_the_token(
    client, settings, is_local, headers, status
):
    settings.ISTORE_IS_LOCAL, settings.ISTORE_METRICS_TOKEN = is_local, "t0k"
    assert client.get("/metrics", headers=headers).status_code == status


def test_the_endpoint_of_a_role_is_guarded_the_same_way(settings):
    import threading
    from http.client import HTTPConnection

    settings.ISTORE_IS_LOCAL, settings.ISTORE_METRICS_TOKEN = False, "t0k"
    server = Endpoint("127.0.0.1", 0, lambda: b"istore_x 1\n")
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()

    def ask(path: str, **headers: str) -> tuple[int, bytes]:
        connection = HTTPConnection("127.0.0.1", server.server_port, timeout=5)
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        found = answer.status, answer.read()
        connection.close()
        return found

    try:
        assert ask("/metrics")[0] == 401
        assert ask("/metrics", Authorization="Bearer wrong")[0] == 401
        told = ask("/metrics?x=1", Authorization="Bearer t0k")
        assert told == (200, b"istore_x 1\n")
        assert ask("/health/live") == (200, b"live\n")
        assert ask("/")[0] == 404
    finally:
        server.shutdown()
        server.server_close()


def test_a_port_that_is_taken_does_not_stop_the_role(settings, caplog):
    from istore.telemetry import endpoint

    taken = Endpoint("127.0.0.1", 0, lambda: b"")
    taken.allow_reuse_address = False
    try:
        assert endpoint.start("127.0.0.1", taken.server_port, lambda: b"") is None
    finally:
        taken.server_close()
    assert "no metrics at port" in caplog.text


@pytest.mark.django_db
def test_a_part_that_does_not_answer_is_told_and_the_rest_stands(monkeypatch):
    def fail():
        raise OSError("away")

    figures = exposition.Figures((WEB,), fail)
    monkeypatch.setitem(exposition.collectors, "broken", figures)
    text = startup.process.render(WEB).decode()
    assert 'istore_collector_failed{collector="broken"} 1.0' in text
    assert 'istore_collector_failed{collector="tasks"} 0.0' in text
    assert "istore_ready 1.0" in text
    list(text_string_to_metric_families(text))


@pytest.mark.django_db
def test_requests_are_observed_by_route_without_any_id(client, model, api):
    path = f"/api/v1/models/{model.model_id}/inferences"
    assert api.get(path).status_code == 200
    client.get("/nothing/of/the/kind")
    client.generic("BREW", "/health/live")
    text = startup.process.render(WEB).decode()
    assert model.model_id not in text
    wanted = 'route="/api/v1/models/{model_id}/inferences"'
    assert f'_count{{method="GET",{wanted},status="2xx"}}' in text
    assert 'route="unmatched"' in text
    assert 'method="other"' in text
    assert "BREW" not in text


@pytest.mark.django_db
def test_the_id_of_a_request_is_the_callers_where_it_is_plain(client, api, model):
    path = f"/api/v1/models/{model.model_id}x"
    answer = api.get(path, headers={"X-Request-ID": "job:7/part-2"})
    assert answer.headers["X-Request-ID"] == "job:7/part-2"
    assert json.loads(answer.content)["request_id"] == "job:7/part-2"
    for bad in ("a" * 129, "a b", "a\x7f", "<script>", "", "-x"):
        answer = client.get("/health/live", headers={"X-Request-ID": bad})
        assert re.fullmatch("[0-9a-f]{32}", answer.headers["X-Request-ID"])


def test_no_model_may_be_served_from_where_metrics_are_told(settings):
    assert not is_own_server("127.0.0.1", "127.0.0.1", 9466)
    settings.ISTORE_METRICS_PORT = 9464
    assert is_own_server("127.0.0.1", "127.0.0.1", 9466)
    assert not is_own_server("127.0.0.1", "127.0.0.1", 9468)
