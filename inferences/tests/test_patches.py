"""Detections as patches: which, in which order, and the parts of pictures that are served."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from PIL import Image

from inferences.ground_truth.upsert import put_truth
from inferences.models import RegisteredModel, TaskType
from inferences.previews import pictures
from inferences.web.browsing import PAGE_SIZES
from inferences.web.view_models.patches import PER_INFERENCE
from istore import blobs

pytestmark = pytest.mark.django_db
COLOURS = {"red": (250, 0, 0), "green": (0, 250, 0), "blue": (0, 0, 250)}


def picture(orientation: int = 1, format: str = "PNG") -> bytes:
    """80 by 40 as it is seen: red left, green right, and blue in the lower half."""
    seen = Image.new("RGB", (80, 40), COLOURS["blue"])
    seen.paste(COLOURS["red"], (0, 0, 40, 20))
    seen.paste(COLOURS["green"], (40, 0, 80, 20))
    back = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }.get(orientation)
    exif, made = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    stored = seen if back is None else seen.transpose(back)
    stored.save(made, format, exif=exif)
    return made.getvalue()


def stored(content: bytes) -> str:
    key = f"1/1/2025/06/01/00/{uuid4()}/input"
    blobs.put(key, content)
    return key


def colour_of(made: bytes) -> str:
    image = Image.open(io.BytesIO(made)).convert("RGB")
    middle = image.getpixel((image.width // 2, image.height // 2))
    return min(
        COLOURS,
        key=lambda name: sum(
            abs(a - b) for a, b in zip(COLOURS[name], middle, strict=True)
        ),
    )


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_part_is_cut_from_the_picture_as_it_is_seen(db, orientation):
    key = stored(picture(orientation))
    for name, crop in (
        ("red", (50, 50, 450, 450)),
        ("green", (550, 50, 950, 450)),
        ("blue", (50, 550, 950, 950)),
    ):
        assert colour_of(pictures.preview(key, 160, crop)) == name
    wide = Image.open(io.BytesIO(pictures.preview(key, 160, (0, 500, 1000, 1000))))
    assert wide.size == (80, 20)


def test_parts_are_forgotten_with_their_input(db, settings):
    kept, gone = stored(picture()), stored(picture())
    for key in (kept, gone):
        pictures.preview(key, 160, (0, 0, 500, 500))
        pictures.preview(key, 320)
    crops = settings.ISTORE_HOME.directory("previews") / pictures.CROPS
    assert pictures._crops_of(gone).is_dir()
    blobs.delete([gone])
    pictures.forget([gone])
    assert not pictures._crops_of(gone).exists()
    assert pictures._crops_of(kept).parent == crops
    # Of many keys those that are there are looked up in one listing.
    pictures.forget([kept, *(f"none/{n}/input" for n in range(pictures.FEW))])
    assert not pictures._crops_of(kept).exists()


def test_old_parts_are_swept_with_their_directories(db):
    key = stored(picture())
    pictures.preview(key, 160, (0, 0, 500, 500))
    pictures.sweep(now=datetime(2100, 1, 1, tzinfo=UTC).timestamp())
    assert not pictures._crops_of(key).exists()


@pytest.fixture
def harbour(model, make_inference):
    """``harbour("a", ("ship", 0.9, (0, 0, 40, 20)), …)`` stores a picture with what was found."""
    moments = iter(range(10_000))

    def make(name: str, *found: tuple, truth: list[tuple] | None = None):
        answer = [
            {"label": label, "score": score, "bounding_box": sides(box)}
            for label, score, box in found
        ]
        make_inference(
            inference_id=name,
            created_at=datetime(2025, 6, 1, tzinfo=UTC)
            + timedelta(minutes=next(moments)),
            data=json.dumps({"object_detection": answer}),
            detections=[(label, score) for label, score, _ in found],
            data_storage_key=stored(picture()),
            data_content_type="image/png",
        )
        if truth is not None:
            boxes = [{"label": label, **sides(box)} for label, box in truth]
            put_truth("test", model, name, {"boxes": boxes})

    return make


def sides(box: tuple) -> dict[str, float]:
    return dict(zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))


LEFT, RIGHT, LOW = (0, 0, 40, 20), (40, 0, 80, 20), (0, 20, 80, 40)


@pytest.fixture
def two(harbour):
    harbour("old", ("ship", 0.9, LEFT), ("crane", 0.3, RIGHT))
    harbour(
        "new",
        ("ship", 0.5, (0, 0, 40, 15)),
        ("buoy", 0.7, RIGHT),
        truth=[("ship", LEFT), ("crane", LOW)],
    )


def patches_at(person, model, **query) -> list[tuple]:
    page = reverse("inferences:browse", args=[model.project, model.model_id])
    response = person().get(page, {"view": "patches", **query})
    assert response.status_code == 200
    found = response.context["patches"].shown
    return [
        (each.inference.inference_id, each.found.label, "true" if each.is_true else "")
        for each in found
    ]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, "new buoy, new ship, new crane true, old ship, old crane"),
        (
            {"sort": "score"},
            "old ship, new buoy, new ship, old crane, new crane true",
        ),
        (
            {"sort": "uncertain"},
            "old crane, new ship, new buoy, old ship, new crane true",
        ),
        (
            {"sort": "label"},
            "new buoy, old crane, new crane true, old ship, new ship",
        ),
        ({"sort": "iou"}, "new buoy, new crane true, new ship"),
        ({"patches": "answers"}, "new buoy, new ship, old ship, old crane"),
        ({"patches": "truth"}, "new ship true, new crane true"),
        ({"label": "ship"}, "new ship, old ship"),
        ({"max_score": "0.4"}, "old crane"),
    ],
)
def test_patches_are_those_of_the_question_in_its_order(
    person, model, two, query, expected
):
    found = [
        " ".join(filter(None, each)) for each in patches_at(person, model, **query)
    ]
    assert ", ".join(found) == expected


def test_a_patch_shows_its_part_and_selects_its_inference(person, model, two):
    page = reverse("inferences:browse", args=[model.project, model.model_id])
    client = person()
    text = client.get(page, {"view": "patches", "label": "crane"}).content.decode()
    assert "/inferences/old/preview?crop=425,0,1000,575&amp;size=160" in text
    assert 'value="old" name="inference_id" form="selection"' in text
    part = client.get(f"{page}/old/preview?crop=425,0,1000,575&size=160")
    assert part.status_code == 200
    again = client.get(
        f"{page}/old/preview?crop=425,0,1000,575&size=160",
        headers={"If-None-Match": part["ETag"]},
    )
    assert again.status_code == 304


@pytest.mark.parametrize(
    "crop", ["1,2,3", "500,0,400,10", "0,0,1001,10", "0,0,0,0", "-1,0,5,5", "a,b,c,d"]
)
def test_a_part_that_is_none_is_not_there(person, model, two, crop):
    page = reverse("inferences:browse", args=[model.project, model.model_id])
    assert person().get(f"{page}/old/preview", {"crop": crop}).status_code == 404


def test_a_crowd_has_its_best_patches_and_says_how_many_more(person, model, harbour):
    harbour("crowd", *(("ship", n / 100, LEFT) for n in range(PER_INFERENCE + 5)))
    page = reverse("inferences:browse", args=[model.project, model.model_id])
    response = person().get(page, {"view": "patches"})
    shown = response.context["patches"].shown
    assert [each.others for each in shown] == [0] * (PER_INFERENCE - 1) + [5]
    assert "5 more of this inference" in response.content.decode()


def test_a_page_asks_no_more_the_more_inferences_there_are(person, model, harbour):
    client = person()
    page = reverse("inferences:browse", args=[model.project, model.model_id])
    counts = []
    for start in (0, 60):
        for number in range(start, start + 60):
            harbour(f"n{number}", ("ship", 0.9, LEFT))
        client.get(page, {"view": "patches"})
        with CaptureQueriesContext(
            connection,
        ) as queries:
            response = client.get(page, {"view": "patches"})
        counts.append(len(queries))
        assert len(response.context["patches"].shown) == 48
        assert response.context["next"]
    assert counts[0] == counts[1]


def test_what_has_no_shapes_says_so(person, model, project, harbour, make_inference):
    page = reverse("inferences:browse", args=[model.project, model.model_id])
    client = person()
    make_inference(inference_id="bare")
    said = client.get(page, {"view": "patches"}).content.decode()
    assert "No shapes here" in said
    said = client.get(page, {"view": "patches", "sort": "iou"}).content.decode()
    assert "Nothing to compare with" in said
    digits = RegisteredModel.objects.create(
        model_id="digits", project=project, task_type=TaskType.IMAGE_CLASSIFICATION
    )
    of_digits = reverse("inferences:browse", args=[project, digits.model_id])
    assert 'aria-label="Patches"' in said
    assert 'aria-label="Patches"' not in client.get(of_digits).content.decode()


def test_the_order_by_overlap_is_one_of_patches_alone(person, model, two):
    page = reverse("inferences:browse", args=[model.project, model.model_id])
    response = person().get(page, {"sort": "iou"})
    assert response.context["question"].sort == ""
    assert "Lowest IoU first" not in response.content.decode()


def test_the_worst_overlap_of_all_comes_first_over_pages(
    person, model, harbour, monkeypatch
):
    """A page of patches by IoU is of the worst inferences, however old they are."""
    monkeypatch.setitem(PAGE_SIZES, "patches", 1)
    halves = {"worst": 8, "good": 20, "middle": 14, "untold": 20}
    for name, height in halves.items():
        truth = None if name == "untold" else [("ship", LEFT)]
        harbour(name, ("ship", 0.9, (0, 0, 40, height)), truth=truth)
    address = reverse("inferences:browse", args=[model.project, model.model_id])
    query, found = "?view=patches&sort=iou", []
    while query:
        page = person().get(f"{address}{query}")
        found += [each.inference.inference_id for each in page.context["patches"].shown]
        query = page.context["next"]
    # Of the worst the true shape is missed, too.
    assert found == ["worst", "worst", "middle", "good"]
    assert page.context["window"].size == 3
