from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("skimage")
pytest.importorskip("sklearn")

from PIL import Image

from demo.models.blobs import blobs
from demo.pictures import shipped


def disc(radius: float, contrast: float) -> Image.Image:
    y, x = np.mgrid[:200, :300]
    is_inside = (y - 80) ** 2 + (x - 120) ** 2 <= radius**2
    return Image.fromarray((51 + is_inside * contrast * 255).astype(np.uint8))


@pytest.mark.parametrize("contrast", [0.3, 0.5, 0.7])
def test_the_score_of_a_disc_is_its_contrast_and_the_box_its_edges(contrast):
    found = blobs(disc(23, contrast))

    assert found[0]["score"] == pytest.approx(contrast, abs=0.05)
    assert found[0]["label"] == "large"
    box = [found[0][side] for side in ("xmin", "ymin", "xmax", "ymax")]
    assert box == pytest.approx([97, 57, 143, 103], abs=3)


def test_a_large_picture_gives_boxes_in_its_own_pixels():
    large = disc(23, 0.5).resize((1200, 800))

    box = [blobs(large)[0][side] for side in ("xmin", "ymin", "xmax", "ymax")]

    # Scales lie a factor of 1.6 apart, so a radius of 92 is met within a quarter.
    assert box == pytest.approx([388, 228, 572, 412], abs=23)


def test_coins_are_json_objects_in_one_output(infer, image_tensor):
    reply = infer("blob-detector", image_tensor(shipped("coins.png")))

    (output,) = reply.value["outputs"]
    found = [json.loads(text) for text in output["data"]]
    assert output["shape"] == [len(found)]
    assert {"label", "score", "xmin", "ymin", "xmax", "ymax"} == set(found[0])
    # There are 24 coins; some are too dark, and worn rims are blobs of their own.
    assert sum(blob["label"] == "large" for blob in found) >= 15
    assert all(0 <= blob["xmin"] < blob["xmax"] <= 384 for blob in found)
    assert all(0 < blob["score"] <= 1 for blob in found)


def test_several_pictures_have_a_numbered_output_each(infer, image_tensor):
    tensors = [image_tensor(disc(20, 0.5), f"image-{n}") for n in range(3)]

    reply = infer("blob-detector", *tensors)

    names = [output["name"] for output in reply.value["outputs"]]
    assert names == ["detections-0", "detections-1", "detections-2"]


def test_an_even_picture_has_no_blobs(infer, image_tensor):
    reply = infer("blob-detector", image_tensor(Image.new("L", (300, 200), 90)))

    assert reply.output("detections")["data"] == []
