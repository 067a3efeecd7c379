"""Archives of pictures, read back by what people open them with."""

from __future__ import annotations

import io
import json
import math
import tarfile
from xml.etree import ElementTree

import pytest
from PIL import Image

from exports.formats.native import plain
from exports.tests.conftest import lines_of, opened, png
from exports.tests.readers import (
    coco,
    of_pycocotools,
    read_by_datasets,
)
from inferences.models import TaskType

SHIP = {"label": "ship", "score": 0.75, "xmin": 8, "ymin": 6, "xmax": 40, "ymax": 30}
BUOY = {"label": "buoy", "score": 0.5, "xmin": 50, "ymin": 40, "xmax": 60, "ymax": 44}
BEYOND = {"label": "ship", "score": 0.9, "xmin": -8, "ymin": 6, "xmax": 70, "ymax": 30}
OUTSIDE = {"label": "ship", "score": 0.9, "xmin": 70, "ymin": 6, "xmax": 90, "ymax": 30}
TURNED = {
    "label": "ship",
    "score": 0.8,
    "cx": 0.5,
    "cy": 0.5,
    "w": 0.25,
    "h": 0.5,
    "r": math.pi / 2,
}
TRIANGLE = {
    "label": "quay",
    "score": 0.7,
    "contours": [[{"x": 10, "y": 10}, {"x": 30, "y": 10}, {"x": 10, "y": 40}]],
}
ODD_NAMES = ["a/b", 'he said "ship"', "schöne grüße ✓", "=1+1", "<&>", "a\\b: c"]


# -- COCO


@of_pycocotools
def test_coco_is_opened_by_pycocotools(exported, make_stored, tmp_path):
    make_stored(png(64, 48), [SHIP, BUOY])
    make_stored(png(20, 10), [])

    found = coco(opened(exported("coco")), tmp_path)

    assert len(found.getImgIds()) == 2
    image = found.loadImgs(1)[0]
    assert (image["width"], image["height"]) == (64, 48)
    with Image.open(tmp_path / image["file_name"]) as picture:
        assert picture.size == (64, 48)
    ship, buoy = found.loadAnns(found.getAnnIds(imgIds=1))
    assert ship["bbox"] == [8, 6, 32, 24]
    assert ship["area"] == 32 * 24
    assert ship["score"] == 0.75
    names = {c["id"]: c["name"] for c in found.loadCats(found.getCatIds())}
    assert [names[each["category_id"]] for each in (ship, buoy)] == ["ship", "buoy"]
    assert found.getAnnIds(imgIds=2) == []
    mask = found.annToMask(ship)
    assert mask.sum() == 32 * 24


@of_pycocotools
def test_coco_draws_oriented_boxes_segments_and_masks(
    exported, make_stored, model, tmp_path
):
    from pycocotools import mask as masks

    runs = {
        "size": [48, 64],
        "counts": [48 * 10 + 5, 20, 28, 20, 48 * 64 - 48 * 11 - 25],
    }
    pressed = masks.frPyObjects(runs, 48, 64)
    whole = {"label": "hull", "score": 0.6, "contours": runs}
    short = {"size": [48, 64], "counts": pressed["counts"].decode()}
    packed = {"label": "hull", "score": 0.6, "contours": short}
    make_stored(png(64, 48), [TURNED], kind="oriented_object_detection")
    make_stored(png(64, 48), [TRIANGLE, whole, packed], kind="image_segmentation")

    found = coco(opened(exported("coco")), tmp_path)

    (turned,) = found.loadAnns(found.getAnnIds(imgIds=1))
    # A quarter turn: 16 x 24 pixels become 24 x 16, about the middle of the picture.
    assert turned["bbox"] == pytest.approx([20, 16, 24, 16])
    assert turned["area"] == pytest.approx(16 * 24)
    assert found.annToMask(turned).sum() == pytest.approx(16 * 24, abs=2)
    triangle, first, second = found.loadAnns(found.getAnnIds(imgIds=2))
    assert triangle["area"] == 300
    assert first["area"] == second["area"] == masks.area(pressed) == 40
    assert first["bbox"] == second["bbox"] == list(masks.toBbox(pressed))
    assert (found.annToMask(first) == found.annToMask(second)).all()


