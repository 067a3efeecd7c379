"""Inferences of a window become packs, and are read from them as they came."""

from dataclasses import replace

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.markers import read_event_of
from istore import blobs
from istore.blobs import packs
from istore.blobs.keys import MemberKey
from proxy.capture.artifacts import Answer, Captured, prepare
from proxy.capture.packing import pack
from proxy.tests.builders import make_entry, prefix_of


def captured(name: str, data: bytes = b"input", answer: bytes = b"{}") -> Captured:
    (found,) = prepare(make_entry(inference_ids=[name], prefixes=[prefix_of(name)]))
    part = replace(found.part, data=data)
    said = {**found.marker, "answer": {**found.marker["answer"], "size": len(answer)}}
    return replace(
        found, part=part, answer=Answer(answer, "text/plain", None), marker=said
    )


def test_every_inference_of_a_window_is_read_as_it_came():
    inferences = [
        captured(str(n), b"input %d" % n, b"answer %d" % n) for n in range(20)
    ]
    (packed,) = pack(inferences)
    packed.put()
    for each, event in zip(inferences, packed.events, strict=True):
        assert blobs.get(event.data_storage_key) == each.part.data
        assert blobs.get(event.inference_storage_key) == each.answer.body
        marker = orjson.loads(blobs.get(event.metadata_storage_key))
        assert marker["format"] == 2
        assert read_event_of(marker, event.metadata_storage_key) == event


def test_an_input_above_the_limit_is_an_object_of_its_own(settings):
    settings.ISTORE_PACK_MEMBER_BYTES = 10
    inferences = [captured("a", b"small"), captured("b", b"x" * 11)]
    (packed,) = pack(inferences)
    packed.put()
    small, large = packed.events
    assert packs.is_member(small.data_storage_key)
    assert large.data_storage_key.endswith(f"/{blobs.INPUT}")
    assert blobs.get(large.data_storage_key) == b"x" * 11


def test_a_second_capture_shares_no_object_with_the_first(settings):
    settings.ISTORE_PACK_MEMBER_BYTES = 0
    inferences = [captured("a")]
    keys = [
        e.data_storage_key for _ in "ab" for p in pack(inferences) for e in p.events
    ]
    assert len(set(keys)) == 2


def test_a_window_of_large_inputs_alone_has_no_pack_of_inputs(settings):
    settings.ISTORE_PACK_MEMBER_BYTES = 0
    (packed,) = pack([captured("a", b"x")])
    assert packed.inputs is None


def test_inferences_of_two_hours_are_in_two_packs():
    late = replace(captured("b"), prefix=prefix_of("b").replace("/05/", "/06/"))
    found = [
        packs.pack_of(e.events[0].metadata_storage_key)
        for e in pack([captured("a"), late])
    ]
    assert [each.split("/")[5] for each in found] == ["05", "06"]


def test_a_pack_has_a_thousand_inferences_at_most():
    inferences = [replace(captured("a"), prefix=prefix_of(str(n))) for n in range(1001)]
    counts = [len(each.events) for each in pack(inferences)]
    assert counts == [packs.MEMBERS_MAX, 1]


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.binary(max_size=50), st.binary(max_size=50)), min_size=1),
    st.integers(1, 200),
)
def test_no_inference_is_lost_however_the_bytes_of_a_pack_are_bounded(contents, limit):
    from django.test import override_settings

    inferences = [
        captured(str(n), data, answer) for n, (data, answer) in enumerate(contents)
    ]
    with override_settings(ISTORE_PACK_BYTES=limit):
        found = list(pack(inferences))
    bodies = {p.key: p.body for each in found for p in (each.inputs, each.records)}
    events = [event for each in found for event in each.events]

    def read(key: str) -> bytes:
        pack_key, offset, length = MemberKey.parse(key)
        return bodies[pack_key][offset : offset + length]

    assert [each.inference_id for each in events] == [
        str(n) for n in range(len(contents))
    ]
    for (data, answer), event in zip(contents, events, strict=True):
        assert read(event.data_storage_key) == data
        assert read(event.inference_storage_key) == answer
