"""The page of operators: panels, figures of the proxy, and a run of verify."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
import redis
from django.contrib.auth import get_user_model
from django.urls import reverse

from inferences.maintenance import storage_by_model
from istore.checks import operations, proxy_metrics, verification
from istore.models import VerifyRun
from istore.tasks import periodic

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("queue", "local_cache")]


METRICS = """# TYPE istore_proxy_recorded_total counter
istore_proxy_recorded_total 7.0
# TYPE istore_proxy_not_recorded_total counter
istore_proxy_not_recorded_total{reason="spool-full"} 2.0
# TYPE istore_proxy_answered_total counter
istore_proxy_answered_total{status="200"} 9.0
# TYPE istore_spool_bytes gauge
istore_spool_bytes 2048.0
# TYPE istore_spool_age_seconds gauge
istore_spool_age_seconds 1.5
# TYPE python_info gauge
python_info{implementation="CPython",major="3"} 1.0
"""


def test_figures_of_the_proxy_are_read(settings):
    answer = proxy_metrics.read_figures(METRICS)

    assert answer["recorded"] == 7
    assert answer["not_recorded"] == [("spool-full", 2)]
    assert answer["answered"] == [("200", 9)]
    assert (answer["spool_bytes"], answer["spool_age"]) == (
        2048,
        timedelta(seconds=1.5),
    )


def test_the_operator_sees_all_panels(operator, model, make_inference, monkeypatch):
    VerifyRun.objects.create(kind=verification.VERIFY).finish(
        found={"missing": 2},
        repaired=0,
        unfinished={"consumers": "Away."},
        sample=[{"kind": "missing", "where": "1/1/x", "detail": "", "repaired": False}],
    )
    answer = proxy_metrics.read_figures(METRICS)
    panel = operations.Panel("operations/_proxy.html", lambda: answer)
    monkeypatch.setitem(operations.panels, "Proxy and spool", panel)
    make_inference(inference_id="a", data_storage_key="1/1/x/input", data_size=2000)
    storage_by_model.measure()

    page = operator.get(reverse("operations"))
    content = page.content.decode()

    assert page.status_code == 200
    for text in ("missing", "unfinished", "spool-full", "yolo-harbour", "Backlog"):
        assert text in content
    assert not re.search(r"<script(?![^>]* src=)|style=", content)


def test_a_panel_that_breaks_leaves_the_others(operator, monkeypatch):
    def away():
        raise redis.ConnectionError

    panel = operations.Panel("operations/_verify.html", away)
    monkeypatch.setitem(operations.panels, "Verify", panel)

    content = operator.get(reverse("operations")).content.decode()

    assert "It does not answer: ConnectionError." in content
    assert "None has failed." in content


def test_operations_are_for_staff(client, project):
    user = get_user_model().objects.create_user("anna")
    client.force_login(user)

    assert client.get(reverse("operations")).status_code == 403
    assert client.post(reverse("verify-now")).status_code == 403
    client.logout()
    assert client.get(reverse("operations")).status_code == 302


def test_verify_is_begun_by_a_worker(operator, queue):
    operator.post(reverse("verify-now"))

    assert queue == [(periodic.verify.name, ["user operator"])]
