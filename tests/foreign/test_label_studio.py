"""label-studio-sdk, with which Label Studio checks tasks and converts them, reads ours."""

from __future__ import annotations

import io
import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from exports.tests.conftest import opened, png
from tests.foreign.environments import interpreter, run_inside

PACKAGES = ("label-studio-sdk==2.1.2",)
ODD = "<&> „groß“ a/b"
SHIP = {"label": "ship", "score": 0.75, "xmin": 8, "ymin": 6, "xmax": 40, "ymax": 30}
BUOY = {"label": ODD, "score": 0.5, "xmin": 50, "ymin": 40, "xmax": 60, "ymax": 44}
TILTED = {"label": "ship", "score": 0.8, "cx": 0.5, "cy": 0.5, "w": 0.25, "h": 0.5, "r": 0.4}  # fmt: skip
POINTS = [(10, 10), (30, 10), (10, 40)]
TRIANGLE = {
    "label": "quay",
    "score": 0.7,
    "contours": [[{"x": x, "y": y} for x, y in POINTS]],
}

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(
        not os.environ.get("ISTORE_FOREIGN"), reason="ISTORE_FOREIGN is not set"
    ),
]


def read(task: Any, directory: Path) -> dict[str, Any]:
    """What their code says of an export."""
    opened(task).extractall(directory)
    python = interpreter("label-studio", PACKAGES)
    return json.loads(run_inside(python, "label_studio_tasks.py", str(directory)))


def turned_jpeg() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    Image.new("RGB", (64, 48)).save(file, "JPEG", exif=exif)
    return file.getvalue()


@pytest.fixture
def pictures(make_stored) -> None:
    make_stored(png(64, 48), [SHIP, BUOY], inference_id="a")
    make_stored(png(64, 48), [TILTED], "oriented_object_detection", inference_id="b")
    make_stored(png(64, 48), [TRIANGLE], "image_segmentation", inference_id="c")
    make_stored(turned_jpeg(), [SHIP], data_content_type="image/jpeg", inference_id="d")
    make_stored(png(64, 48), [], inference_id="e")


@pytest.mark.parametrize("as_annotations", [False, True])
def test_label_studio_finds_nothing_wrong_with_our_tasks(
    pictures, exported, tmp_path, as_annotations
):
    options = {"include_inferences_as_annotations": as_annotations}

    told = read(exported("label_studio", options=options), tmp_path)

    assert told["complaints"] == []


def test_label_studio_makes_the_boxes_of_our_annotations(pictures, exported, tmp_path):
    options = {"include_inferences_as_annotations": True}

    told = read(exported("label_studio", options=options), tmp_path)

    names = {each["id"]: each["name"] for each in told["coco"]["categories"]}
    found = {
        (each["image_id"], names[each["category_id"]]): each
        for each in told["coco"]["annotations"]
    }
    boxes = {key: each["bbox"] for key, each in found.items() if key[0] != 1}
    assert boxes == {
        (0, "ship"): pytest.approx([8, 6, 32, 24]),
        (0, ODD): pytest.approx([50, 40, 10, 4]),
        (2, "quay"): pytest.approx([10, 10, 20, 30]),
        (3, "ship"): pytest.approx([18, 8, 24, 32]),  # as it is looked at
    }
    assert found[2, "quay"]["segmentation"] == [
        pytest.approx([value for point in POINTS for value in point])
    ]
    assert told["classes"] == [ODD, "quay", "ship"]
    assert len(told["labels"]) == 5
    (line,) = told["labels"]["00000004"]
    assert [float(each) for each in line.split()] == pytest.approx(
        [2, 0.625, 0.375, 0.5, 0.5]
    )


def test_label_studio_turns_our_oriented_boxes_as_we_do(pictures, exported, tmp_path):
    options = {"include_inferences_as_annotations": True}

    told = read(exported("label_studio", options=options), tmp_path)

    (line,) = told["turned"]["00000002"]
    values = [float(each) for each in line.split()[1:]]
    corners = [
        (
            32 + x * math.cos(0.4) - y * math.sin(0.4),
            24 + x * math.sin(0.4) + y * math.cos(0.4),
        )
        for x, y in ((-8, -12), (8, -12), (8, 12), (-8, 12))
    ]
    found = [(x * 64, y * 48) for x, y in zip(values[::2], values[1::2], strict=True)]
    assert sorted(found) == [pytest.approx(each, abs=0.01) for each in sorted(corners)]
