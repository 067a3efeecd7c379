"""Protecting, restoring and erasing with the real client against the real API."""

from __future__ import annotations

import json
import sys

import pytest
from django.db import transaction
from inference_store import Client, cli, connection, deleted, erasure, errors, models
from inference_store.protection import (
    InputExpiredWarning,
    protect_inference,
    protect_inferences,
)

from inferences.models import InferencePayload
from inferences.store import removal
from istore.accounts.tokens import create_token
from istore.models import Role

ALL = models.BaseInferenceFilter()


@pytest.fixture
def client(live_server, project, monkeypatch):
    secret = create_token("sdk", project, Role.ADMINISTRATOR)[1]
    monkeypatch.setenv("ISTORE_URL", live_server.url)
    monkeypatch.setenv("ISTORE_TOKEN", secret)
    connection.current = Client(live_server.url, secret)
    yield connection.current
    connection.current.close()
    connection.current = None


@pytest.fixture
def eager(queue):
    """A worker that begins at once."""
    queue.is_eager = True


@pytest.fixture
def istore(client, monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["istore", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        code = end.value.code
        return 1 if isinstance(code, str) else code or 0, capsys.readouterr().out

    return run


def hide(model, *names):
    with transaction.atomic():
        removal.hide_records(model, model.inferences.filter(inference_id__in=names))


def test_protects_and_no_longer(client, model, make_inference, settings):
    settings.ISTORE_BULK_DELETE_MAX = settings.ISTORE_REMOVAL_BATCH = 2
    for name in "abcde":
        make_inference(inference_id=name)

    assert protect_inference("yolo-harbour", "a", "Evidence.") is True
    with pytest.raises(errors.NotFound, match="no inference 'absent'"):
        protect_inference("yolo-harbour", "absent")
    InferencePayload.objects.update(input_expired_at="2026-03-01T10:00:00Z")
    with pytest.warns(InputExpiredWarning, match="a expired at 2026-03-01"):
        assert protect_inference("yolo-harbour", "a") is True
    dry = protect_inferences("yolo-harbour", ALL, dry_run=True)
    done = protect_inferences("yolo-harbour", ALL, "All of it.")

    assert (dry.count, done.count) == (4, 4)  # in several calls
    assert not model.inferences.filter(is_protected=False).exists()
    assert protect_inference("yolo-harbour", "a", is_protected=False) is False


def test_restores_and_removes_for_good(client, model, make_inference):
    for name in "abcd":
        make_inference({"k": name}, inference_id=name)
    hide(model, "a", "b", "c")

    found = deleted.filter_deleted_inferences("yolo-harbour", limit=2)
    rest = deleted.filter_deleted_inferences("yolo-harbour", cursor=found.next)
    assert sorted(each.inference_id for each in [*found, *rest]) == ["a", "b", "c"]
    assert found[0].deleted_at

    assert deleted.restore_inferences("yolo-harbour", ["a"]) == 1
    assert deleted.restore_inferences("yolo-harbour", None, ALL, dry_run=True) == 2
    gone = deleted.remove_deleted_inferences("yolo-harbour", query="meta.k=b")
    assert gone == 1
    assert model.inferences.live().count() == 2
    with pytest.raises(ValueError):
        deleted.restore_inferences("yolo-harbour")
    with pytest.raises(ValueError):
        deleted.restore_inferences("yolo-harbour", ["a"], ALL)


def test_erases_and_proves_it(client, model, make_inference, eager):
    make_inference({"person": "Zaphod"}, inference_id="a")
    make_inference({"person": "Trillian"}, inference_id="b")
    wanted = models.NewErasureRequest(key="person", value="Zaphod", why="Asked for.")

    task = erasure.create_erasure("harbour", wanted)
    done = erasure.get_erasure("harbour", task.id)

    assert (done.state, done.erased_count) == ("complete", 1)
    assert done.report["proof"]["left"] == 0
    assert erasure.was_erased("harbour", task.id, "yolo-harbour", "a") is True
    assert erasure.was_erased("harbour", task.id, "yolo-harbour", "b") is False
    assert [each.id for each in erasure.list_erasures("harbour")] == [task.id]
    assert erasure.stop_erasure("harbour", task.id).state == "complete"
    with pytest.raises(errors.ValidationError):
        erasure.create_erasure(
            "harbour", models.NewErasureRequest(key="k", type="int", value="many")
        )


def test_from_the_command_line(istore, model, make_inference, eager):
    for name in "abc":
        make_inference({"person": name}, inference_id=name)

    assert istore("protect", "yolo-harbour", "a", "--reason", "Evidence.") == (
        0,
        "1 inference protected.\n",
    )
    assert model.inferences.get(is_protected=True).inference_id == "a"
    _, said = istore("protect", "yolo-harbour", "--all", "--dry-run", "--json")
    assert json.loads(said) == {"count": 2, "dry_run": True}
    assert istore("protect", "yolo-harbour", "a", "--off")[1].startswith("1 inference")
    assert istore("protect", "yolo-harbour")[0] == 1

    hide(model, "a", "b")
    assert [
        line.split("\t")[2]
        for line in istore("deleted", "yolo-harbour")[1].splitlines()
    ]
    assert istore("restore", "yolo-harbour", "--all")[1] == "2 inferences restored.\n"

    status, said = istore("erase", "harbour", "person", "b", "--yes")
    assert status == 0
    assert "erased: records\t1" in said
    assert sorted(model.inferences.values_list("inference_id", flat=True)) == ["a", "c"]
    assert istore("erase", "harbour", "person", "c")[0] == 1  # nobody is there to ask
