"""What was taken out of a dataset and can come back, and what cannot."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth.models import User
from django.test import Client

from datasets import lifecycle
from datasets.models import Dataset
from exports.tests.conftest import png
from istore.models import AuditEntry, Membership, Role

pytestmark = pytest.mark.django_db
HARD = "/projects/harbour/datasets/hard%20cases"


@pytest.fixture
def client(project) -> Client:
    user = User.objects.create_user("maria")
    Membership.objects.create(user=user, project=project, role=Role.EDITOR)
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def filled(dataset, add, make_stored) -> Dataset:
    """Two entries in the first version, and one that came after it."""
    for number, name in enumerate(("a", "b", "c")):
        if name == "c":
            lifecycle.publish("test", dataset)
        make_stored(png(20 + number, 20), [], inference_id=name)
        add()
    return Dataset.objects.get()


def entries(dataset) -> dict[str, int]:
    return dict(dataset.entries.current().values_list("inference_id", "pk"))


def undo_of(response) -> tuple[str, list[str]]:
    found = re.search(
        r'<form class="undo" method="post" action="([^"]+)">(.*?)</form>',
        response.content.decode(),
        re.S,
    )
    assert found, "nothing is offered"
    return found[1], re.findall(r'name="entry" value="(\d+)"', found[2])


def take_out(client, dataset, *names: str):
    ids = [entries(dataset)[name] for name in names]
    return client.post(f"{HARD}/remove", {"entry": ids}, follow=True)


def test_what_a_published_version_holds_is_put_back_as_it_was(client, filled):
    before = entries(filled)

    told = take_out(client, filled, "a", "b")
    assert "2 entries taken out." in told.content.decode()
    assert list(entries(filled)) == ["c"]
    address, ids = undo_of(told)
    back = client.post(address, {"entry": ids}, follow=True)

    assert "2 entries put back." in back.content.decode()
    assert entries(filled) == before
    assert AuditEntry.objects.filter(action="dataset.put_back").count() == 1


def test_what_was_never_published_is_gone_and_it_says_so(client, filled):
    assert "Entries in no published version are removed for good" in (
        client.get(HARD).content.decode()
    )

    told = take_out(client, filled, "a", "c")
    assert "1 entry of no published version for good." in told.content.decode()
    address, ids = undo_of(told)
    client.post(address, {"entry": ids})

    assert set(entries(filled)) == {"a", "b"}
    alone = take_out(client, filled, "b")
    lifecycle.publish("test", filled)
    add_again = undo_of(alone)
    late = client.post(add_again[0], {"entry": add_again[1]}, follow=True)
    assert "Nothing is put back" in late.content.decode()
    assert set(entries(filled)) == {"a"}


def test_what_was_added_anew_is_there_once(client, filled, add):
    address, ids = undo_of(take_out(client, filled, "a"))
    add()
    assert "a" in entries(filled)

    client.post(address, {"entry": ids})

    assert filled.entries.current().filter(inference_id="a").count() == 1


def test_who_may_not_edit_puts_nothing_back(client, filled):
    address, ids = undo_of(take_out(client, filled, "a"))
    Membership.objects.update(role=Role.VIEWER)

    assert client.post(address, {"entry": ids}).status_code == 403
    assert "a" not in entries(filled)
