"""What was exported for tools of annotation is read back as ground truth."""

from __future__ import annotations

import io
import json
import zipfile

import pytest
from django.core.management import call_command
from PIL import Image

from exports.tests.conftest import opened, png
from inferences.ground_truth import annotations
from inferences.models import TaskType
from inferences.models.ground_truth import GroundTruth

PATH = "/api/v1/models/yolo-harbour/ground-truth"
SHIP = {"label": "ship", "score": 0.75, "xmin": 8, "ymin": 6, "xmax": 40, "ymax": 30}
BUOY = {"label": "buoy", "score": 0.5, "xmin": 50, "ymin": 40, "xmax": 60, "ymax": 44}
TURNED = {"label": "ship", "score": 0.8, "cx": 0.5, "cy": 0.5, "w": 0.25, "h": 0.5, "r": 0.4}  # fmt: skip
TRIANGLE = {
    "label": "quay",
    "score": 0.7,
    "contours": [[{"x": 10, "y": 10}, {"x": 30, "y": 10}, {"x": 10, "y": 40}]],
}
HOLED = {
    "label": "quay",
    "score": 0.7,
    "contours": [
        [{"x": x, "y": y} for x, y in ((4, 4), (44, 4), (44, 40), (4, 40))],
        [{"x": x, "y": y} for x, y in ((14, 14), (14, 24), (24, 24), (24, 14))],
    ],
}


def post(api, content: bytes, form: str, **query: str):
    asked = "&".join(f"{k}={v}" for k, v in {"form": form, **query}.items())
    kind = "application/octet-stream"
    return api.generic("POST", f"{PATH}?{asked}", content, content_type=kind)


def joined(api, content: bytes, form: str, **query: str) -> dict:
    response = post(api, content, form, **query)
    assert response.status_code == 200, response.content
    return response.json()


def content_of(task) -> bytes:
    """What its reader would send: the archive, or its one document."""
    archive = opened(task)
    documents = {"coco": "annotations.json", "label_studio": "tasks.json"}
    if task.format in documents:
        return archive.read(documents[task.format])
    file = archive.fp
    file.seek(0)
    return file.read()


def agreements(model) -> dict[str, bool | None]:
    names = dict(model.inferences.values_list("id", "inference_id"))
    rows = GroundTruth.objects.beside(model)
    return {names[row.id]: row.agrees for row in rows}


FORMS = ["coco", "yolo", "voc", "label_studio"]
OPTIONS = {"include_inferences_as_annotations": True}


@pytest.mark.parametrize("form", FORMS)
def test_boxes_come_back(api, model, make_stored, exported, form):
    make_stored(png(64, 48), [SHIP, BUOY], inference_id="a")
    make_stored(png(64, 48, "red"), [], inference_id="b")

    told = joined(api, content_of(exported(form, options=OPTIONS)), form)

    assert (told["joined"], told["refused"]) == (2, 0), told
    assert agreements(model) == {"a": True, "b": True}
    truth = GroundTruth.objects.beside(model).order_by("id").first().truth
    box = next(each for each in truth["boxes"] if each["label"] == "ship")
    assert box["xmin"] == pytest.approx(8, abs=0.01)
    assert box["ymax"] == pytest.approx(30, abs=0.01)


@pytest.mark.parametrize("form", ["coco", "yolo", "label_studio"])
@pytest.mark.parametrize("shape", [TRIANGLE, HOLED], ids=["triangle", "holed"])
def test_segments_come_back(api, model, make_stored, exported, form, shape):
    model.task_type = TaskType.IMAGE_SEGMENTATION
    model.save()
    made = make_stored(png(64, 48), [shape], "image_segmentation", inference_id="a")
    assert made

    told = joined(api, content_of(exported(form, options=OPTIONS)), form)

    assert (told["joined"], told["refused"]) == (1, 0), told
    assert agreements(model) == {"a": True}


@pytest.mark.parametrize("form", ["coco", "yolo", "label_studio"])
def test_turned_boxes_come_back(api, model, make_stored, exported, form):
    model.task_type = TaskType.ORIENTED_OBJECT_DETECTION
    model.save()
    kind = "oriented_object_detection"
    make_stored(png(64, 48), [TURNED], kind, inference_id="a")

    told = joined(api, content_of(exported(form, options=OPTIONS)), form)

    assert (told["joined"], told["refused"]) == (1, 0), told
    assert agreements(model) == {"a": True}


