from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco

from inferences.predictions.columns import prediction_of
from inferences.predictions.derived_metadata import derived_metadata
from inferences.predictions.parse import deconstruct
from inferences.predictions.parsers import (
    Box,
    Deconstructed,
    Detection,
    Kind,
    Mask,
    OrientedBox,
    Polygons,
)
from inferences.predictions.parsers.pixel_masks import mask_of
from inferences.predictions.parsers.run_lengths import complaint
from inferences.tests.answers import (
    CLASSIFY,
    DETECT,
    LABELS,
    SEGMENT,
    found,
    output,
    read,
)

TASKS = [DETECT, CLASSIFY, SEGMENT, "Oriented Object Detection", "Text Embedding", ""]
TASKS += ["Text Generation", "Named Entity Recognition", "Tabular Regression"]
TASKS += ["Ranking", "Multi-Output", "Time Series"]

SHIP = Detection("ship", 0.9, Box(10, 20, 60, 40))
TUG = Detection("tug", 0.5, Box(1, 2, 3, 4))
ARRAYS = {
    "detection_boxes": [[20, 10, 40, 60], [2, 1, 4, 3]],
    "detection_classes": [0, 1],
    "detection_scores": [0.9, 0.5],
}


# boxes, classes and scores side by side


def test_side_by_side_outputs_are_detections():
    answer = read(
        [
            output("detection_boxes", [20, 10, 40, 60, 2, 1, 4, 3], [1, 2, 4]),
            output("detection_classes", [0.0, 1.0], [1, 2]),
            output("detection_scores", [0.9, 0.5], [1, 2]),
        ]
    )

    assert answer == Deconstructed(Kind.OBJECT_DETECTION, [SHIP, TUG], understood=True)


@pytest.mark.parametrize(
    "answer",
    [
        ARRAYS,
        [ARRAYS],
        json.dumps(ARRAYS),
        {"predictions": [ARRAYS]},
        {name: [column] for name, column in ARRAYS.items()},
        [output("answer", [json.dumps(ARRAYS)], datatype="BYTES")],
        {"model_name": "m", "outputs": [output(n, d) for n, d in ARRAYS.items()]},
        {**ARRAYS, "detection_classes": ["ship", "tug"]},
        {**ARRAYS, "detection_labels": ["ship", "tug"], "detection_classes": [7, 7]},
    ],
)
def test_side_by_side_lists_are_detections_wherever_they_stand(answer):
    assert found(answer) == [SHIP, TUG]


@pytest.mark.parametrize("count", [1, 1.0, [1], [[1.0]]])
def test_padding_after_the_counted_detections_is_dropped(count):
    assert found({**ARRAYS, "num_detections": count}) == [SHIP]


def test_longer_columns_of_scores_and_classes_are_padding():
    padded = {
        **ARRAYS,
        "detection_scores": [0.9, 0.5, 0],
        "detection_classes": [0, 1, 0],
    }

    assert found(padded) == [SHIP, TUG]


def test_classes_without_a_name_are_called_by_their_number():
    assert [each.label for each in found(ARRAYS, class_labels=["ship"])] == [
        "ship",
        "1",
    ]
    assert [each.label for each in found(ARRAYS, class_labels=[])] == ["0", "1"]


def test_boxes_without_classes_are_of_the_only_class():
    boxes = {name: ARRAYS[name] for name in ("detection_boxes", "detection_scores")}

    assert [each.label for each in found(boxes, class_labels=["ship"])] == ["ship"] * 2
    assert not read(boxes).understood


@pytest.mark.parametrize(
    ("box_format", "box"),
    [
        ("yxyx", Box(2, 1, 4, 3)),
        ("xyxy", Box(1, 2, 3, 4)),
        ("xywh", Box(1, 2, 4, 6)),
        ("yxyx_normalised", Box(2, 1, 4, 3, normalised=True)),
        ("xywh_normalised", Box(1, 2, 4, 6, normalised=True)),
        ("no format", Box(2, 1, 4, 3)),
    ],
)
def test_the_model_says_what_the_numbers_of_a_box_are(box_format, box):
    arrays = {"boxes": [[1, 2, 3, 4]], "labels": [0], "scores": [1]}
    listed = [{"label": "ship", "score": 1, "bbox": [1, 2, 3, 4]}]

    for answer in (arrays, listed):
        assert found(answer, box_format=box_format) == [Detection("ship", 1, box)]


