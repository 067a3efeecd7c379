from __future__ import annotations

import pytest

pytest.importorskip("skimage")
pytest.importorskip("sklearn")

from demo.models.faces import overlap
from demo.pictures import shipped

ASTRONAUT = (66, 175, 164, 272)  # ymin, xmin, ymax, xmax of her face


def test_the_best_box_is_the_face_of_the_astronaut(infer, image_tensor):
    reply = infer("face-detector", image_tensor(shipped("astronaut.png")))

    boxes, scores = reply.output("detection_boxes"), reply.output("detection_scores")
    assert overlap(boxes["data"][:4], ASTRONAUT) > 0.8
    assert scores["data"][0] > 0.7
    assert scores["data"] == sorted(scores["data"], reverse=True)
    assert boxes["shape"] == [len(scores["data"]), 4]
    assert set(reply.output("detection_classes")["data"]) == {"face"}
    assert reply.output("num_detections")["data"] == [len(scores["data"])]


def test_boxes_are_in_pixels_of_the_picture_that_was_sent(infer, image_tensor):
    large = shipped("astronaut.png").resize((1024, 960))

    reply = infer("face-detector", image_tensor(large))

    in_large = [side * (960 / 512, 2)[n % 2] for n, side in enumerate(ASTRONAUT)]
    assert overlap(reply.output("detection_boxes")["data"][:4], in_large) > 0.8


def test_a_picture_without_faces_has_zero_detections(infer, image_tensor):
    reply = infer("face-detector", image_tensor(shipped("horse.png")))

    assert reply.output("detection_boxes")["shape"] == [0, 4]
    assert reply.output("detection_boxes")["data"] == []
    assert reply.output("num_detections")["data"] == [0]


def test_each_of_several_pictures_has_its_row(infer, image_tensor):
    reply = infer(
        "face-detector",
        image_tensor(shipped("horse.png"), "image-0"),
        image_tensor(shipped("astronaut.png"), "image-1"),
    )

    count, most, sides = reply.output("detection_boxes")["shape"]
    counts = reply.output("num_detections")["data"]
    assert (count, sides, counts) == (2, 4, [0, most])
    boxes = reply.output("detection_boxes")["data"]
    assert boxes[: most * 4] == [0] * most * 4
    assert overlap(boxes[most * 4 : most * 4 + 4], ASTRONAUT) > 0.8