def test_coco_keeps_ten_thousand_boxes_and_odd_labels(exported, make_stored, tmp_path):
    many = [
        {**SHIP, "label": ODD_NAMES[n % len(ODD_NAMES)], "xmin": n % 8}
        for n in range(10_000)
    ]
    make_stored(png(64, 48), many)

    found = coco(opened(exported("coco")), tmp_path)

    assert len(found.getAnnIds()) == 10_000
    assert sorted(c["name"] for c in found.loadCats(found.getCatIds())) == sorted(
        ODD_NAMES
    )


def test_coco_of_nothing_is_still_read(exported, model, tmp_path):
    found = coco(opened(exported("coco")), tmp_path)

    assert found.getImgIds() == []


# -- YOLO


def yolo_boxes(archive, name):
    """Back to pixels, by the definition of the format."""
    boxes = []
    for line in archive.read(name).decode().splitlines():
        number, cx, cy, w, h = line.split()
        cx, cy, w, h = float(cx) * 64, float(cy) * 48, float(w) * 64, float(h) * 48
        boxes.append((int(number), cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2))
    return boxes


def test_yolo_boxes_come_back_to_the_same_pixels(exported, make_stored, model):
    model.class_labels = ["buoy", "ship"]
    model.save()
    make_stored(png(64, 48), [SHIP, BUOY])

    archive = opened(exported("yolo"))

    ship, buoy = yolo_boxes(archive, "labels/train/00000001.txt")
    assert ship == pytest.approx((1, 8, 6, 40, 30), abs=1e-3)
    assert buoy == pytest.approx((0, 50, 40, 60, 44), abs=1e-3)
    assert Image.open(archive.open("images/train/00000001.png")).size == (64, 48)
    settings = archive.read("data.yaml").decode()
    assert 'names:\n  0: "buoy"\n  1: "ship"\n' in settings


def test_yolo_cuts_at_the_edge_and_says_so(exported, make_stored):
    make_stored(png(64, 48), [BEYOND, OUTSIDE])

    task = exported("yolo")

    (cut,) = yolo_boxes(opened(task), "labels/train/00000001.txt")
    assert cut == pytest.approx((0, 0, 6, 64, 30), abs=1e-3)
    answer = {each["code"]: each["count"] for each in task.receipt["warnings"]}
    assert answer == {"clipped": 1, "outside": 1}


def test_yolo_for_oriented_boxes_has_four_corners(exported, make_stored, model):
    model.task_type = TaskType.ORIENTED_OBJECT_DETECTION
    model.save()
    make_stored(png(64, 48), [TURNED], kind="oriented_object_detection")

    archive = opened(exported("yolo"))

    number, *values = archive.read("labels/train/00000001.txt").decode().split()
    points = {
        (round(float(x) * 64), round(float(y) * 48))
        for x, y in zip(values[::2], values[1::2], strict=True)
    }
    assert number == "0"
    assert points == {(20, 16), (44, 16), (44, 32), (20, 32)}


def test_yolo_names_are_yaml_whatever_they_hold(exported, make_stored):
    yaml = pytest.importorskip("yaml")
    make_stored(png(64, 48), [{**SHIP, "label": name} for name in ODD_NAMES])

    archive = opened(exported("yolo"))

    read = yaml.safe_load(archive.read("data.yaml"))
    assert sorted(read["names"].values()) == sorted(ODD_NAMES)


def test_yolo_of_a_picture_without_detections_has_an_empty_file(exported, make_stored):
    make_stored(png(), [])

    assert opened(exported("yolo")).read("labels/train/00000001.txt") == b""


# -- Pascal VOC


