from datetime import UTC, datetime, timedelta, timezone

import orjson
import pytest

from ingest.events import InferenceEvent, read_moment, written_moment
from ingest.tests.builders import make_event


def test_an_event_comes_back_from_its_wire_form():
    event = make_event()
    assert InferenceEvent.from_json(event.to_json()) == event


def test_the_wire_form_has_exactly_the_nine_members():
    assert list(orjson.loads(make_event().to_json())) == [
        "model_id",
        "inference_id",
        "request_received_at",
        "request_forwarded_at",
        "request_responded_at",
        "event_published_at",
        "data_storage_key",
        "inference_storage_key",
        "metadata_storage_key",
    ]


def test_times_are_written_in_utc_with_microseconds():
    eastern = timezone(timedelta(hours=-5))
    moment = datetime(2026, 1, 1, 0, 0, 0, 0, tzinfo=eastern)
    assert written_moment(moment) == "2026-01-01T05:00:00.000000Z"


def test_a_moment_without_a_zone_is_not_written():
    with pytest.raises(ValueError, match="time zone"):
        written_moment(datetime(2026, 1, 1))


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-01T00:00:00",
        "2026-01-01",
        "2026-13-01T00:00:00Z",
        "2026-01-01T00:00:00.1234567Z",
        "0001-01-01T00:00:00+14:00",
        "٢٠٢٦-01-01T00:00:00Z",
        1767225600,
        None,
    ],
)
def test_what_is_no_time_is_refused(text):
    with pytest.raises(ValueError):
        read_moment(text)


def test_other_offsets_are_read():
    assert read_moment("2026-01-01T02:00:00.5+02:00") == datetime(
        2026, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC
    )


@pytest.mark.parametrize(
    "change",
    [
        {"model_id": 7},
        {"model_id": None},
        {"inference_id": ""},
        {"request_received_at": "yesterday"},
        {"event_published_at": 0},
        {"tenth": "member"},
    ],
)
def test_members_of_another_type_are_refused(change):
    with pytest.raises(ValueError):
        InferenceEvent.from_dict(make_event().as_dict() | change)


@pytest.mark.parametrize("payload", [b"", b"[]", b"{}", b"null", b"\xff", b'{"a":1}'])
def test_what_is_no_event_is_refused(payload):
    with pytest.raises(ValueError):
        InferenceEvent.from_json(payload)
