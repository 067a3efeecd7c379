from __future__ import annotations

import threading

import pytest
from django.db import connection, transaction
from django.db.models.functions import Now

from inferences.models import InferencePayload
from inferences.search.filters import InferenceFilter, matching
from inferences.store import protection, removal
from inferences.store.protection import Protection, protect_all
from istore import failpoints
from istore.errors import Conflict
from istore.models import AuditEntry, Role

ADDRESS = "/api/v1/models/yolo-harbour/inferences"


def protect(api, inference_id, **body):
    return api.put(f"{ADDRESS}/{inference_id}/protection", body)


def test_who_protected_it_when_and_why_is_told(api, model, make_inference):
    make_inference(inference_id="a")

    answer = protect(api, "a", reason="Evidence of 14 June.")

    assert answer.json() == {"inference_id": "a", "is_protected": True}
    found = api.get(f"{ADDRESS}/a").json()
    assert found["is_protected"]
    assert found["notes"]["protection"]["reason"] == "Evidence of 14 June."
    entry = AuditEntry.objects.get(action="inference.protect", subject="a")
    assert entry.details == {
        "model_id": "yolo-harbour",
        "reason": "Evidence of 14 June.",
    }


def test_a_protection_says_that_the_input_was_gone_before(api, model, make_inference):
    for name in "abc":
        make_inference(inference_id=name)
    row_ids = model.inferences.filter(inference_id__in="ab").values("id")
    payloads = InferencePayload.objects.beside(model).filter(id__in=row_ids)
    payloads.update(input_expired_at="2026-03-01T10:00:00Z")

    told = protect(api, "a").json()
    assert told["input_expired_at"] == "2026-03-01T10:00:00.000000Z"
    assert "input_expired_at" not in protect(api, "c").json()

    body = {"filters": {}, "dry_run": True}
    assert api.post(f"{ADDRESS}/protection", body).json()["input_expired"] == 1
    told = api.post(f"{ADDRESS}/protection", {"filters": {}}).json()
    assert (told["count"], told["input_expired"]) == (1, 1)
    told = api.post(f"{ADDRESS}/protection", {"filters": {}, "is_protected": False})
    assert (told.json()["count"], told.json()["input_expired"]) == (3, 0)


def test_a_protection_can_be_taken_back(api, model, make_inference):
    make_inference(inference_id="a", is_protected=True)
    protect(api, "a", is_protected=False, reason="Closed.")

    found = api.get(f"{ADDRESS}/a").json()
    assert not found["is_protected"]
    assert found["notes"] is None
    assert AuditEntry.objects.filter(action="inference.unprotect").count() == 1


def test_protecting_again_changes_nothing_and_is_not_audited(api, make_inference):
    make_inference(inference_id="a")
    protect(api, "a")
    before = api.get(f"{ADDRESS}/a").json()

    assert protect(api, "a", reason="Another one.").status_code == 200
    assert api.get(f"{ADDRESS}/a").json() == before
    assert AuditEntry.objects.filter(action="inference.protect").count() == 1


def test_an_absent_one_is_a_404_and_so_is_a_soft_deleted_one(
    api, model, make_inference
):
    row = make_inference(inference_id="a")
    removal.hide(model, [row.id])
    InferencePayload.objects.beside(model).update(deleted_at=Now())

    assert protect(api, "a").status_code == 404
    assert protect(api, "absent").status_code == 404


@pytest.mark.parametrize("intent", ["removal_at", "input_removal_at"])
def test_after_the_intent_it_is_too_late(api, model, make_inference, intent):
    make_inference(inference_id="a")
    InferencePayload.objects.beside(model).update(**{intent: Now()})

    answer = protect(api, "a")

    assert (answer.status_code, answer.json()["code"]) == (409, "being-removed")
    assert not model.inferences.get().is_protected
    # To give up a protection is never too late.
    assert protect(api, "a", is_protected=False).status_code == 200


@pytest.mark.parametrize(
    "body", [{"reason": 3}, {"is_protected": "yes"}, {"why": ""}, {"reason": "x" * 501}]
)
def test_what_cannot_be_read_is_a_400(api, make_inference, body):
    make_inference(inference_id="a")

    assert protect(api, "a", **body).status_code == 400


def test_all_that_match_are_protected_in_batches(api, model, make_inference, settings):
    settings.ISTORE_REMOVAL_BATCH = 3
    for number in range(8):
        make_inference({"split": "a" if number else "b"}, inference_id=f"{number}")
    body = {"query": "meta.split=a", "reason": "A benchmark."}

    dry = api.post(f"{ADDRESS}/protection", body | {"dry_run": True}).json()
    assert (dry["count"], dry["dry_run"]) == (7, True)
    assert not model.inferences.filter(is_protected=True).exists()

    done = api.post(f"{ADDRESS}/protection", body).json()
    assert (done["count"], done["more"]) == (7, False)
    assert set(model.inferences.filter(is_protected=False)) == {
        model.inferences.get(inference_id="0")
    }
    entries = AuditEntry.objects.filter(action="inference.bulk_protect")
    assert sorted(entry.details["count"] for entry in entries) == [1, 3, 3]
    assert "split" not in str([entry.details for entry in entries])

    back = api.post(f"{ADDRESS}/protection", body | {"is_protected": False}).json()
    assert back["count"] == 7
    assert not model.inferences.filter(is_protected=True).exists()