BOX = {"label": "ship", "score": 0.75, "xmin": 8, "ymin": 6, "xmax": 40, "ymax": 26}
DIAGONAL = TURNED | {"cx": 0.4, "cy": 0.6}
CORNER = TRIANGLE | {
    "contours": [[{"x": 2, "y": 3}, {"x": 30, "y": 10}, {"x": 10, "y": 40}]]
}
SHAPES = {
    "object_detection": (TaskType.OBJECT_DETECTION, BOX),
    "oriented_object_detection": (TaskType.ORIENTED_OBJECT_DETECTION, DIAGONAL),
    "image_segmentation": (TaskType.IMAGE_SEGMENTATION, CORNER),
}


def turned_jpeg(orientation: int) -> bytes:
    """64 by 48 as it is stored, and turned by those who look at it."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.new("RGB", (64, 48), "navy").save(file, "JPEG", exif=exif)
    return file.getvalue()


def sides(box: dict) -> tuple[float, ...]:
    return tuple(box[name] for name in ("xmin", "ymin", "xmax", "ymax"))


@pytest.mark.parametrize("orientation", [2, 3, 4, 5, 6, 7, 8])
@pytest.mark.parametrize("form", FORMS)
def test_boxes_over_a_turned_picture_come_back(
    api, model, make_stored, exported, form, orientation
):
    make_stored(turned_jpeg(orientation), [BOX], data_content_type="image/jpeg")

    told = joined(api, content_of(exported(form, options=OPTIONS)), form)

    assert (told["joined"], told["refused"]) == (1, 0), told
    kept = GroundTruth.objects.beside(model).get()
    assert kept.agrees is True
    assert sides(kept.truth["boxes"][0]) == pytest.approx((8, 6, 40, 26), abs=0.01)


@pytest.mark.parametrize("orientation", [2, 6])
@pytest.mark.parametrize("form", ["coco", "yolo", "label_studio"])
@pytest.mark.parametrize("kind", ["oriented_object_detection", "image_segmentation"])
def test_outlines_over_a_turned_picture_come_back(
    api, model, make_stored, exported, form, kind, orientation
):
    model.task_type, shape = SHAPES[kind]
    model.save()
    content = turned_jpeg(orientation)
    make_stored(content, [shape], kind, data_content_type="image/jpeg")

    answer = joined(api, content_of(exported(form, options=OPTIONS)), form)

    assert (answer["joined"], answer["refused"]) == (1, 0), answer
    kept = GroundTruth.objects.beside(model).get()
    assert kept.agrees is True


@pytest.mark.parametrize("orientation", [2, 6])
@pytest.mark.parametrize("form", ["coco", "yolo", "label_studio"])
def test_points_of_an_outline_over_a_turned_picture_come_back(
    api, model, make_stored, exported, form, orientation
):
    model.task_type, shape = SHAPES["image_segmentation"]
    model.save()
    content = turned_jpeg(orientation)
    make_stored(content, [shape], "image_segmentation", data_content_type="image/jpeg")

    joined(api, content_of(exported(form, options=OPTIONS)), form)

    truth = GroundTruth.objects.beside(model).get().truth
    points = truth["polygons"][0]["contours"][0]
    for point in [(2, 3), (30, 10), (10, 40)]:
        assert any(each == pytest.approx(point, abs=0.01) for each in points)


@pytest.mark.parametrize("form", ["yolo", "label_studio"])
def test_shares_of_a_turned_picture_come_back(api, model, make_stored, exported, form):
    model.box_format = "xyxy_normalised"
    model.save()
    share = {"label": "ship", "score": 0.75, "bbox": [0.125, 0.125, 0.625, 0.5]}
    said = json.dumps([share])  # of a server: boxes of the API are in pixels
    content = turned_jpeg(6)
    make_stored(content, [share], data=said, data_content_type="image/jpeg")

    joined(api, content_of(exported(form, options=OPTIONS)), form)

    kept = GroundTruth.objects.beside(model).get()
    assert kept.agrees is True
    assert sides(kept.truth["boxes"][0]) == pytest.approx(
        (0.125, 0.125, 0.625, 0.5), abs=1e-4
    )


@pytest.mark.parametrize("form", ["yolo", "label_studio"])
def test_boxes_of_a_model_that_turned_the_picture_itself_stay(
    api, model, make_stored, exported, form
):
    low = BOX | {"ymin": 50, "ymax": 60}  # below 48: over the upright picture alone
    make_stored(turned_jpeg(6), [low], data_content_type="image/jpeg")

    joined(api, content_of(exported(form, options=OPTIONS)), form)

    kept = GroundTruth.objects.beside(model).get()
    assert kept.agrees is True
    assert sides(kept.truth["boxes"][0]) == pytest.approx((8, 50, 40, 60), abs=0.01)


def test_a_turned_picture_is_found_by_a_metadata_key(api, model, make_stored, exported):
    make_stored(
        turned_jpeg(6), [BOX], data_content_type="image/jpeg", metadata={"file": "x"}
    )
    (task,) = json.loads(content_of(exported("label_studio", options=OPTIONS)))
    task["data"] = {"image": "elsewhere.jpg", "file": "x"}
    content = json.dumps([task]).encode()

    told = joined(api, content, "label_studio", join_by="metadata.file")

    assert told["joined"] == 1
    kept = GroundTruth.objects.beside(model).get()
    assert sides(kept.truth["boxes"][0]) == pytest.approx((8, 6, 40, 26), abs=0.01)


def test_a_size_before_the_turn_says_that_nothing_was_turned(
    api, model, make_stored, exported
):
    make_stored(turned_jpeg(6), [BOX], data_content_type="image/jpeg")
    (task,) = json.loads(content_of(exported("label_studio", options=OPTIONS)))
    (result,) = task["annotations"][0]["result"]
    result |= {"original_width": 64, "original_height": 48}
    result["value"] |= {"x": 12.5, "y": 12.5, "width": 50, "height": 41.666667}

    joined(api, json.dumps([task]).encode(), "label_studio")

    assert agreements(model).popitem()[1] is True


def test_coco_without_a_size_is_measured_as_it_is_stored(api, model, make_stored):
    model.box_format = "xyxy_normalised"
    model.save()
    content = turned_jpeg(6)
    make_stored(content, [], data_content_type="image/jpeg", inference_id="a")
    coco = {
        "images": [{"id": 1, "file_name": "a.jpg"}],
        "categories": [{"id": 1, "name": "ship"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [8, 6, 32, 24]}
        ],
    }

    joined(api, json.dumps(coco).encode(), "coco")

    (box,) = GroundTruth.objects.beside(model).get().truth["boxes"]
    assert sides(box) == (0.125, 0.125, 0.625, 0.625)


def test_labels_without_pictures_are_turned_back_by_the_stored_ones(
    api, model, make_stored
):
    content = turned_jpeg(6)
    make_stored(content, [BOX], data_content_type="image/jpeg", inference_id="a")
    labels = {
        "labels/a.txt": "0 0.66666667 0.375 0.41666667 0.5\n"
    }  # as it is looked at

    joined(api, zipped(**labels, **{"data.yaml": "names: [ship]"}), "yolo")

    assert agreements(model) == {"a": True}


def zipped(**parts: str) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return made.getvalue()


def test_yolo_without_pictures_is_measured_by_the_stored_ones(api, model, make_stored):
    make_stored(png(64, 48), [SHIP], inference_id="a")
    content = zipped(
        **{
            "labels/train/a.txt": "0 0.375 0.375 0.5 0.5\n",
            "labels/train/late.txt": "0 0.375 0.375 0.5 0.5\n",
            "labels/train/odd.txt": "7 0.375 0.375 0.5 0.5\n",
            "data.yaml": "names: [ship]\n",
        }
    )

    told = joined(api, content, "yolo")

    assert agreements(model) == {"a": True}
    assert told["refused"] == 2
    whys = {each["place"]: each["why"] for each in told["refusals"]}
    assert "size of the picture is not known" in whys["labels/train/late.txt"]
    assert "Class 7 has no name" in whys["labels/train/odd.txt"]


def test_pictures_are_joined_by_a_metadata_key(api, model, make_inference):
    make_inference({"file": "x.jpg"}, inference_id="a")
    coco = {
        "images": [{"id": 1, "file_name": "data/x.jpg", "width": 64, "height": 48}],
        "categories": [{"id": 1, "name": "ship"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [8, 6, 32, 24]},
            {"id": 2, "image_id": 9, "category_id": 1, "bbox": [8, 6, 32, 24]},
        ],
    }

    told = joined(api, json.dumps(coco).encode(), "coco", join_by="metadata.file")

    assert (told["joined"], told["refused"]) == (1, 1)
    assert told["refusals"][0] == {
        "place": "annotation 2",
        "why": "There is no such image.",
    }


@pytest.mark.parametrize(
    ("form", "content"),
    [
        ("coco", b"[]"),
        ("coco", b'{"images": [3]}'),
        ("coco", b"{"),
        ("yolo", b"no zip"),
        ("voc", b"PK\x03\x04 broken"),
        ("label_studio", b"[3]"),
    ],
)
def test_files_of_another_form_are_refused(api, model, form, content):
    response = post(api, content, form)

    assert response.status_code == 400, response.content


def test_entities_of_xml_are_not_unfolded(api, model):
    bomb = '<!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>'

    told = joined(api, zipped(**{"a.xml": bomb, "b.xml": "<annotation>"}), "voc")

    assert told["refused"] == 2
    assert "document type" in told["refusals"][0]["why"]


def test_an_archive_that_unpacks_to_too_much_is_refused(api, model, monkeypatch):
    monkeypatch.setattr(annotations, "ARCHIVE_MAX_BYTES", 1000)

    response = post(
        api, zipped(**{"labels/a.txt": "0 0.5 0.5 0.1 0.1\n" * 100}), "yolo"
    )

    assert response.status_code == 413


def test_run_lengths_are_read_and_bounded(api, model, make_stored):
    model.task_type = TaskType.IMAGE_SEGMENTATION
    model.save()
    make_stored(png(64, 48), [TRIANGLE], "image_segmentation", inference_id="a")
    runs = {"size": [48, 64], "counts": [48 * 8 + 6, 24, 24, 24, 48 * 54 + 18]}
    vast = {"size": [10**6, 10**6], "counts": [1]}
    drawn = [
        {"id": n, "image_id": n, "category_id": 1, "segmentation": each}
        for n, each in enumerate((runs, vast))
    ]
    images = [{"id": n, "file_name": f"{'ab'[n]}.png"} for n in range(2)]
    coco = {
        "images": images,
        "categories": [{"id": 1, "name": "quay"}],
        "annotations": drawn,
    }

    told = joined(api, json.dumps(coco).encode(), "coco")

    assert (told["joined"], told["refused"]) == (1, 1)
    (polygon,) = GroundTruth.objects.beside(model).get().truth["polygons"]
    assert len(polygon["contours"][0]) >= 4


@pytest.mark.parametrize(
    ("counts", "why"),
    [
        ([10, 20], "Its counts add up to 30 pixels, and 48 by 64 are 3072."),
        ([4000], "Its counts add up to 4000 pixels, and 48 by 64 are 3072."),
        ([3070, -4, 6], "One of its counts is negative."),
        ("0PQ", "Its counts cannot be decoded."),
        ("ä", "Its counts cannot be decoded."),
    ],
)
def test_malformed_run_lengths_are_refused_with_the_reason(
    api, model, make_stored, counts, why
):
    model.task_type = TaskType.IMAGE_SEGMENTATION
    model.save()
    make_stored(png(64, 48), [TRIANGLE], "image_segmentation", inference_id="a")
    runs = {"size": [48, 64], "counts": counts}
    drawn = {"id": 3, "image_id": 1, "category_id": 1, "segmentation": runs}
    coco = {
        "images": [{"id": 1, "file_name": "a.png"}],
        "categories": [{"id": 1, "name": "quay"}],
        "annotations": [drawn],
    }

    told = joined(api, json.dumps(coco).encode(), "coco")

    (refusal,) = told["refusals"]
    assert refusal["why"] == f"annotation 3: Its mask is malformed. {why}"


def test_the_command_reads_annotations(model, make_stored, tmp_path):
    make_stored(png(64, 48), [SHIP], inference_id="a")
    xml = (
        "<annotation><filename>a.png</filename><object><name>ship</name><bndbox>"
        "<xmin>8</xmin><ymin>6</ymin><xmax>40</xmax><ymax>30</ymax></bndbox></object>"
        "</annotation>"
    )
    path = tmp_path / "voc.zip"
    path.write_bytes(zipped(**{"Annotations/a.xml": xml}))

    call_command("import_ground_truth", "yolo-harbour", path, form="voc")

    assert agreements(model) == {"a": True}