# one object for each thing found


@pytest.mark.parametrize(
    "corners",
    [
        {"bounding_box": [20, 10, 40, 60]},
        {"bbox": [20, 10, 40, 60], "mask": None},
        {"bbox": {"xmin": 10, "ymin": 20, "xmax": 60, "ymax": 40}},
        {"box": {"x": 10, "y": 20, "width": 50, "height": 20}},
        {"xmin": 10, "ymin": 20, "xmax": 60, "ymax": 40},
        {"xmin": 60, "ymin": 40, "xmax": 10, "ymax": 20},
    ],
)
def test_a_box_is_read_in_all_its_forms(corners):
    item = {"label": "ship", "score": 0.9, **corners}
    texts = [output("answer", [json.dumps(item)], datatype="BYTES")]
    one_text = [output("answer", [json.dumps([item])], [1, 1], datatype="BYTES")]

    for answer in ([item], [[item]], item, {"detections": [item]}, texts, one_text):
        assert found(answer) == [SHIP]


def test_an_oriented_box_is_read():
    five = {"cx": 0.5, "cy": 0.25, "w": 0.1, "h": 0.2, "r": 1.5}
    shape = OrientedBox(0.5, 0.25, 0.1, 0.2, 1.5)

    for item in ({"score": 1, **five}, {"score": 1, "oriented_bbox": five}):
        answer = read([{"label": "ship", **item}])
        assert answer.kind is Kind.ORIENTED_OBJECT_DETECTION
        assert answer.detections == [Detection("ship", 1, shape)]


def test_contours_are_read_with_their_holes():
    outline = [{"x": 0, "y": 0}, {"x": 9, "y": 0}, {"x": 9, "y": 9}]
    hole = [[1, 1], [2, 1], [2, 2]]
    answer = read([{"label": "ship", "contours": [outline, hole]}], SEGMENT)

    assert answer.kind is Kind.IMAGE_SEGMENTATION
    contours = ((0, 0), (9, 0), (9, 9)), ((1, 1), (2, 1), (2, 2))
    assert answer.detections == [Detection("ship", None, Polygons(contours))]


@pytest.mark.parametrize("counts", [[2, 1, 3], "213"])
def test_a_mask_of_run_lengths_is_read(counts):
    item = {"label": "ship", "score": 1, "mask": {"counts": counts, "size": [2, 3]}}
    runs = tuple(counts) if isinstance(counts, list) else counts

    assert found([item], SEGMENT) == [Detection("ship", 1, Mask(runs, 2, 3))]
    assert read([item], SEGMENT).warnings == []


@pytest.mark.parametrize(
    ("counts", "why"),
    [
        ([2, 1, 1], "Its counts add up to 4 pixels, and 2 by 3 are 6."),
        ([2, 1, 30], "Its counts add up to 33 pixels, and 2 by 3 are 6."),
        ("211", "Its counts add up to 4 pixels, and 2 by 3 are 6."),
        ("0PQ", "Its counts cannot be decoded."),
        ("2 1 3", "Its counts cannot be decoded."),
        ("PPPPPPPPP1", "Its counts cannot be decoded."),
        ("", "Its counts add up to 0 pixels, and 2 by 3 are 6."),
        ("2O5", "One of its counts is negative."),
    ],
)
def test_a_malformed_mask_is_kept_and_told(counts, why):
    good = {"label": "tug", "score": 1, "mask": {"counts": [2, 1, 3], "size": [2, 3]}}
    item = {"label": "ship", "score": 1, "mask": {"counts": counts, "size": [2, 3]}}

    answer = read([good, item], SEGMENT)

    assert [one.label for one in answer.detections] == ["tug", "ship"]
    assert answer.warnings == [f"1 of 2 masks are malformed. The first: {why}"]