def test_a_call_has_an_end_and_says_that_there_is_more(
    api, model, make_inference, settings
):
    settings.ISTORE_REMOVAL_BATCH, settings.ISTORE_BULK_DELETE_MAX = 2, 4
    for number in range(5):
        make_inference(inference_id=f"{number}")

    first = api.post(f"{ADDRESS}/protection", {"filters": {}}).json()
    second = api.post(f"{ADDRESS}/protection", {"filters": {}}).json()

    assert (first["count"], first["more"]) == (4, True)
    assert (second["count"], second["more"]) == (1, False)


def test_without_a_filter_nothing_is_protected(api, model, make_inference):
    make_inference()

    assert api.post(f"{ADDRESS}/protection", {}).status_code == 400
    assert api.post(f"{ADDRESS}/protection", {"filter": {}}).status_code == 400
    assert not model.inferences.filter(is_protected=True).exists()


def test_those_being_removed_are_counted_and_left(api, model, make_inference):
    first, _ = make_inference(), make_inference()
    InferencePayload.objects.beside(model).filter(id=first.id).update(
        input_removal_at=Now()
    )

    done = api.post(f"{ADDRESS}/protection", {"filters": {}}).json()

    assert (done["count"], done["being_removed"]) == (1, 1)


def test_a_call_that_breaks_off_is_finished_by_the_same_call(
    api, model, make_inference, settings
):
    settings.ISTORE_REMOVAL_BATCH = 2
    for _ in range(5):
        make_inference()
    failpoints.arm("protection.batch_written:2=raise")
    try:
        with pytest.raises(failpoints.Failure):
            protect_all("test", model, model.inferences.live, Protection())
    finally:
        failpoints.arm("")
    assert model.inferences.filter(is_protected=True).count() == 4
    done = api.post(f"{ADDRESS}/protection", {"filters": {}}).json()
    assert (done["count"], done["more"]) == (1, False)
    counts = AuditEntry.objects.filter(action="inference.bulk_protect")
    assert sorted(each.details["count"] for each in counts) == [1, 2, 2]


def test_a_viewer_protects_nothing(api_as, make_inference):
    make_inference(inference_id="a")

    assert protect(api_as(Role.VIEWER), "a").status_code == 403


def test_an_inference_may_be_called_like_the_address(api, make_inference):
    make_inference(inference_id="a/protection")
    make_inference(inference_id="protection")

    assert api.get(f"{ADDRESS}/a/protection").json()["inference_id"] == "a/protection"
    assert api.get(f"{ADDRESS}/protection").json()["inference_id"] == "protection"


@pytest.mark.django_db(transaction=True)
class TestTwoConnections:
    """Whoever has the row's lock first decides; the other one is told, or skips it."""

    def in_another_thread(self, work):
        outcome = {}

        def run():
            try:
                outcome["value"] = work()
            except Exception as error:
                outcome["value"] = error
            finally:
                connection.close()

        thread = threading.Thread(target=run)
        thread.start()
        return thread, outcome

    def test_an_intent_that_is_not_committed_yet_is_waited_for(
        self, model, make_inference
    ):
        row = make_inference(inference_id="a")
        with transaction.atomic():
            list(model.inferences.filter(id=row.id).select_for_update())
            removal.hide(model, [row.id])
            InferencePayload.objects.beside(model).update(removal_at=Now())
            thread, outcome = self.in_another_thread(
                lambda: protection.protect_one("test", model, "a", Protection())
            )
            thread.join(0.3)
            assert thread.is_alive()  # it waits for the lock
        thread.join(5)

        assert isinstance(outcome["value"], Conflict)
        assert not model.inferences.get().is_protected

    def test_a_protection_that_is_not_committed_yet_is_passed_by(
        self, model, make_inference
    ):
        make_inference(inference_id="a")
        stale = lambda: matching(model, InferenceFilter()).unprotected()  # noqa: E731
        with transaction.atomic():
            protection.protect_one("test", model, "a", Protection())
            thread, outcome = self.in_another_thread(
                lambda: list(removal.intend_all("test", model, stale))
            )
            thread.join(0.3)
            assert thread.is_alive()
        thread.join(5)

        assert outcome["value"] == []
        assert model.inferences.live().get().is_protected
