"""What is damaged or cannot be read costs an export one member, which its report names."""

from __future__ import annotations

import errno
import json

import pytest

from exports import members
from exports.formats import FORMATS
from exports.formats.native import to_strict_json
from exports.tests.conftest import opened, png
from exports.tests.test_annotations_come_back import turned_jpeg
from inferences.models import InferencePayload, TaskType
from istore import blobs

pytestmark = pytest.mark.django_db(transaction=True)

ROOM = "1/1/2025/06/01/00/damaged/{}"
OF_PICTURES = (
    "coco",
    "yolo",
    "voc",
    "imagefolder",
    "chariot",
    "label_studio",
    "ndjson",
)
CHATS = ("openai_chat", "sharegpt", "huggingface_chat")
SHIP = [{"label": "ship", "score": 0.9, "bbox": [1, 1, 9, 9]}]


@pytest.fixture
def spoil(monkeypatch):
    """``spoil(key)``: no read gets through to this blob any more, but to the others."""
    spoiled, read = set(), blobs.open_blob

    def open_blob(key):
        if key in spoiled:
            raise OSError(errno.EIO, "Input/output error")
        return read(key)

    monkeypatch.setattr(blobs, "open_blob", open_blob)
    return spoiled.add


def test_every_format_skips_what_is_damaged(
    model, make_stored, make_inference, exported, spoil
):
    make_stored(png(), SHIP, inference_id="good")
    make_stored(png()[:90], SHIP, inference_id="truncated")
    make_stored(b"", SHIP, inference_id="gone", data_storage_key=ROOM.format("gone"))
    make_stored(png(9, 9), SHIP, inference_id="other-hash", data_hash=b"\1" * 32)
    make_stored(png(), inference_id="broken-json", data='{"object_detection": [{"la')
    spoiled = make_stored(png(), SHIP, inference_id="spoiled")
    (payload,) = InferencePayload.objects.filter(id=spoiled.id)
    spoil(payload.data_storage_key)
    make_inference(
        inference_id="answer-gone",
        data_storage_key=(whole := ROOM.format("whole")),
        answer_storage_key=ROOM.format("no-answer"),
        data_content_type="image/png",
    )
    blobs.put(whole, png())

    for name in FORMATS:
        task = exported(name)
        report = task.receipt
        opened(task)
        assert report["written"] + report["skipped"] == 7, name
        reasons = {
            each["inference_id"]: each["reason"] for each in report["first_skips"]
        }
        if name in CHATS:
            assert set(reasons.values()) <= {"no-conversation", "damaged-input"}
        else:
            assert "good" not in reasons, (name, reasons)
        if name in ("coco", "yolo", "voc", "imagefolder", "webdataset", "chariot"):
            assert reasons["spoiled"] == "damaged-input", (name, reasons)
        if name == "ndjson":
            assert reasons == {"spoiled": "damaged-input"}  # an answer warns


HUGE, NAN = 1e308, float("nan")
STRANGE_SHAPES = (
    {"bbox": [NAN, 1, 9, 9]},
    {"bbox": [-HUGE, -HUGE, HUGE, HUGE]},
    {"bbox": [9, 9, 9, 9]},
    {"oriented_bbox": [1, 1, 0, HUGE, NAN]},
    {"segmentation": [[1, 1]]},
    {"segmentation": [[1, 1, HUGE, NAN, 3, -HUGE]]},
    {"segmentation": {"size": [8, 8], "counts": [-1, 65]}},
    {"segmentation": {"size": [8, 8], "counts": [3, 99, 1]}},
    {"segmentation": {"size": [0, 0], "counts": []}},
    {"segmentation": {"size": [10**9, 10**9], "counts": [10**18]}},
    {"segmentation": {"size": [8, 8], "counts": "\u00e9#!"}},
    # Legal runs, and more pixels than any memory holds.
    {"segmentation": {"size": [2**31, 2**31], "counts": [0, 2**31]}},
    {"segmentation": {"size": [40_000, 40_000], "counts": [0, 1_600_000_000]}},
)