def test_voc_boxes_are_whole_pixels_in_the_picture(exported, make_stored):
    make_stored(png(64, 48), [{**SHIP, "label": name} for name in ODD_NAMES] + [BEYOND])

    archive = opened(exported("voc"))

    root = ElementTree.fromstring(archive.read("Annotations/00000001.xml"))
    assert root.findtext("size/width") == "64"
    assert [each.findtext("name") for each in root.iter("object")][:-1] == ODD_NAMES
    corners = [
        tuple(int(value.text) for value in each.find("bndbox"))
        for each in root.iter("object")
    ]
    assert corners[0] == (8, 6, 40, 30)
    assert corners[-1] == (0, 6, 64, 30)
    picture = f"JPEGImages/{root.findtext('filename')}"
    assert Image.open(archive.open(picture)).size == (64, 48)
    assert archive.read("ImageSets/Main/all.txt") == b"00000001\n"


# -- Label Studio


def test_label_studio_tasks_are_in_percent(exported, make_stored):
    make_stored(png(64, 48), [SHIP], inference_id="a")
    make_stored(png(64, 48), [TURNED], kind="oriented_object_detection")
    make_stored(png(64, 48), [TRIANGLE], kind="image_segmentation")

    archive = opened(exported("label_studio"))

    box, turned, outline = json.loads(archive.read("tasks.json"))
    (result,) = box["predictions"][0]["result"]
    assert result["value"] == {
        "x": 12.5,
        "y": 12.5,
        "width": 50.0,
        "height": 50.0,
        "rotation": 0,
        "rectanglelabels": ["ship"],
    }
    assert box["data"]["path"] in archive.namelist()
    value = turned["predictions"][0]["result"][0]["value"]
    # Turned by 90 degrees clockwise about the upper left corner that it has unturned.
    assert (value["x"], value["y"]) == pytest.approx((100 * 44 / 64, 100 * 16 / 48))
    assert (value["width"], value["height"]) == (25.0, 50.0)
    assert value["rotation"] == pytest.approx(90)
    points = outline["predictions"][0]["result"][0]["value"]["points"]
    assert points[2] == pytest.approx([100 * 10 / 64, 100 * 40 / 48])
    view = ElementTree.fromstring(archive.read("label_config.xml"))
    assert {label.get("value") for label in view.iter("Label")} == {"ship", "quay"}


def test_label_studio_takes_answers_as_annotations_when_asked(exported, make_stored):
    make_stored(png(64, 48), [SHIP])
    options = {"include_inferences_as_annotations": True}

    archive = opened(exported("label_studio", options=options))

    (task,) = json.loads(archive.read("tasks.json"))
    assert "predictions" not in task
    assert len(task["annotations"][0]["result"]) == 1


# -- Hugging Face imagefolder, WebDataset

BOTH = {"include_inferences_as_annotations": True, "include_custom_metadata": True}


def test_imagefolder_names_each_picture_of_its_folder(exported, make_stored):
    make_stored(png(64, 48), [SHIP], metadata=())
    make_stored(png(64, 48), [])

    archive = opened(exported("imagefolder", options=BOTH))

    first, second = lines_of(archive, "data/train/metadata.jsonl")
    assert f"data/train/{first['file_name']}" in archive.namelist()
    assert first["objects"] == {
        "bbox": [[8.0, 6.0, 32.0, 24.0]],
        "categories": ["ship"],
        "scores": [0.75],
    }
    assert second["objects"]["bbox"] == []


def test_webdataset_shards_hold_samples_side_by_side(exported, make_stored, settings):
    settings.ISTORE_EXPORT_SHARD_SAMPLES = 2
    for number in range(3):
        make_stored(png(10 + number, 10), [SHIP], inference_id=f"i/{number}")

    archive = opened(exported("webdataset", options=BOTH))

    shards = [name for name in archive.namelist() if name.startswith("shards/")]
    assert shards == ["shards/shard-000000.tar", "shards/shard-000001.tar"]
    samples = []
    for shard in shards:
        with tarfile.open(fileobj=io.BytesIO(archive.read(shard))) as tar:
            entries = [(entry.name, tar.extractfile(entry).read()) for entry in tar]
        # As readers of WebDataset do: what shares the name before the dot is a sample.
        for (name, picture), (beside, facts) in zip(
            entries[::2], entries[1::2], strict=True
        ):
            assert name.split(".")[0] == beside.split(".")[0]
            samples.append((Image.open(io.BytesIO(picture)).size, json.loads(facts)))
    assert [size for size, _ in samples] == [(10, 10), (11, 10), (12, 10)]
    assert [facts["inference_id"] for _, facts in samples] == ["i/0", "i/1", "i/2"]
    assert json.loads(samples[0][1]["annotations"])[0]["bbox"]["xmax"] == 40