@given(st.data())
def test_the_counts_of_any_mask_add_up(data):
    height, width = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40))
    noise = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    plane = noise.random((height, width)) < data.draw(st.floats(0, 1))
    pressed = coco.encode(np.asfortranarray(plane, dtype=np.uint8))["counts"].decode()

    assert complaint(Mask(pressed, height, width)) == ""
    assert complaint(mask_of(plane)) == ""
    assert "add up" in complaint(Mask(pressed, height, width + 1))


def test_a_bare_segment_is_of_the_only_class():
    contours = [[[0, 0], [9, 0], [9, 9]], [[1, 1], [2, 1], [2, 2]]]

    assert found(contours, SEGMENT, ["ship"])[0].label == "ship"
    assert not read(contours, SEGMENT).understood


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e39, None, "1", True])
def test_an_item_with_a_number_that_is_none_is_left_out(bad):
    good = {"label": "ship", "score": 0.9, "bbox": [20, 10, 40, 60]}
    bad_score = {**good, "score": bad if bad is not None else float("nan")}
    answer = read([bad_score, good, {**good, "bbox": [bad, 1, 2, 3]}])

    assert answer.detections == [SHIP]
    assert answer.warnings == [
        "2 of 3 detections were left out: a number is not finite, or a part is missing."
    ]


def test_the_only_box_with_a_number_that_is_none_is_left_out():
    for bad in (float("nan"), None):
        boxes = {"boxes": [[bad, 1, 2, 3]], "labels": [0], "scores": [0.5]}
        assert found(boxes) == []


def test_no_more_detections_than_the_limit_are_kept():
    item = {"label": "ship", "score": 0.9, "bbox": [20, 10, 40, 60]}
    answer = read([item] * 7, max_detections=5)

    assert answer.detections == [SHIP] * 5
    assert answer.warnings == ["Of 7 detections the first 5 were kept."]


def test_a_label_is_kept_whole_and_cleaned_to_what_can_be_stored():
    (one,) = found([{"label": "a\0\ud800" + "b" * 999, "score": 1}])

    assert one.label == "a\ufffd\ufffd" + "b" * 999


# nothing found


@pytest.mark.parametrize(
    "answer",
    [
        [],
        "[]",
        [output("answer", [], datatype="BYTES")],
        [output("answer", ["[]"], datatype="BYTES")],
        {"detections": []},
        {"object_detection": []},
        {"detection_boxes": [[]], "detection_classes": [[]], "detection_scores": [[]]},
        {**ARRAYS, "num_detections": 0},
        [
            output("detection_boxes", [], [1, 0, 4]),
            output("detection_classes", [], [1, 0]),
            output("detection_scores", [], [1, 0]),
        ],
    ],
)
def test_a_model_that_found_nothing_was_understood(answer):
    assert read(answer) == Deconstructed(Kind.OBJECT_DETECTION, understood=True)


@pytest.mark.parametrize(
    "answer",
    [
        None,
        "a ship enters the harbour",
        {"text": "a ship"},
        [[1.5, 2.5], [3.5, 4.5]],
        [1, 2, 3],
        {"detection_boxes": [[1, 2, 3]], "detection_classes": [1]},
        {"name": "ship"},
        [output("mask", [0, 1, 0, 1], [2, 2])],
        [output("label", [[1, 2], [3, 4]])],
    ],
)
def test_what_no_form_fits_is_left(answer):
    assert read(answer) == Deconstructed()


# classes


def test_a_label_alone_is_a_class_without_a_score():
    answers = (
        ["tug"],
        "tug",
        [["tug"]],
        [output("predict", ["tug"], datatype="BYTES")],
        [output("predict", [1], datatype="INT64")],
        [{"label": "tug"}],
    )

    for answer in answers:
        assert found(answer, CLASSIFY) == [Detection("tug")]


