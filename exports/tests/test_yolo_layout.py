"""Archives of YOLO by the documented rules of Ultralytics for data sets.

Its own reader comes with torch and the libraries of CUDA, more than 3 GB: here its rules are
followed instead. ``data.yaml`` names folders of pictures beside itself and a name for each
number of a class; the labels of a picture are found by its path; lines are
``class cx cy w h``, ``class x1 y1 … x4 y4`` or ``class x1 y1 x2 y2 …`` within 0 and 1.
"""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import yaml
from PIL import Image, ImageOps

from exports.tests.conftest import opened, png
from inferences.models import TaskType

SHIP = {"label": "ship", "score": 0.75, "xmin": 8, "ymin": 6, "xmax": 40, "ymax": 30}
WIDE = {"label": "ship", "score": 0.9, "xmin": -8, "ymin": 6, "xmax": 70, "ymax": 30}
BUOY = {"label": "a: b", "score": 0.5, "xmin": 50, "ymin": 40, "xmax": 60, "ymax": 44}
TILTED = {"label": "ship", "score": 0.8, "cx": 0.5, "cy": 0.5, "w": 0.25, "h": 0.5, "r": 0.4}  # fmt: skip
TRIANGLE = {
    "label": "quay",
    "score": 0.7,
    "contours": [[{"x": 10, "y": 10}, {"x": 30, "y": 10}, {"x": 10, "y": 40}]],
}
COLUMNS = {
    TaskType.OBJECT_DETECTION: lambda count: count == 5,
    TaskType.ORIENTED_OBJECT_DETECTION: lambda count: count == 9,
    TaskType.IMAGE_SEGMENTATION: lambda count: count >= 7 and count % 2 == 1,
}

pytestmark = pytest.mark.django_db


def read(directory: Path, task_type: TaskType) -> dict[str, list[tuple[float, ...]]]:
    """The lines of each picture as boxes in pixels, read by the rules above."""
    said = yaml.safe_load((directory / "data.yaml").read_text("utf-8"))
    assert "path" not in said  # so it starts from the folder of data.yaml
    assert list(said["names"]) == list(range(len(said["names"])))
    found = {}
    for split in {said["train"], said["val"]}:
        pictures = sorted((directory / split).iterdir())
        assert pictures
        for picture in pictures:
            before, after = str(picture).rsplit("/images/", 1)
            labels = Path(f"{before}/labels/{after}").with_suffix(".txt")
            lines = labels.read_text("ascii").splitlines()
            assert len(set(lines)) == len(lines)
            with Image.open(picture) as image:
                size = ImageOps.exif_transpose(image).size
            found[labels.stem] = [
                box_of(line, size, said["names"], task_type) for line in lines
            ]
    return found


def box_of(
    line: str, size: tuple[int, int], names: dict[int, str], task_type: TaskType
) -> tuple[object, ...]:
    number, *values = line.split()
    assert COLUMNS[task_type](1 + len(values))
    shares = [float(each) for each in values]
    assert all(0 <= each <= 1 for each in shares)
    if len(shares) == 4:
        cx, cy, w, h = shares
        xs, ys = [cx - w / 2, cx + w / 2], [cy - h / 2, cy + h / 2]
    else:
        xs, ys = shares[::2], shares[1::2]
    box = (min(xs) * size[0], min(ys) * size[1], max(xs) * size[0], max(ys) * size[1])
    return names[int(number)], *(round(each, 2) for each in box)


def turned_jpeg() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    Image.new("RGB", (64, 48)).save(file, "JPEG", exif=exif)
    return file.getvalue()


def test_boxes_are_found_by_the_rules_of_ultralytics(exported, make_stored, tmp_path):
    make_stored(png(64, 48), [SHIP, WIDE, BUOY])
    make_stored(turned_jpeg(), [SHIP], data_content_type="image/jpeg")
    make_stored(png(64, 48), [])

    opened(exported("yolo")).extractall(tmp_path)

    assert read(tmp_path, TaskType.OBJECT_DETECTION) == {
        "00000001": [
            ("ship", 8, 6, 40, 30),
            ("ship", 0, 6, 64, 30),
            ("a: b", 50, 40, 60, 44),
        ],
        "00000002": [("ship", 18, 8, 42, 40)],
        "00000003": [],
    }


@pytest.mark.parametrize(
    ("task_type", "kind", "shape", "box"),
    [
        (
            TaskType.ORIENTED_OBJECT_DETECTION,
            "oriented_object_detection",
            TILTED,
            ("ship", 19.96, 9.83, 44.04, 38.17),
        ),
        (
            TaskType.IMAGE_SEGMENTATION,
            "image_segmentation",
            TRIANGLE,
            ("quay", 10, 10, 30, 40),
        ),
    ],
)
def test_outlines_are_found_by_the_rules_of_ultralytics(
    exported, make_stored, model, tmp_path, task_type, kind, shape, box
):
    model.task_type = task_type
    model.save()
    make_stored(png(64, 48), [shape], kind)

    opened(exported("yolo")).extractall(tmp_path)

    ((found,),) = read(tmp_path, task_type).values()
    assert found[0] == box[0]
    assert found[1:] == pytest.approx(box[1:], abs=0.02)
