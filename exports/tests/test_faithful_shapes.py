"""Shapes in archives cover what the model meant, in the frame that readers will use."""

from __future__ import annotations

import ast
import io
import json
import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageOps
from pycocotools import mask as masks

from exports.formats import geometry
from exports.tests.conftest import lines_of, opened, png
from exports.tests.readers import coco, of_pycocotools, read_by_datasets
from inferences.models import TaskType
from inferences.predictions.parsers import Box, OrientedBox, Polygons
from inferences.predictions.parsers.pixel_masks import mask_of
from inferences.previews.pictures import Measure

BOTH = {"include_inferences_as_annotations": True, "include_custom_metadata": True}


def square(x: int, y: int, size: int) -> list[dict]:
    corners = ((x, y), (x + size, y), (x + size, y + size), (x, y + size))
    return [{"x": each, "y": other} for each, other in corners]


FRAME = {"label": "quay", "contours": [square(4, 4, 40), square(14, 14, 10)]}
PARTS = {"label": "quay", "contours": [square(4, 4, 10), square(30, 20, 20)]}
MASK = np.zeros((48, 64), dtype=bool)
MASK[10:30, 10:30] = MASK[12:20, 50:60] = True
MASK[15:20, 15:20] = False
RUNS = {"size": [48, 64], "counts": list(mask_of(MASK).counts)}


def warnings_of(task) -> dict[str, int]:
    return {each["code"]: each["count"] for each in task.receipt["warnings"]}


def turned(orientation: int, mode: str = "JPEG") -> bytes:
    """60 wide and 40 high as stored, with a bright corner at the upper left."""
    picture = Image.new("RGB", (60, 40))
    ImageDraw.Draw(picture).rectangle((0, 0, 19, 9), fill="white")
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    picture.save(
        file, mode, exif=exif, **({"lossless": True} if mode == "WEBP" else {})
    )
    return file.getvalue()


CORNER = {"label": "corner", "score": 0.5, "xmin": 0, "ymin": 0, "xmax": 20, "ymax": 10}


def bright(content: bytes) -> tuple[int, int, int, int]:
    """Where the bright corner lies once the picture is turned."""
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("L")
    return upright.point(lambda value: 255 * (value > 128)).getbbox()


# -- EXIF


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_boxes_of_yolo_are_of_the_upright_picture(
    exported, make_stored, orientation, kind
):
    content = turned(orientation, kind)
    make_stored(content, [CORNER], data_content_type=f"image/{kind.lower()}")

    archive = opened(exported("yolo"))

    (name,) = [name for name in archive.namelist() if name.endswith(".txt")]
    _, cx, cy, w, h = map(float, archive.read(name).split())
    width, height = (60, 40) if orientation < 5 else (40, 60)
    left, top = (cx - w / 2) * width, (cy - h / 2) * height
    box = (left, top, left + w * width, top + h * height)
    assert box == pytest.approx(bright(content), abs=1)


def test_boxes_of_imagefolder_are_of_the_picture_that_datasets_decodes(
    exported, make_stored, tmp_path
):
    make_stored(turned(6), [CORNER], data_content_type="image/jpeg")
    task = exported("imagefolder", options=BOTH)
    opened(task).extractall(tmp_path / "unpacked")

    (row,) = read_by_datasets(
        tmp_path, "imagefolder", data_dir=str(tmp_path / "unpacked")
    )

    assert "size=40x60" in row["image"]
    assert "[30.0, 0.0, 10.0, 20.0]" in row["objects"]
    assert "turned" not in warnings_of(task)


def test_label_studio_is_told_the_upright_size(exported, make_stored):
    make_stored(turned(6), [CORNER], data_content_type="image/jpeg")

    (task,) = json.loads(opened(exported("label_studio")).read("tasks.json"))

    (result,) = task["predictions"][0]["result"]
    assert (result["original_width"], result["original_height"]) == (40, 60)
    assert result["value"]["x"] == pytest.approx(75)
    assert result["value"]["y"] == 0


@pytest.mark.parametrize("name", ["coco", "voc"])
def test_formats_that_keep_stored_pixels_tell_of_turned_pictures(
    exported, make_stored, name
):
    make_stored(turned(6), [CORNER], data_content_type="image/jpeg")
    make_stored(turned(1), [CORNER], data_content_type="image/jpeg")
    make_stored(turned(8), [], data_content_type="image/jpeg")

    assert warnings_of(exported(name)) == {"turned": 1}