def test_a_known_label_is_a_class_whatever_the_task():
    assert found(["tug"], "Text Classification") == [Detection("tug")]
    assert found(["tug"], DETECT) == [Detection("tug")]
    assert not read(["once upon a time"], DETECT).understood


@pytest.mark.parametrize(
    "answer",
    [
        [[0.7, 0.2, 0.1]],
        [output("predict_proba", [0.7, 0.2, 0.1], [1, 3])],
        [
            output("predict", [0], datatype="INT64"),
            output("predict_proba", [0.7, 0.2, 0.1]),
        ],
        [
            {"label": name, "score": p}
            for name, p in zip(LABELS, (0.7, 0.2, 0.1), strict=True)
        ],
        [output("labels", LABELS, datatype="BYTES"), output("scores", [0.7, 0.2, 0.1])],
    ],
)
def test_every_class_has_its_probability(answer):
    classes = [Detection("ship", 0.7), Detection("tug", 0.2), Detection("buoy", 0.1)]
    expected = Deconstructed(
        Kind.IMAGE_CLASSIFICATION, classes, understood=True, is_one_class=True
    )

    assert read(answer, CLASSIFY) == expected


def test_probabilities_without_labels_are_called_by_their_place():
    assert found([[0.75, 0.25]], "", []) == [Detection("0", 0.75), Detection("1", 0.25)]


# embeddings


@pytest.mark.parametrize(
    ("answer", "known"),
    [
        ([0.5, -1], {"task_type": "Image Embedding"}),
        ([[0.5, -1]], {"task_type": "Text Embedding", "embedding_size": 2}),
        ([output("y", [0.5, -1], [1, 2])], {"embedding_size": 2}),
        ([output("embedding", [0.5, -1], [1, 2])], {}),
        ({"embedding": [0.5, -1]}, {}),
    ],
)
def test_an_embedding_is_known_by_task_length_or_name(answer, known):
    answer = read(answer, **known)

    assert answer.kind is Kind.EMBEDDING
    assert answer.embedding == [0.5, -1]
    assert answer.detections == []


@pytest.mark.parametrize(
    ("size", "limit", "warning"),
    [
        (3, 9, "The embedding has 2 numbers, those of the model have 3."),
        (0, 1, "The embedding has 2 numbers, more than 1."),
    ],
)
def test_an_embedding_of_a_wrong_size_is_left_with_a_warning(size, limit, warning):
    answer = read(
        [2.5, 3.5], "Text Embedding", embedding_size=size, max_embedding=limit
    )

    assert answer == Deconstructed(warnings=[warning])


@pytest.mark.parametrize("size", [2, 50])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -1e39, None, "1", True])
def test_an_embedding_with_a_number_that_is_none_is_left(bad, size):
    for place in (0, size - 1):
        vector = [0.5] * size
        vector[place] = bad
        assert not read(vector, "Text Embedding").understood


@pytest.mark.parametrize("size", [2, 50])
def test_what_underflows_a_column_is_zero(size):
    vector = [0.5] * (size - 1) + [1e-300]

    assert read(vector, "Text Embedding").embedding == [0.5] * (size - 1) + [0.0]


# the collection of the API


def test_a_collection_holds_several_kinds():
    five = {"cx": 0.5, "cy": 0.5, "w": 0.1, "h": 0.1, "r": 0}
    corners = {"xmin": 10, "ymin": 20, "xmax": 60, "ymax": 40}
    answer = read(
        {
            "object_detection": [{"label": "ship", "score": 0.9, **corners}],
            "oriented_object_detection": [{"label": "tug", "score": 1, **five}],
            "image_classification": [{"label": "harbour", "score": 0.5}],
            "image_segmentation": None,
            "embedding": [1, 2],
            "metadata": {"standard_metadata": {}},
        },
        box_format="xyxy_normalised",
    )

    assert answer.kind is Kind.OBJECT_DETECTION
    assert [each.label for each in answer.detections] == ["ship", "tug", "harbour"]
    assert answer.detections[0] == SHIP
    assert answer.embedding == [1, 2]
    assert answer.understood