@pytest.mark.parametrize("turned", [False, True])
def test_a_strange_shape_costs_one_member_at_most(make_stored, exported, turned):
    picture = turned_jpeg(6) if turned else png()
    for number, shape in enumerate(STRANGE_SHAPES):
        answer = [{"label": "ship", "score": 0.9, **shape}]
        make_stored(picture, answer, inference_id=f"strange-{number}")
    make_stored(picture, SHIP, inference_id="good")
    for name in FORMATS:
        task = exported(name)
        opened(task)
        report = task.receipt
        total = report["written"] + report["skipped"]
        assert total == len(STRANGE_SHAPES) + 1, name
        reasons = {each["inference_id"] for each in report["first_skips"]}
        assert name in CHATS or "good" not in reasons, (name, reasons)
        if name in OF_PICTURES:
            files = opened(task).namelist()
            pictures = [each for each in files if each.endswith((".png", ".jpg"))]
            assert len(pictures) == report["written"], (name, files)


def test_tables_and_chats_skip_damaged_requests_and_answers(
    of_task, answered, exported, settings, spoil
):
    model = of_task(TaskType.TEXT_GENERATION)
    asked = json.dumps({"messages": [{"role": "user", "content": "Ships?"}]})
    said = {"text_generation": {"text": "Two."}}
    for name in ("good", "spoiled", "gone", "large"):
        key = ROOM.format(f"text-{name}")
        if name != "gone":
            blobs.put(key, asked.encode() + b" " * 1000 * (name == "large"))
        answered(
            model,
            said,
            inference_id=name,
            data_storage_key=key,
            data_content_type="application/json",
        )
    spoil(ROOM.format("text-spoiled"))
    settings.ISTORE_REQUEST_MAX_BYTES = 500

    for name in ("open_inference_parquet", "open_inference_csv", "openai_chat"):
        report = exported(name, of=model).receipt
        reasons = {
            each["inference_id"]: each["reason"] for each in report["first_skips"]
        }
        assert reasons["spoiled"] == "damaged-input"
        assert "good" not in reasons
        if name == "openai_chat":
            assert reasons["large"] == "too-large"
            assert reasons["gone"] == "no-input"
        else:
            assert reasons.keys() == {"spoiled"}
            (told,) = report["warnings"]
            assert (told["code"], told["count"]) == ("request-too-large", 1)


def test_a_fault_of_a_format_ends_the_attempt(
    model, make_stored, exported, monkeypatch
):
    make_stored(png(), SHIP)

    def add(self, member):
        raise TypeError("a fault of ours")

    monkeypatch.setattr(FORMATS["coco"], "add", add)
    task = exported("coco")
    task.refresh_from_db()
    assert task.reason == "Broke off: TypeError."  # and is tried again, then failed
    assert not task.archive_key


def test_content_that_its_decoder_did_not_foresee_costs_one_member(
    model, make_stored, exported, monkeypatch
):
    make_stored(png(), SHIP, inference_id="good")
    make_stored(png(), SHIP, inference_id="strange")
    read = members.deconstructed
    answers = iter([read, None])

    def deconstructed(of, text):
        chosen = next(answers)
        if chosen is None:
            raise ValueError("nobody foresaw this")
        return chosen(of, text)

    monkeypatch.setattr(members, "deconstructed", deconstructed)
    options = {"include_inferences_as_annotations": True}
    report = exported("coco", options=options).receipt
    assert (report["written"], report["skipped"]) == (1, 1)
    assert report["first_skips"][0]["reason"] == "damaged-input"


def test_json_tells_content_from_faults():
    deep = []
    for _ in range(2000):
        deep = [deep]
    for content in (2**70, "\ud800", deep):
        with pytest.raises(members.Damaged):
            to_strict_json(content)
    with pytest.raises(TypeError):
        to_strict_json(object())