def test_boxes_that_a_model_gave_upright_stay(exported, make_stored):
    upright = CORNER | {"xmin": 30, "xmax": 40, "ymin": 0, "ymax": 59}
    make_stored(turned(6), [upright], data_content_type="image/jpeg")

    (line,) = lines_of(
        opened(exported("imagefolder", options=BOTH)), "data/train/metadata.jsonl"
    )

    assert line["objects"]["bbox"] == [[30, 0, 10, 59]]


@pytest.mark.parametrize("orientation", range(2, 9))
def test_every_shape_is_turned_with_its_picture(orientation):
    picture = Measure(64, 48, orientation)
    plane = np.zeros((48, 64), dtype=bool)
    plane[5:15, 8:28] = True
    polygon = Polygons((((8, 5), (28, 5), (28, 15), (8, 15)),))
    oriented = OrientedBox(18 / 64, 10 / 48, 20 / 64, 10 / 48, 0.0)
    upright = Measure(*picture.upright)
    expected = geometry.bounds(geometry.turn(Box(8, 5, 28, 15), picture), upright)

    for shape in (mask_of(plane), polygon, oriented):
        box = geometry.bounds(geometry.turn(shape, picture), upright)
        assert box == pytest.approx(expected, abs=1e-6)


@given(st.floats(-3, 3), st.sampled_from(range(2, 9)))
def test_oriented_boxes_keep_their_corners_when_turned(angle, orientation):
    picture = Measure(64, 48, orientation)
    box = OrientedBox(0.4, 0.6, 0.25, 0.5, angle)
    (before,) = geometry.contours(box, picture)

    (after,) = geometry.contours(geometry.turn(box, picture), Measure(*picture.upright))

    def key(point):
        return round(point[0], 3), round(point[1], 3)

    moved = (geometry.upright(x, y, picture) for x, y in before)
    # A rectangle has four corners wherever one begins to count them.
    for x, y in map(key, moved):
        assert min(math.dist((x, y), each) for each in after) < 0.01


# -- holes and parts


@of_pycocotools
@pytest.mark.parametrize(
    ("item", "area"), [(FRAME, 1500), (PARTS, 500), ({"label": "q", "rle": RUNS}, 455)]
)
def test_coco_fills_no_hole_and_drops_no_part(
    exported, make_stored, tmp_path, item, area
):
    make_stored(png(64, 48), [item], kind="image_segmentation")

    found = coco(opened(exported("coco")), tmp_path)

    (annotation,) = found.loadAnns(found.getAnnIds(imgIds=1))
    assert annotation["area"] == area
    assert found.annToMask(annotation).sum() == area


def painted(lines: bytes, width: int = 64, height: int = 48) -> np.ndarray:
    """What a reader of YOLO paints, with the even-odd rule of cv2.fillPoly."""
    plane = np.zeros((height, width), dtype=bool)
    for line in lines.decode().splitlines():
        values = [float(value) for value in line.split()[1:]]
        flat = [
            value * (height if place % 2 else width)
            for place, value in enumerate(values)
        ]
        plane |= even_odd(flat, width, height)
    return plane


def even_odd(flat: list[float], width: int, height: int) -> np.ndarray:
    points = list(zip(flat[::2], flat[1::2], strict=True))
    rows, columns = np.mgrid[:height, :width]
    x, y = columns + 0.5, rows + 0.5
    inside = np.zeros((height, width), dtype=bool)
    for (x1, y1), (x2, y2) in zip(points, [*points[1:], points[0]], strict=True):
        if y1 != y2:
            crosses = (y1 > y) != (y2 > y)
            inside ^= crosses & (x < (x2 - x1) * (y - y1) / (y2 - y1) + x1)
    return inside


@pytest.mark.parametrize(
    ("item", "area"), [(FRAME, 1500), (PARTS, 500), ({"label": "q", "rle": RUNS}, 455)]
)
def test_one_outline_of_yolo_covers_all_of_a_segment(
    exported, make_stored, model, item, area
):
    model.task_type = TaskType.IMAGE_SEGMENTATION
    model.save()
    make_stored(png(64, 48), [item], kind="image_segmentation")

    lines = opened(exported("yolo")).read("labels/train/00000001.txt")

    assert len(lines.splitlines()) == 1
    assert painted(lines).sum() == pytest.approx(area, abs=2)


@pytest.mark.parametrize(
    ("item", "area", "count"),
    [(FRAME, 1500, 1), (PARTS, 500, 2), ({"label": "q", "rle": RUNS}, 455, 2)],
)
def test_label_studio_has_a_polygon_for_each_part(
    exported, make_stored, item, area, count
):
    make_stored(png(64, 48), [item], kind="image_segmentation")

    (task,) = json.loads(opened(exported("label_studio")).read("tasks.json"))

    results = task["predictions"][0]["result"]
    assert len(results) == len({each["id"] for each in results}) == count
    plane = np.zeros((48, 64), dtype=bool)
    for each in results:
        flat = [v for x, y in each["value"]["points"] for v in (x * 0.64, y * 0.48)]
        plane |= even_odd(flat, 64, 48)
    assert plane.sum() == pytest.approx(area, abs=2)


