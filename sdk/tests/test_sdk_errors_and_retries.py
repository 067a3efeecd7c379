"""What goes wrong is told by type; what may run twice is tried again, patiently."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import httpx2
import pytest

from inference_store import Client, Retries, errors, inference, models, register
from inference_store.retries import retry_after_of

EVERYTHING = models.NewGetInferencesRequest()
BUSY = (503, {"code": "dependency-unavailable", "detail": "Later."})
PROBLEM = {
    "type": "about:blank",
    "title": "Bad Request",
    "status": 400,
    "code": "validation-error",
    "detail": "filters.metadata_filter.0: 'many' is not a valid int.",
    "request_id": "r-1",
    "errors": [{"pointer": "/filters", "code": "invalid", "message": "…"}],
}


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.ValidationError),
        (401, errors.NotAuthenticated),
        (403, errors.PermissionDenied),
        (404, errors.NotFound),
        (409, errors.Conflict),
        (413, errors.InferenceStoreError),
        (422, errors.ValidationError),
        (429, errors.RateLimited),
        (500, errors.ServerError),
        (502, errors.ServerError),
        (503, errors.Unavailable),
    ],
)
def test_each_status_has_its_error(client, store, status, kind):
    store.says((status, PROBLEM | {"status": status}))
    with pytest.raises(kind) as raised:
        inference.count_inferences("m", EVERYTHING)
    assert isinstance(raised.value, errors.InferenceStoreError)
    assert raised.value.status == status


def test_an_error_carries_what_the_problem_says(client, store):
    store.says((400, PROBLEM))
    with pytest.raises(errors.ValidationError) as raised:
        inference.count_inferences("m", EVERYTHING)
    error = raised.value
    assert (error.status, error.code) == (400, "validation-error")
    assert error.detail == PROBLEM["detail"]
    assert error.errors == PROBLEM["errors"]
    assert error.request_id == "r-1"
    assert str(error) == f"{PROBLEM['detail']} (400 validation-error)"


def test_an_error_in_no_known_form_is_told_by_status(client, store):
    store.says((500, b"<html>oops</html>"))
    with pytest.raises(errors.ServerError, match="Internal Server Error"):
        inference.count_inferences("m", EVERYTHING)


def test_an_answer_in_no_known_form_is_unexpected(client, store):
    for answer in ((200, b"<html>"), (200, {"number": 3}), (302, b"")):
        store.says(answer)
        with pytest.raises(errors.InferenceStoreError):
            inference.count_inferences("m", EVERYTHING)


def test_another_servers_404_is_not_an_absent_thing(client, store):
    store.says((404, b"<html>no such page</html>"))
    with pytest.raises(errors.UnexpectedAnswer, match="no Inference Store"):
        register.get_registered_model("m")


@pytest.mark.parametrize("failure", [BUSY, (429, {}), httpx2.ConnectError])
def test_what_may_run_twice_is_tried_again(client, store, failure):
    store.says(failure, failure, {"count": 1})
    assert inference.count_inferences("m", EVERYTHING) == 1
    assert len(store.requests) == 3
    assert store.waits == [0.125, 0.25]  # half of 0.25 and of 0.5


@pytest.mark.parametrize(
    "failure", [(500, {}), (502, {}), (400, PROBLEM), httpx2.ReadTimeout]
)
def test_other_failures_are_told_at_once(client, store, failure):
    store.says(failure)
    with pytest.raises(errors.InferenceStoreError):
        inference.count_inferences("m", EVERYTHING)
    assert len(store.requests) == 1


def test_tries_end(client, store):
    store.says(BUSY)
    with pytest.raises(errors.Unavailable, match="Later"):
        inference.count_inferences("m", EVERYTHING)
    assert len(store.requests) == 5
    store.says(httpx2.ConnectError)
    with pytest.raises(errors.ConnectionFailed, match=r"store\.example"):
        inference.count_inferences("m", EVERYTHING)


def test_a_timeout_is_told_as_one(client, store):
    store.says(httpx2.ReadTimeout)
    with pytest.raises(errors.TimedOut) as raised:
        inference.count_inferences("m", EVERYTHING)
    assert isinstance(raised.value, TimeoutError)


def test_the_store_may_say_how_long_to_wait(client, store):
    store.says((429, {}, {"Retry-After": "7"}), {"count": 1})
    inference.count_inferences("m", EVERYTHING)
    assert store.waits == [7.125]


def test_a_wait_that_is_too_long_is_left_to_the_caller(client, store):
    store.says((429, {}, {"Retry-After": "600"}))
    with pytest.raises(errors.RateLimited) as raised:
        inference.count_inferences("m", EVERYTHING)
    assert raised.value.retry_after == 600
    assert len(store.requests) == 1


def test_a_post_that_would_count_twice_is_sent_once(client, store):
    store.says(BUSY)
    with pytest.raises(errors.Unavailable):
        inference.bulk_delete_inferences("m", models.BaseInferenceFilter())
    assert len(store.requests) == 1
    assert len(store.last.headers["idempotency-key"]) == 36


def test_a_question_needs_no_idempotency_key(client, store):
    store.says({"count": 1})
    inference.count_inferences("m", EVERYTHING)
    assert "idempotency-key" not in store.last.headers


def test_deleting_is_tried_again(client, store):
    store.says(httpx2.RemoteProtocolError, {"inference_id": "a"})
    assert inference.delete_inference("m", "a") == "a"


def test_waits_are_random_up_to_a_limit_that_doubles():
    for chance, wanted in ((0.0, [0, 0, 0]), (1.0, [0.25, 0.5, 1.0])):
        retries = Retries(chance=lambda chance=chance: chance)
        assert [retries.wait(tries) for tries in (1, 2, 3)] == wanted
    assert Retries(attempts=20, chance=lambda: 1.0).wait(19) == 30
    assert Retries(attempts=1).wait(1) is None
    waits = {Retries().wait(1) for _ in range(20)}
    assert len(waits) > 1 and all(0 <= each <= 0.25 for each in waits)


def test_a_client_may_be_told_not_to_repeat(store):
    store.says(BUSY)
    client = Client(
        "http://s", transport=httpx2.MockTransport(store), retries=Retries(attempts=1)
    )
    with client, pytest.raises(errors.Unavailable):
        client.inference.count_inferences("m", EVERYTHING)
    assert len(store.requests) == 1
    assert "authorization" not in store.last.headers


@pytest.mark.parametrize(("text", "seconds"), [("3", 3.0), ("soon", None), ("", None)])
def test_retry_after_as_seconds(text, seconds):
    assert (
        retry_after_of(httpx2.Response(429, headers={"Retry-After": text})) == seconds
    )


def test_retry_after_as_a_date():
    moment = datetime.now(timezone.utc) + timedelta(seconds=60)
    headers = {"Retry-After": format_datetime(moment, usegmt=True)}
    assert 55 < retry_after_of(httpx2.Response(429, headers=headers)) <= 60
