"""A database that is slow or gone: the list is not held up, and what is missing is said."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection
from django.test import Client
from django.urls import reverse

from inferences.models import LabelName, SourceName
from inferences.web.view_models import activity, facets, summaries, volume
from istore.models import Membership, Role

pytestmark = pytest.mark.django_db
PARTS = {
    "facets": "Counting takes too long: a narrower window of time helps.",
    "facets/key?of=frame&of_type=int": "takes too long",
    "facets/key?of=camera&of_type=string": "takes too long",
    "inferences?part=count": "Counting takes too long",
    "statistics?part=volume": "Counting takes too long here.",
    "statistics?part=labels": "Counting takes too long here.",
    "statistics?part=scores": "Counting takes too long here.",
    "statistics?part=latency": "Counting takes too long here.",
    "statistics?part=key&of=frame:int": "Counting takes too long here.",
}


@pytest.fixture
def client(project, make_inference) -> Client:
    for number in range(3):
        make_inference(
            {"camera": "north", "frame": number},
            detections=[("ship", 0.5)],
            data_source="quay",
        )
    user = User.objects.create_user("maria")
    Membership.objects.create(user=user, project=project, role=Role.EDITOR)
    client = Client(raise_request_exception=False)
    client.force_login(user)
    return client


class Slow:
    """Every statement over inferences takes longer than any deadline of a part."""

    def __init__(self) -> None:
        self.endless: list[str] = []

    def __call__(self, execute, sql, values, many, context):
        reads = "inferences_inference" in str(sql) and "SELECT" in str(sql)
        if reads:
            # Ends with the error of the deadline, if there is one.
            with connection.wrap_database_errors:
                context["cursor"].cursor.execute("SELECT pg_sleep(0.05)")
            self.endless.append(sql)
        return execute(sql, values, many, context)


@pytest.fixture
def short(monkeypatch, settings):
    settings.ISTORE_QUERY_SECONDS = 0.01
    for module in (facets, summaries, activity, volume):
        for name in vars(module):
            if name.endswith("_SECONDS"):
                monkeypatch.setattr(module, name, 0.01)


@pytest.mark.parametrize(("part", "said"), PARTS.items())
def test_a_part_that_takes_too_long_says_so(client, model, short, part, said):
    slow = Slow()
    with connection.execute_wrapper(slow):
        response = client.get(f"/models/{model.model_id}/{part}")

    assert response.status_code == 200
    assert said in response.content.decode()
    assert not slow.endless, "a statement without an end"


def test_figures_without_scripts_say_that_they_take_too_long(client, model, short):
    address = f"/models/{model.model_id}/statistics?figures=true&of=frame:int"
    with connection.execute_wrapper(slow := Slow()):
        response = client.get(address)

    assert response.status_code == 200
    assert response.content.decode().count("Counting takes too long here.") == 5
    assert not slow.endless


def test_the_list_says_that_it_takes_too_long(client, model, short):
    slow = Slow()
    with connection.execute_wrapper(slow):
        response = client.get(
            reverse("inferences:browse", args=[model.model_id]), {"label": "ship"}
        )

    assert response.status_code == 200
    assert "This takes too long" in response.content.decode()
    assert not slow.endless


def test_a_name_that_has_gone_meanwhile_is_left_out(client, model):
    LabelName.objects.all().delete()
    SourceName.objects.all().delete()

    for part in ("facets", "statistics?part=labels"):
        response = client.get(f"/models/{model.model_id}/{part}")
        assert response.status_code == 200
        assert "quay" not in response.content.decode()


@pytest.mark.parametrize("address", ["/", "/login", "/models/yolo-harbour/facets"])
def test_a_page_says_that_the_database_is_gone(client, address):
    def gone(*_: object) -> None:
        raise OperationalError("the connection is closed")

    with connection.execute_wrapper(gone):
        response = client.get(address)

    assert response.status_code == 503
    assert response["Retry-After"] == "2"
    assert "A server behind this one does not answer." in response.content.decode()


def test_a_fault_of_ours_is_a_page_as_well(client, model):
    def broken(execute, sql, values, many, context):
        if "inferences_inference" in str(sql):
            raise RuntimeError("broken")
        return execute(sql, values, many, context)

    with connection.execute_wrapper(broken):
        response = client.get(f"/models/{model.model_id}/facets")

    assert response.status_code == 500
    assert "Something went wrong on our side." in response.content.decode()