@given(st.data())
def test_traced_borders_enclose_the_pixels_of_a_mask(data):
    height, width = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 6))
    bits = data.draw(st.lists(st.booleans(), min_size=36, max_size=36))
    plane = np.array(bits[: height * width]).reshape(height, width)

    borders = geometry.trace(mask_of(plane), Measure(width, height))

    inside = np.zeros((height, width), dtype=bool)
    for contour in borders:
        inside ^= even_odd([v for p in contour for v in p], width, height)
    assert (inside == plane).all()
    assert (geometry.pixels_of(mask_of(plane)) == plane).all()


@pytest.mark.parametrize("name", ["coco", "label_studio"])
def test_masks_that_do_not_add_up_are_told(exported, make_stored, name):
    short = RUNS | {"counts": RUNS["counts"][:-1]}
    items = [{"label": "q", "rle": RUNS}, {"label": "q", "rle": short}]
    make_stored(png(64, 48), items, kind="image_segmentation")

    assert warnings_of(exported(name, options=BOTH)) == {"malformed-mask": 1}


def test_an_island_in_a_hole_is_a_part_of_its_own():
    rings = [
        [(p["x"], p["y"]) for p in square(4 + 4 * n, 4 + 4 * n, 40 - 8 * n)]
        for n in range(3)
    ]

    parts = geometry.parts(rings)

    assert [len(part) for part in parts] == [2, 1]
    assert geometry.area(rings) == 40**2 - 32**2 + 24**2
    runs = geometry.fill(rings, Measure(64, 48))
    assert masks.area(runs) == geometry.area(rings)


def test_a_mask_of_noise_has_the_area_of_its_pixels_in_its_parts():
    plane = np.random.default_rng(1).random((120, 120)) < 0.5
    borders = geometry.trace(mask_of(plane), Measure(120, 120))

    parts = geometry.parts(borders)

    assert sum(map(len, parts)) == len(borders) > 500
    assert geometry.area(borders) == plane.sum()
    assert sum(geometry.area(part) for part in parts) == plane.sum()


def test_long_outlines_are_joined_within_little_memory():
    corners = [2 * math.pi * n / 6000 for n in range(6000)]
    rings = [[(x + math.cos(a), math.sin(a)) for a in corners] for x in (0, 3)]

    tracemalloc.start()
    whole = geometry.join(rings)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert len(whole) == 2 * 6000 + 2
    assert most < 2**27  # all pairs at once are more than half a gigabyte


# -- boxes without area, outside, beyond


FLAT = {"label": "a", "score": 0.5, "xmin": 5, "ymin": 5, "xmax": 5, "ymax": 20}
AWAY = {"label": "a", "score": 0.5, "xmin": 90, "ymin": 5, "xmax": 99, "ymax": 20}
WIDE = {"label": "a", "score": 0.5, "xmin": -5, "ymin": 5, "xmax": 20, "ymax": 20}


@pytest.mark.parametrize("name", ["coco", "yolo", "voc", "label_studio", "imagefolder"])
def test_degenerate_boxes_are_told_everywhere(exported, make_stored, name):
    make_stored(png(64, 48), [FLAT, AWAY, WIDE])

    answer = warnings_of(exported(name, options=BOTH))

    assert answer.pop("outside") == 2
    assert answer in ({"clipped": 1}, {"beyond": 1})


@of_pycocotools
def test_coco_has_no_box_without_area(exported, make_stored, tmp_path):
    make_stored(png(64, 48), [FLAT, AWAY, CORNER])

    found = coco(opened(exported("coco")), tmp_path)

    assert [each["bbox"] for each in found.loadAnns(found.getAnnIds())] == [
        [0, 0, 20, 10]
    ]


# -- class numbers


@pytest.mark.parametrize("name", ["yolo", "coco"])
def test_class_numbers_are_the_same_in_every_selection(exported, make_stored, name):
    make_stored(png(), [CORNER | {"label": "zebra"}], inference_id="z")
    make_stored(png(), [CORNER | {"label": "ape"}], inference_id="a")

    def numbers(**selection):
        archive = opened(exported(name, **selection))
        if name == "yolo":
            lines = archive.read("data.yaml").decode().splitlines()
            named = [line.split(": ") for line in lines[lines.index("names:") + 1 :]]
            pairs = {json.loads(label): int(number) for number, label in named}
            return {k: v for k, v in pairs.items() if not k.startswith("class_")}
        found = json.loads(archive.read("annotations.json"))["categories"]
        return {each["name"]: each["id"] for each in found}

    whole = numbers()
    assert whole.keys() == {"ape", "zebra"}
    for label in whole:
        assert numbers(query=f"label:{label}") == {label: whole[label]}


