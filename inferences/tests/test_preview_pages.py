from __future__ import annotations

import io
import struct
import zlib
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from PIL import Image

from inferences.predictions.geometry import outlines
from inferences.predictions.parsers import Box, Mask, OrientedBox, Polygons
from inferences.previews import picture_pool, pictures
from inferences.previews.picture_pool import Unreadable, pool
from inferences.previews.pictures import Measure
from istore import blobs
from istore.models import Membership, Role


def picture(
    format="PNG", size=(40, 20), exif_turn=None, mode="RGB", color=None
) -> bytes:
    made = io.BytesIO()
    image = Image.new(mode, size, color) if color is not None else Image.new(mode, size)
    options = {}
    if exif_turn:
        exif = Image.Exif()
        exif[0x0112] = exif_turn
        options["exif"] = exif
    image.save(made, format, **options)
    return made.getvalue()


def bomb(side: int = 30_000) -> bytes:
    """A small PNG that says it has very many pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    rows = zlib.compress(b"\0" * 100_000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows)


@pytest.fixture
def stored(db):
    def put(content: bytes) -> str:
        key = f"1/1/2025/06/01/00/{uuid4()}/input"
        blobs.put(key, content)
        return key

    return put


@pytest.fixture
def viewer(project) -> Client:
    user = User.objects.create_user("viewer")
    Membership.objects.create(user=user, project=project, role=Role.VIEWER)
    client = Client()
    client.force_login(user)
    return client


def preview_of(inference) -> str:
    return reverse(
        "inferences:media", args=["yolo-harbour", inference.inference_id, "preview"]
    )


def test_a_preview_is_a_small_picture_of_our_making(stored):
    made = pictures.preview(stored(picture(size=(2000, 1000))), 320)
    with Image.open(io.BytesIO(made)) as small:
        assert small.format == "WEBP"
        assert small.size == (320, 160)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16", "I", "RGB"])
def test_every_kind_of_pixel_is_shown(stored, mode):
    assert pictures.preview(stored(picture("TIFF", mode=mode, size=(300, 300))), 160)


@pytest.mark.parametrize("format", ["JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_common_formats_are_shown(stored, format):
    assert pictures.measure(stored(picture(format))) == Measure(40, 20)


def test_a_preview_is_upright_and_says_nothing_of_its_origin(stored):
    key = stored(picture("JPEG", (400, 200), exif_turn=6))
    assert pictures.measure(key) == Measure(400, 200, 6)
    with Image.open(io.BytesIO(pictures.preview(key, 160))) as small:
        assert small.size == (80, 160)
        assert not small.getexif()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a picture",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        picture()[:40],
        bomb(),
        bomb(7000),
    ],
)
def test_what_is_no_picture_harms_nobody(stored, content):
    with pytest.raises(Unreadable):
        pictures.preview(stored(content), 320)
    assert pictures.preview(stored(picture()), 160)


def test_a_child_that_takes_too_long_is_ended(stored, monkeypatch):
    monkeypatch.setattr(picture_pool, "JOB_SECONDS", 0)
    with pytest.raises(Unreadable):
        pool.ask(picture(size=(3000, 3000)), 1280)
    monkeypatch.undo()
    assert pool.ask(picture(), 160)


def test_a_child_that_died_is_replaced(stored):
    pool.ask(picture())
    for _ in range(picture_pool.WORKERS):
        worker = pool.places.get()
        if worker:
            worker.process.kill()
            worker.process.wait()
        pool.places.put(worker)
    assert pool.ask(picture(), 160)


def test_a_page_that_does_not_know_may_ask_without_an_error(viewer, make_inference):
    address = preview_of(make_inference())
    assert viewer.get(address).status_code == 404
    assert viewer.get(address, {"missing": "empty"}).status_code == 204


def test_the_page_answers_404_for_a_bomb(viewer, make_inference, stored):
    inference = make_inference(
        data_storage_key=stored(bomb()), data_content_type="image/png"
    )
    assert viewer.get(preview_of(inference)).status_code == 404
    assert viewer.get("/models/yolo-harbour/inferences").status_code == 200


def test_a_preview_is_asked_for_again_each_time(viewer, make_inference, stored):
    inference = make_inference(
        data_storage_key=stored(picture()), data_content_type="image/png"
    )
    response = viewer.get(preview_of(inference))
    assert response["Content-Type"] == "image/webp"
    assert response["Cache-Control"] == "private, no-cache"
    again = viewer.get(
        preview_of(inference), headers={"If-None-Match": response["ETag"]}
    )
    assert again.status_code == 304
    Membership.objects.all().delete()
    assert viewer.get(preview_of(inference)).status_code == 404


def test_a_preview_does_not_outlive_its_input(viewer, make_inference, stored):
    key = stored(picture())
    inference = make_inference(data_storage_key=key, data_content_type="image/png")
    assert viewer.get(preview_of(inference)).status_code == 200
    blobs.delete([key])
    assert viewer.get(preview_of(inference)).status_code == 404
    assert pictures._read(key, "320") is None
    page = viewer.get("/models/yolo-harbour/inferences/inference-1")
    assert b"Input expired" in page.content


def test_a_preview_of_an_input_that_went_meanwhile_is_not_kept(stored, monkeypatch):
    key = stored(picture())
    ask = pictures.pool.ask

    def removed_meanwhile(*given):
        made = ask(*given)
        blobs.delete([key])
        pictures.forget([key])
        return made

    monkeypatch.setattr(pictures.pool, "ask", removed_meanwhile)
    assert pictures.preview(key, 320)
    assert pictures._read(key, "320") is None


@pytest.mark.parametrize("size", ["0", "321", "x", "1e3", ""])
def test_previews_come_in_few_sizes(viewer, make_inference, stored, size):
    inference = make_inference(data_storage_key=stored(picture()))
    assert viewer.get(preview_of(inference), {"size": size}).status_code == 404


def test_an_input_is_downloaded_under_a_sandbox_and_in_ranges(
    viewer, make_inference, stored
):
    inference = make_inference(
        data_storage_key=stored(b"<svg onload=alert(1)>"),
        data_content_type="image/svg+xml",
    )
    address = reverse(
        "inferences:media", args=["yolo-harbour", inference.inference_id, "input"]
    )
    response = viewer.get(address, headers={"Range": "bytes=0-3"})
    assert response.status_code == 206
    assert b"".join(response.streaming_content) == b"<svg"
    assert response["Content-Disposition"].startswith("attachment")
    assert "sandbox" in response["Content-Security-Policy"]


def test_old_previews_are_swept(stored):
    key = stored(picture())
    pictures.preview(key, 160)
    pictures.sweep(now=10**11)
    assert pictures._read(key, "160") is None


@pytest.mark.parametrize("turn", range(1, 9))
def test_boxes_turn_with_the_picture(turn):
    box = Box(10, 5, 20, 10)
    (outline,) = outlines([box], Measure(80, 40, turn))
    width, height = Measure(80, 40, turn).upright
    # The upper left corner of what is shown, in percent of the upright picture.
    decoded = Image.new("L", (80, 40))
    decoded.paste(255, (10, 5, 20, 10))
    from inferences.previews.picture_worker import TURNS

    shown = decoded.transpose(TURNS[turn]) if turn in TURNS else decoded
    left, top, right, bottom = shown.getbbox()
    assert outline.left == pytest.approx(100 * left / width)
    assert outline.top == pytest.approx(100 * top / height)
    assert outline.right == pytest.approx(100 * right / width)
    assert outline.bottom == pytest.approx(100 * bottom / height)


def test_boxes_of_a_model_that_turned_the_picture_itself_stay():
    (outline,) = outlines([Box(10, 60, 20, 80)], Measure(80, 40, 6))
    assert (outline.left, outline.bottom) == (25, 100)


def test_other_shapes_have_outlines():
    measure = Measure(100, 50)
    oriented, polygon, mask, coco, none = outlines(
        [
            OrientedBox(0.5, 0.5, 0.2, 0.2, 0.0),
            Polygons((((10, 10), (20, 10), (20, 20)),)),
            Mask((5 * 50 + 10, 5), 50, 100),
            Mask("52203", 2, 4),
            None,
        ],
        measure,
    )
    assert (oriented.left, oriented.top, oriented.right) == (40, 40, 60)
    assert polygon.path == "M10 10 20 10 20 20Z"
    assert (mask.left, mask.top, mask.right, mask.bottom) == (5, 20, 6, 30)
    assert coco is not None
    assert none is None
