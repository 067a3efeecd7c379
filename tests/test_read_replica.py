"""Lists, statistics and exports are read from a replica, and nobody sees that they are."""

from __future__ import annotations

import logging
import time

import pytest
from django.db import connection, transaction
from django.urls import reverse
from rest_framework.test import APIClient

from inferences.store import removal
from inferences.tests.builders import body
from istore.accounts.tokens import create_token
from istore.checks import health
from istore.checks.operations import Panel, panels
from istore.db import replica
from istore.db.other_servers import REPLICA
from istore.db.write_positions import positions
from istore.models import Role
from supervisor import external
from tests import replica_server

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(scope="module")
def server():
    with replica_server.running(replica_server.home_of_tests()) as found:
        yield found


@pytest.fixture
def held_back(server, settings, api):
    """A replica that replays nothing: what it shows is as old as this moment."""
    settings.ISTORE_REPLICA_DATABASE = {
        **{
            name: connection.settings_dict[name]
            for name in ("ENGINE", "NAME", "USER", "PASSWORD")
        },
        "HOST": str(server.home.run),
        "OPTIONS": {"connect_timeout": 2},
    }
    if "Read replica" not in panels:  # as apps register it at their start
        panels.register(
            "Read replica", Panel("operations/_replica.html", replica.panel)
        )
    replica._known.__init__()
    positions.forget()
    server.go_on()
    hold_back(server)
    yield server
    REPLICA.close()
    server.go_on()
    panels.pop("Read replica")


def hold_back(server) -> None:
    # What this process demands of a replica begins with its connection to Valkey.
    positions.needed("nobody")
    server.hold_back()


def another(project, role=Role.EDITOR) -> APIClient:
    _, secret = create_token("another", project, role)
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
    return client


def create(client: APIClient, model, name: str) -> None:
    url = f"/api/v1/models/{model.model_id}/inferences"
    answer = client.post(url, body(name), "json")
    assert answer.status_code == 201, answer.content


def listed(client: APIClient, model) -> list[str]:
    answer = client.get(f"/api/v1/models/{model.model_id}/inferences")
    assert answer.status_code == 200, answer.content
    return sorted(each["inference_id"] for each in answer.json()["results"])


def counted(client: APIClient, model) -> int:
    answer = client.post(
        f"/api/v1/models/{model.model_id}/inferences/count", {}, "json"
    )
    return answer.json()["count"]


def told(caplog) -> list[str]:
    """Return what the log has of the replica."""
    found = [each for each in caplog.records if each.name == "istore.db.replica"]
    return [each.getMessage() for each in found]


def test_others_read_the_replica_and_who_wrote_reads_the_own_write(
    server, held_back, api, model, make_inference, project, person
):
    make_inference(inference_id="old")
    reader, viewer = another(project), person(Role.VIEWER)
    server.go_on()
    hold_back(server)

    create(api, model, "new")

    assert listed(api, model) == ["new", "old"]
    assert counted(api, model) == 2
    assert listed(reader, model) == ["old"]  # so the replica is what is read
    assert counted(reader, model) == 1
    page = viewer.get(
        reverse("inferences:browse", args=[model.project, model.model_id])
    )
    assert b"old" in page.content
    assert b">new<" not in page.content
    server.go_on()
    server.catch_up()
    assert listed(reader, model) == ["new", "old"]


def test_what_was_removed_is_shown_to_nobody(
    server, held_back, api, model, make_inference, project
):
    for name in ("kept", "removed", "swept", "hidden"):
        make_inference(inference_id=name)
    reader = another(project)
    server.go_on()
    hold_back(server)
    assert set(listed(reader, model)) == {"kept", "removed", "swept", "hidden"}

    api.delete(f"/api/v1/models/{model.model_id}/inferences/removed")
    assert "removed" not in listed(api, model)
    assert "removed" not in listed(reader, model)
    # A worker is no caller, and its removals count for everybody, too.
    server.go_on()
    hold_back(server)
    with transaction.atomic():
        chosen = model.inferences.filter(inference_id="swept")
        removal.RECORDS.intend(model, chosen)
    assert "swept" not in listed(reader, model)
    server.go_on()
    hold_back(server)
    with transaction.atomic():
        chosen = model.inferences.filter(inference_id="hidden")
        removal.hide_records(model, chosen)
    assert listed(reader, model) == ["kept"]


def test_valkey_that_forgets_shows_nobody_what_was_removed(
    server, held_back, api, model, make_inference, project
):
    make_inference(inference_id="removed")
    reader = another(project)
    server.go_on()
    hold_back(server)
    api.delete(f"/api/v1/models/{model.model_id}/inferences/removed")

    positions._client.flushall()
    positions.forget()  # as its restart does

    assert listed(reader, model) == []


