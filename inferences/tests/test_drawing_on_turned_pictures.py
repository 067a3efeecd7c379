"""Ground truth is drawn over a picture as it is looked at, and kept as the model sees it."""

from __future__ import annotations

import html
import io
import json
import re
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from PIL import Image

from inferences.models.ground_truth import GroundTruth
from istore import blobs
from istore.models import Membership, Role

pytestmark = pytest.mark.django_db

BOX = {"label": "ship", "xmin": 10, "ymin": 5, "xmax": 20, "ymax": 10}
# Where that box of a picture of 80 by 40 lies once EXIF's turn is done.
UPRIGHT = {
    2: (60, 5, 70, 10),
    3: (60, 30, 70, 35),
    4: (10, 30, 20, 35),
    5: (5, 10, 10, 20),
    6: (30, 10, 35, 20),
    7: (30, 60, 35, 70),
    8: (5, 60, 10, 70),
}


@pytest.fixture
def editor(project) -> Client:
    user = User.objects.create_user("editor")
    Membership.objects.create(user=user, project=project, role=Role.EDITOR)
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def turned(make_inference):
    """An inference of a picture of 80 by 40 with that orientation, and what was found."""

    def make(orientation: int, format: str = "JPEG", *found: dict):
        exif = Image.Exif()
        exif[0x0112] = orientation
        file = io.BytesIO()
        Image.new("RGB", (80, 40)).save(file, format, exif=exif)
        key = f"1/1/2025/06/01/00/{uuid4()}/input"
        blobs.put(key, file.getvalue())
        kind = f"image/{format.lower()}"
        answer = json.dumps({"object_detection": list(found)})
        return make_inference(
            data_storage_key=key, data_content_type=kind, data=answer
        ).inference_id

    return make


def address(name: str, model, inference_id: str) -> str:
    return reverse(f"inferences:{name}", args=[model.model_id, inference_id])


def drawn(client, model, inference_id: str) -> tuple[list[dict], list[dict], str]:
    """The boxes that the editor begins with, those of the answer, and the turn it sends."""
    shown = client.get(address("detail", model, inference_id)).content.decode()
    boxes, answer = (
        json.loads(html.unescape(re.search(rf'{name}="([^"]*)"', shown)[1]))
        for name in ("data-shapes", "data-suggested")
    )
    turn = re.search(r'name="turn" value="([^"]*)"', shown)
    return boxes, answer, turn[1] if turn else ""


def sides(box: dict) -> tuple[float, ...]:
    return tuple(box[name] for name in ("xmin", "ymin", "xmax", "ymax"))


def save(client, model, inference_id: str, boxes: list[dict], turn: str) -> None:
    posted = {"form": "boxes", "boxes": json.dumps(boxes), "turn": turn}
    client.post(address("change-truth", model, inference_id), posted)


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_boxes_are_drawn_upright_and_kept_in_the_pixels_of_the_file(
    editor, model, turned, orientation
):
    inference_id = turned(orientation)
    _, _, turn = drawn(editor, model, inference_id)
    names = ("xmin", "ymin", "xmax", "ymax")
    upright = dict(zip(names, UPRIGHT[orientation], strict=True))

    save(editor, model, inference_id, [{"label": "ship", **upright}], turn)

    (kept,) = GroundTruth.objects.get().truth["boxes"]
    assert kept == BOX
    (shown,), _, _ = drawn(editor, model, inference_id)
    assert sides(shown) == UPRIGHT[orientation]


@pytest.mark.parametrize("format", ["PNG", "WEBP"])
def test_what_the_model_found_is_saved_as_it_was_answered(
    editor, model, turned, format
):
    found = {"label": "ship", "score": 0.9, "bbox": [5, 10, 10, 20]}  # y, x, y, x
    inference_id = turned(6, format, found)

    _, answer, turn = drawn(editor, model, inference_id)
    save(editor, model, inference_id, answer, turn)

    (kept,) = GroundTruth.objects.get().truth["boxes"]
    assert sides(kept) == pytest.approx(sides(BOX), abs=0.01)


def test_shares_of_the_picture_are_turned_as_shares(editor, model, turned):
    model.box_format = "xyxy_normalised"
    model.save()
    inference_id = turned(6)
    _, _, turn = drawn(editor, model, inference_id)
    box = {"label": "ship", "xmin": 0.5, "ymin": 0.25, "xmax": 0.75, "ymax": 0.5}

    save(editor, model, inference_id, [box], turn)

    (kept,) = GroundTruth.objects.get().truth["boxes"]
    assert sides(kept) == (0.25, 0.25, 0.5, 0.5)


def test_boxes_of_a_model_that_turned_the_picture_itself_stay(editor, model, turned):
    low = {"label": "ship", "score": 0.9, "bbox": [60, 10, 80, 20]}  # below 40: upright
    inference_id = turned(6, "JPEG", low)

    _, answer, turn = drawn(editor, model, inference_id)

    assert (turn, sides(answer[0])) == ("", (10, 60, 20, 80))


def test_a_turn_that_is_none_saves_nothing(editor, model, turned):
    save(editor, model, turned(6), [BOX], "upside down")

    assert not GroundTruth.objects.exists()