def test_datasets_opens_an_imagefolder(exported, make_stored, tmp_path):
    make_stored(png(64, 48), [SHIP], inference_id="a/1")
    make_stored(png(32, 24), [])
    opened(exported("imagefolder", options=BOTH)).extractall(tmp_path / "unpacked")

    first, second = read_by_datasets(
        tmp_path, "imagefolder", data_dir=str(tmp_path / "unpacked")
    )

    assert "size=64x48" in first["image"]
    assert first["inference_id"] == "a/1"
    assert "[8.0, 6.0, 32.0, 24.0]" in first["objects"]
    assert "size=32x24" in second["image"]


def test_datasets_opens_shards_of_webdataset(exported, make_stored, tmp_path):
    make_stored(png(64, 48), [SHIP], inference_id="a/1")
    make_stored(png(32, 24), [])
    opened(exported("webdataset", options=BOTH)).extractall(tmp_path / "unpacked")
    shards = str(tmp_path / "unpacked/shards/*.tar")

    first, second = read_by_datasets(tmp_path, "webdataset", data_files=shards)

    assert "size=64x48" in first["png"]
    assert "'inference_id': 'a/1'" in first["json"]
    assert "size=32x24" in second["png"]


# -- what no format of pictures can take


@pytest.mark.parametrize("name", ["coco", "yolo", "voc", "label_studio", "imagefolder"])
def test_what_is_no_picture_is_skipped_with_its_reason(exported, make_stored, name):
    make_stored(png(), [SHIP], inference_id="good")
    make_stored(b"not a picture", [SHIP], inference_id="text/1")
    make_stored(b"\x89PNG\r\n\x1a\n broken", [SHIP], inference_id="broken")
    make_stored(None, [SHIP], inference_id="no input")

    task = exported(name)
    manifest = json.loads(opened(task).read("manifest.json"))

    assert manifest["expected_count"] == 4
    assert manifest["written_count"] == 1
    assert manifest["skipped"] == [
        {"inference_id": "text/1", "reason": "not-a-picture"},
        {"inference_id": "broken", "reason": "not-a-picture"},
        {"inference_id": "no input", "reason": "no-input"},
    ]


@pytest.mark.parametrize("container", ["zip", "tar"])
@pytest.mark.parametrize(
    "name", ["coco", "yolo", "voc", "label_studio", "imagefolder", "webdataset"]
)
def test_answers_that_nobody_took_apart_are_counted(
    exported, make_stored, name, container
):
    make_stored(png(), None)

    task = exported(name, container=container, options=BOTH)

    codes = {each["code"] for each in task.receipt["warnings"]}
    assert task.receipt["written"] == 1
    assert codes == {"no-annotations"}


@pytest.mark.parametrize(
    "name", ["chariot", "coco", "label_studio", "imagefolder", "webdataset"]
)
def test_odd_metadata_breaks_no_format(exported, make_stored, name):
    odd = {
        "large": {"n": 2**70, "deep": [{"m": -(2**65)}]},
        'a"b/c\n': "line\nbreak \u2028 \U0001f6a2",
        "=1+1": "=cmd",
    }
    make_stored(png(), [SHIP], inference_id='schiff/ü/"1"', metadata=odd)

    task = exported(name, options=BOTH)

    assert task.receipt["written"] == 1
    assert task.receipt["warnings"] == []
    assert opened(task).testzip() is None


def test_whole_numbers_beyond_doubles_are_written_as_digits():
    assert plain({"n": [10**400, 2**70]}) == {"n": [str(10**400), float(2**70)]}