def test_rights_come_from_the_primary(server, held_back, model, project, person):
    token, secret = create_token("revoked", project, Role.EDITOR)
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
    former = person(Role.VIEWER)
    server.go_on()
    hold_back(server)
    page = reverse("inferences:statistics", args=[model.project, model.model_id])
    assert (former.get(page).status_code, listed(client, model)) == (200, [])

    type(token).objects.filter(pk=token.pk).update(revoked_at="2026-01-01T00:00:00Z")
    former.user.memberships.all().delete()

    url = f"/api/v1/models/{model.model_id}/inferences"
    assert client.get(url).status_code == 401
    assert former.get(page).status_code == 404
    # Even where a page asks for rights while it reads the replica.
    asked = replica.read("nobody", lambda: former.user.memberships.count())
    assert asked == 0


def test_what_would_write_runs_on_the_primary(server, held_back, model):
    def write() -> int:
        return type(model).objects.filter(pk=model.pk).update(upstream_model="written")

    assert replica.read("nobody", write) == 1
    model.refresh_from_db()
    assert model.upstream_model == "written"


def test_an_export_waits_for_all_that_was_committed(
    server, held_back, model, make_inference
):
    make_inference(inference_id="new")

    assert replica.read_up_to_date(model.inferences.count) == 1


def test_a_replica_that_lags_or_ends_is_left_out_with_one_line(
    server, held_back, api, model, make_inference, project, settings, caplog, operator
):
    settings.ISTORE_REPLICA_LAG_SECONDS = 1
    make_inference(inference_id="old")
    reader = another(project)
    server.go_on()
    hold_back(server)
    create(api, model, "new")
    time.sleep(1.1)
    replica._known.sampled_at = 0.0
    with caplog.at_level(logging.WARNING, "istore.db.replica"):
        assert listed(reader, model) == ["new", "old"]
        assert listed(reader, model) == ["new", "old"]
    assert told(caplog) == [
        "The read replica is left out: it is more than 1 seconds behind"
    ]
    assert "seconds behind" in health.failing(health.watched)["replica"]
    panel = operator.get("/operations").content.decode()
    assert "Read replica" in panel
    assert "behind" in panel

    caplog.clear()
    server.stop()
    replica._known.away_until = 0.0
    with caplog.at_level(logging.WARNING, "istore.db.replica"):
        assert listed(reader, model) == ["new", "old"]
        assert listed(reader, model) == ["new", "old"]
    assert len(told(caplog)) == 1
    assert operator.get("/operations").status_code == 200
    server.start()
    server.catch_up()
    replica._known.away_until = replica._known.sampled_at = 0.0
    with caplog.at_level(logging.WARNING, "istore.db.replica"):
        assert listed(reader, model) == ["new", "old"]
    assert told(caplog)[-1] == "The read replica is used again"


def test_a_replica_that_hangs_keeps_nobody_waiting(
    server, held_back, model, make_inference, monkeypatch
):
    make_inference(inference_id="old")
    monkeypatch.setattr(replica, "BEYOND_LIMIT_SECONDS", -4.5)  # of the five allowed
    # The statement goes on there, and its snapshot may hold replay up for so long.
    began = time.monotonic()

    def sleep() -> bool:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_is_in_recovery(), CASE WHEN pg_is_in_recovery() THEN pg_sleep(6) END"
            )
            return cursor.fetchone()[0]

    assert replica.read("nobody", sleep) is False  # answered by the primary
    assert time.monotonic() - began < 5


def test_its_lag_is_told_to_prometheus_and_another_server_is_refused(
    server, held_back, model, make_inference, settings
):
    make_inference()
    replica._known.sampled_at = 0.0
    found = {
        each.name: each.samples[0].value for each in replica.metrics(replica.figures())
    }
    assert found["istore_replica_up"] == 1
    assert found["istore_replica_lag_bytes"] > 0
    assert found["istore_replica_lag_seconds"] >= 0

    assert list(external._replica_warnings()) == []
    given = settings.ISTORE_REPLICA_DATABASE
    settings.ISTORE_REPLICA_DATABASE = {**given, "HOST": "/nonexistent"}
    (warning,) = external._replica_warnings()
    assert "left out" in warning
    assert replica.figures() == {"up": 0}
    # The primary itself is no replica, and a database of another name is another one.
    primary = {**given, "HOST": connection.settings_dict["HOST"]}
    for wrong in (primary, {**given, "NAME": "postgres"}):
        settings.ISTORE_REPLICA_DATABASE = wrong
        with pytest.raises(external.Unreachable, match="no streaming replica"):
            list(external._replica_warnings())
