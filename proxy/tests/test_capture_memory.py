"""What capture holds in memory is bounded by what comes out of compressed answers."""

from __future__ import annotations

import gzip
import threading

import pytest

from istore import blobs
from proxy.capture import worker
from proxy.capture.artifacts import prepare
from proxy.capture.portions import Unfolding
from proxy.content_hashes import content_hashes_of
from proxy.spool.entries import FORM_JSON, FORM_V2
from proxy.tests.builders import make_entry, prefix_of, spooled

MIB = 2**20


def folded(name: str, answer: bytes, encoding: str = "gzip", **facts) -> bytes:
    """The payload of a call whose answer came compressed."""
    entry = make_entry(
        answer=answer,
        answer_encoding=encoding,
        inference_ids=[name],
        prefixes=[prefix_of(name)],
        **facts,
    )
    return b"".join(entry.pieces())


class Peak:
    """The most memory that this process had since it was asked, above what it has then."""

    def __init__(self) -> None:
        self.before = self._read("VmRSS")
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")  # VmHWM begins anew

    def bytes(self) -> int:
        return self._read("VmHWM") - self.before

    @staticmethod
    def _read(name: str) -> int:
        with open("/proc/self/status") as file:
            (line,) = [each for each in file if each.startswith(name)]
        return int(line.split()[1]) * 1024


@pytest.mark.parametrize("is_bomb", [True, False], ids=["bombs", "honest"])
def test_a_window_of_answers_that_unfold_is_captured_in_bounded_memory(
    capture, stream, tmp_path, settings, is_bomb
):
    settings.ISTORE_PACK_BYTES = MIB
    settings.ISTORE_CAPTURE_MAX_BYTES = MIB
    answer = gzip.compress(bytes(2 * MIB if is_bomb else MIB))
    spooled(tmp_path / "spool", *(folded(str(n), answer) for n in range(200))).close()
    peak = Peak()
    capture.look()
    assert peak.bytes() < 32 * MIB  # of 200 or 400 MiB that come out
    assert [each.inference_id for each in stream.events] == list(map(str, range(200)))
    stored = blobs.get(stream.events[-1].inference_storage_key)
    assert stored == (answer if is_bomb else bytes(MIB))


def test_what_waits_apart_is_captured_in_bounded_memory(
    capture, stream, tmp_path, settings
):
    settings.ISTORE_PACK_BYTES = MIB
    answer = gzip.compress(bytes(MIB))
    folder = worker.waiting.folder_of(tmp_path / "spool", "1/2")
    payloads = [folded(str(n), answer) for n in range(100)]
    worker.waiting.set_aside(tmp_path / "spool", "1/2", payloads, 0)
    peak = Peak()
    capture.retries.retry()
    assert peak.bytes() < 32 * MIB
    assert len(stream.events) == 100
    assert not list(folder.glob("*.closed"))


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
def test_an_answer_that_is_not_unfolded_is_kept_as_it_came(settings, encoding):
    settings.ISTORE_CAPTURE_MAX_BYTES = 1000
    for stated in (None, {"marks": []}):
        answer = gzip.compress(bytes(MIB))
        entry = make_entry(answer=answer, answer_encoding=encoding, stream=stated)
        (captured,) = prepare(entry)
        assert captured.answer.body == answer
        assert any("kept as" in each for each in captured.marker["warnings"])


def test_a_call_of_several_parts_is_kept_as_it_came_when_it_is_too_large(settings):
    settings.ISTORE_CAPTURE_MAX_BYTES = 1000
    answer = gzip.compress(bytes(MIB))
    for form in (FORM_V2, FORM_JSON):
        entry = make_entry(
            b'{"inputs": ["a", "b"]}',
            task_type="Text Generation",
            answer=answer,
            answer_encoding="gzip",
            inference_ids=["a", "b"],
            prefixes=[prefix_of("a"), prefix_of("b")],
            form=form,
        )
        assert [each.answer.body for each in prepare(entry)] == [answer] * 2


def test_content_hashes_unfold_no_more_than_capture_does(settings):
    settings.ISTORE_CAPTURE_MAX_BYTES = MIB
    answer = gzip.compress(bytes(100 * MIB))
    payload = folded("a", answer)
    peak = Peak()
    (whole,) = content_hashes_of(payload)
    assert peak.bytes() < 16 * MIB
    (again,) = content_hashes_of(payload)
    assert whole == again


def test_only_one_thread_holds_more_than_a_pack(settings):
    settings.ISTORE_PACK_BYTES = 10
    unfolding = Unfolding()

    def read(payload, take):
        take(len(payload))
        return []

    first = unfolding.portions([b"x" * 11], read)
    next(first)
    done = threading.Event()

    def take_apart():
        for _ in unfolding.portions([b"y" * 11], read):
            done.set()

    thread = threading.Thread(target=take_apart)
    thread.start()
    assert not done.wait(0.2)
    small = unfolding.portions([b"z" * 9], read)
    assert next(small)
    first.close()
    assert done.wait(5)
    thread.join()