def test_a_collection_with_metadata_alone_is_left():
    assert read({"object_detection": None, "metadata": {}}) == Deconstructed()


# whatever comes

NAMES = [
    *ARRAYS,
    *("num_detections", "boxes", "labels", "scores", "label", "score", "bbox"),
    *("xmin", "ymin", "xmax", "ymax", "x", "y", "cx", "cy", "w", "h", "r", "width"),
    *("contours", "mask", "counts", "size", "predict_proba", "predictions", "outputs"),
    *("name", "data", "shape", "datatype", *(kind.value for kind in Kind)),
    *(
        "value",
        "values",
        "lower",
        "upper",
        "times",
        "history",
        "item",
        "items",
        "start",
    ),
    *("end", "text", "messages", "role", "content", "choices", "message", "usage"),
]
numbers = st.integers() | st.floats() | st.integers(0, 3) | st.just(10**400)
scalars = (
    st.none()
    | st.booleans()
    | numbers
    | st.text(st.characters())
    | st.sampled_from(NAMES)
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.sampled_from(NAMES) | st.text(), inner, max_size=6)
        | inner.map(json.dumps)
    ),
    max_leaves=25,
)
items = st.fixed_dictionaries({}, optional=dict.fromkeys(NAMES, values))
v2_outputs = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from(NAMES), "data": values},
        optional={"shape": st.lists(st.integers(-1, 4)) | values},
    )
)


@given(
    values | items | st.lists(items, max_size=3) | v2_outputs,
    st.sampled_from(TASKS),
    st.lists(st.text(), max_size=3),
    st.sampled_from(["yxyx", "xywh_normalised", ""]),
    st.integers(0, 3),
)
def test_no_answer_whatever_raises(answer, task_type, class_labels, box_format, size):
    taken = deconstruct(
        answer,
        task_type=task_type,
        class_labels=class_labels,
        box_format=box_format,
        embedding_size=size,
    )

    assert taken.understood == bool(taken.kind)
    assert taken.understood or not (taken.detections or taken.embedding)
    for value in derived_metadata(taken, ()):
        assert value.comparable and "\0" not in value.text
    prediction_of(task_type, taken)
    for each in taken.detections:
        assert each.label.encode() and "\0" not in each.label
        assert each.score is None or abs(each.score) < 3.4029e38


def test_an_answer_nested_without_end_does_not_raise():
    deep: list = []
    for _ in range(100_000):
        deep = [deep]

    assert read(deep) == Deconstructed(Kind.OBJECT_DETECTION, understood=True)
    assert not read("[" * 100_000).understood


finite = st.floats(-1e6, 1e6, allow_subnormal=False)


@given(st.lists(st.tuples(st.sampled_from(LABELS), finite, *[finite] * 4)))
def test_all_forms_of_the_same_detections_say_the_same(rows):
    listed = [
        {"label": label, "score": score, "xmin": a, "ymin": b, "xmax": c, "ymax": d}
        for label, score, a, b, c, d in rows
    ]
    boxed = [
        {"label": label, "score": score, "bounding_box": corners}
        for label, score, *corners in rows
    ]
    arrays = {
        "detection_boxes": [corners for _, _, *corners in rows],
        "detection_classes": [LABELS.index(label) for label, *_ in rows],
        "detection_scores": [score for _, score, *_ in rows],
    }
    flat = [number for _, _, *corners in rows for number in corners]
    outputs = [
        output("detection_boxes", flat, [1, len(rows), 4]),
        output("detection_classes", arrays["detection_classes"], [1, len(rows)]),
        output("detection_scores", arrays["detection_scores"], [1, len(rows)]),
    ]
    text = [output("answer", [json.dumps(listed)], datatype="BYTES")]

    answers = (listed, boxed, arrays, outputs, text, {"object_detection": listed})
    same = [read(answer, box_format="xyxy") for answer in answers]

    assert len(same[0].detections) == len(rows)
    assert all(answer == same[0] for answer in same)