def test_yolo_says_no_path(exported, make_stored):
    make_stored(png(), [CORNER])

    lines = opened(exported("yolo")).read("data.yaml").decode().splitlines()

    assert lines[:2] == ["train: images/train", "val: images/train"]


# -- pictures


def picture(kind: str, **options) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (60, 40), "teal").save(file, kind, **options)
    return file.getvalue()


def test_yolo_leaves_out_pictures_that_its_readers_pass_over(exported, make_stored):
    make_stored(picture("GIF"), [CORNER], data_content_type="image/gif")
    frames = [Image.new("RGB", (60, 40), colour) for colour in ("red", "blue")]
    file = io.BytesIO()
    frames[0].save(file, "PNG", save_all=True, append_images=frames[1:])
    make_stored(file.getvalue(), [CORNER], data_content_type="")

    task = exported("yolo")

    assert task.receipt["skipped_by_reason"] == {"not-read-there": 1}
    assert "images/train/00000002.png" in opened(task).namelist()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
def test_pictures_that_end_early_are_told(exported, make_stored, kind):
    noise = Image.effect_noise((60, 40), 90)
    file = io.BytesIO()
    noise.save(file, kind)
    whole, media_type = file.getvalue(), f"image/{kind.lower()}"
    make_stored(whole, [CORNER], data_content_type=media_type)
    make_stored(whole[:-40], [CORNER], data_content_type=media_type)
    make_stored(whole + b"\0" * 100, [CORNER], data_content_type=media_type)

    task = exported("coco")

    # Some kinds cannot be measured without their end: then the picture is left out.
    left_out = task.receipt["skipped_by_reason"].get("not-a-picture", 0)
    assert warnings_of(task).get("cut-picture", 0) + left_out == 1


@pytest.mark.parametrize("kind", ["AVIF", "JPEG2000", "HEIF"])
def test_pictures_of_phones_and_archives_are_pictures(exported, make_stored, kind):
    import pillow_heif

    pillow_heif.register_heif_opener()
    make_stored(picture(kind), [CORNER], data_content_type="")

    task = exported("coco")

    assert task.receipt["written"] == 1
    (image,) = json.loads(opened(task).read("annotations.json"))["images"]
    assert (image["width"], image["height"]) == (60, 40)


# -- one table of all samples


def test_datasets_opens_shards_whatever_the_samples_hold(
    exported, make_stored, tmp_path
):
    for _ in range(6):
        make_stored(
            picture("JPEG"), [], metadata={"a": 1}, data_content_type="image/jpeg"
        )
    make_stored(png(64, 48), [CORNER], metadata={"a": 0.5, "b": {"c": [1, "x"]}})
    make_stored(png(64, 48), None, metadata={"a": "text"}, latitude=1.5, longitude=2.5)
    task = exported("webdataset", options=BOTH)
    opened(task).extractall(tmp_path / "unpacked")

    rows = read_by_datasets(
        tmp_path,
        "webdataset",
        data_files=str(tmp_path / "unpacked/shards/*.tar"),
    )

    assert len(rows) == 8
    assert all("size=" in row["jpg"] for row in rows)
    assert warnings_of(task) == {"no-annotations": 1, "renamed": 2}
    facts = [ast.literal_eval(row["json"]) for row in rows]
    assert json.loads(facts[6]["metadata"]) == {"a": 0.5, "b": {"c": [1, "x"]}}
    assert json.loads(facts[6]["annotations"])[0]["label"] == "corner"
    assert json.loads(facts[7]["annotations"]) is None
    assert facts[7]["latitude"] == "1.5"


def test_inputs_that_are_no_pictures_have_shards_of_their_own(exported, make_stored):
    make_stored(png(), [CORNER])
    make_stored(b"some text", [], data_content_type="text/plain")

    names = opened(exported("webdataset")).namelist()

    assert "shards/shard-000000.tar" in names
    assert "shards-txt/shard-000001.tar" in names


def test_lines_of_chariot_name_their_inference(exported, make_stored):
    make_stored(png(), [CORNER], inference_id="a/1")

    (line,) = lines_of(opened(exported("chariot")), "annotations.jsonl")

    assert list(line) == ["path", "inference_id"]
    assert line["inference_id"] == "a/1"
