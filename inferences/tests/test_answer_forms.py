"""Answers as well-known servers give them; each form is what its documentation shows."""

from __future__ import annotations

import base64
import json
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from inferences.ground_truth.agreement import Predicted, agrees
from inferences.predictions.columns import prediction_of
from inferences.predictions.derived_metadata import derived_metadata
from inferences.predictions.parse import deconstruct
from inferences.predictions.parsers import Box, Detection, Kind, Mask
from inferences.tests.answers import (
    CLASSIFY,
    LABELS,
    SEGMENT,
    found,
    output,
    read,
)

GENERATE, EMBED, RANK = "Text Generation", "Text Embedding", "Ranking"


# Triton's classification extension


@pytest.mark.parametrize("shape", [[3], [1, 3]])
def test_tritons_scored_classes_are_read(shape):
    texts = ["0.826384:504:COFFEE MUG", "0.09:968:CUP:WHITE", "-1.5e-2:3:x"]

    answer = [output("probs", texts, shape, "BYTES")]

    assert found(answer, CLASSIFY) == [
        Detection("COFFEE MUG", 0.826384),
        Detection("CUP:WHITE", 0.09),
        Detection("x", -0.015),
    ]


def test_tritons_scored_classes_without_a_label_go_by_their_number():
    assert found([output("out", ["0.5:2", "0.25:9"], [2], "BYTES")], CLASSIFY) == [
        Detection("buoy", 0.5),
        Detection("9", 0.25),
    ]


@pytest.mark.parametrize("text", ["ship:1", "0.5", "0.5:x", "0.5:1x", ":1", "1.2.3:1"])
def test_labels_that_only_resemble_scored_classes_stay_labels(text):
    labels = [each.label for each in read([text], CLASSIFY).detections]

    assert labels in ([text], [])


# classes by their numbers

TABLE = "Tabular Classification"


@pytest.mark.parametrize(
    ("data", "first", "label"),
    [([1.0], 0, "yes"), ([1.0], 1, "no"), ([0.0], 0, "no"), ([True], 0, "yes")],
)
def test_the_number_of_a_class_is_one_however_it_is_written(data, first, label):
    """Classifiers of scikit-learn answer 1.0: it was read as a sure first class."""
    answer = [output("predict", data, [1])]

    says = read(answer, TABLE, ["no", "yes"], first_class_number=first)

    assert says.detections == [Detection(label, None)]


def test_one_probability_of_two_classes_is_that_of_the_second():
    answer = [output("probability", [0.75], [1, 1])]

    assert found(answer, TABLE, ["no", "yes"]) == [
        Detection("no", 0.25),
        Detection("yes", 0.75),
    ]


def test_a_class_is_exact_beyond_what_a_double_holds():
    assert found([2**53 + 1], TABLE, []) == [Detection("9007199254740993")]


def test_booleans_without_classes_are_labels_as_ground_truth_has_them():
    assert found([output("out", [False], [1], "BOOL")], TABLE, []) == [
        Detection("false")
    ]


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
def test_a_text_with_what_is_no_number_is_read_as_json(word):
    """As the body is when it comes; its text was read again as one long label."""
    text = f'[{{"label": "ship", "score": {word}}}, {{"label": "tug", "score": 0.5}}]'

    says = read(text, CLASSIFY)

    assert says.detections == [Detection("tug", 0.5)]
    assert "1 of 2" in says.warnings[0]


def test_outputs_that_are_no_number_are_told():
    says = read({"a": float("nan"), "b": 2, "c": "x"}, "Multi-Output")

    assert says.content.values == {"b": 2, "c": "x"}
    assert "1 of 3 outputs" in says.warnings[0]


# detectors


def test_efficient_nms_of_tensorrt_is_read_by_corners():
    answer = [
        output("num_dets", [2], [1, 1], "INT32"),
        output("det_boxes", [1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0], [1, 3, 4]),
        output("det_scores", [0.9, 0.5, 0], [1, 3]),
        output("det_classes", [1, 2, 0], [1, 3], "INT32"),
    ]

    assert found(answer) == [
        Detection("tug", 0.9, Box(1, 2, 3, 4)),
        Detection("buoy", 0.5, Box(5, 6, 7, 8)),
    ]


@pytest.mark.parametrize("rows", [1, 2])
def test_rows_of_end_to_end_yolo_are_detections_without_their_padding(rows):
    given = [[10, 20, 30, 40, 0.9, 1.0], [1, 2, 3, 4, 0.5, 0.0]][:rows]
    padding = [[0.0] * 6] * 2
    flat = [number for row in [*given, *padding] for number in row]

    assert (
        found([output("output0", flat, [1, rows + 2, 6])])
        == [
            Detection("tug", 0.9, Box(10, 20, 30, 40)),
            Detection("ship", 0.5, Box(1, 2, 3, 4)),
        ][:rows]
    )
    assert found([output("output0", flat[: 6 * rows], [1, rows, 6])])


def test_rows_with_the_number_of_their_batch_are_detections():
    assert found([[0, 10, 20, 30, 40, 2, 0.75]]) == [
        Detection("buoy", 0.75, Box(10, 20, 30, 40))
    ]


def test_raw_heads_of_a_detector_are_not_taken_for_detections():
    assert not read(np.random.default_rng(1).normal(size=(7, 6)).tolist()).understood
    assert not read([[1, 2, 3, 4, 0.5, 0.0]], "Tabular Regression").understood


def test_boxes_of_roboflow_are_given_by_their_centre():
    prediction = {"x": 30, "y": 40, "width": 20, "height": 10}
    prediction |= {"confidence": 0.9, "class": "ship", "class_id": 0}
    answer = {"image": {"width": 640, "height": 480}, "predictions": [prediction]}

    ship = [Detection("ship", 0.9, Box(20, 35, 40, 45))]

    assert found(answer) == found([answer]) == found({"predictions": answer}) == ship
    assert found({"predictions": [prediction]}) == ship


def test_outlines_and_classes_of_roboflow_are_read():
    points = [{"x": 1, "y": 2}, {"x": 5, "y": 2}, {"x": 5, "y": 6}]
    whole = {"image": {"width": 9, "height": 9}}
    outline = {"x": 3, "y": 4, "width": 4, "height": 4, "points": points}
    outline |= {"confidence": 0.5, "class": "tug"}

    (tug,) = found(whole | {"predictions": [outline]}, SEGMENT)
    labels = found(whole | {"predictions": {"a": {"confidence": 0.5}}}, CLASSIFY)

    assert tug.shape.contours == (((1, 2), (5, 2), (5, 6)),)
    assert labels == [Detection("a", 0.5)]
    assert found(whole | {"predictions": []}) == []


def test_named_sizes_of_others_begin_at_the_upper_left():
    item = {"label": "ship", "score": 1, "x": 30, "y": 40, "width": 20, "height": 10}

    assert found([item]) == [Detection("ship", 1, Box(30, 40, 50, 50))]


# masks


def decoded(mask: Mask) -> np.ndarray:
    runs = {"counts": list(mask.counts), "size": [mask.height, mask.width]}
    return coco.decode(coco.frPyObjects(runs, mask.height, mask.width))


def png(pixels: np.ndarray) -> str:
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


PAINTED = np.array([[0, 1, 1, 0], [0, 1, 2, 0], [2, 2, 2, 0], [0, 0, 0, 0]])


@pytest.mark.parametrize("shape", [[4, 4], [1, 4, 4], [1, 1, 4, 4]])
@pytest.mark.parametrize("datatype", ["INT64", "FP32"])
def test_a_mask_of_class_numbers_is_one_segment_a_class(shape, datatype):
    kind = int if datatype == "INT64" else float
    data = PAINTED.ravel().astype(kind).tolist()
    answer = [output("mask", data, shape, datatype)]

    segments = found(answer, SEGMENT, ["background", "ship", "tug"])

    assert [each.label for each in segments] == ["ship", "tug"]
    for number, each in enumerate(segments, 1):
        assert (decoded(each.shape) == (number == PAINTED)).all()


def test_class_numbers_of_masks_are_those_of_the_list():
    data = [output("mask", PAINTED.ravel().tolist(), [1, 4, 4], "INT64")]

    def labels(names):
        return [each.label for each in found(data, SEGMENT, names)]

    assert labels(LABELS) == LABELS
    assert labels([]) == ["1", "2"]
    from_one = read(
        data, SEGMENT, class_labels=["ship", "tug"], first_class_number=1
    ).detections
    assert [each.label for each in from_one] == ["ship", "tug"]


def test_a_class_beyond_the_list_is_told():
    answer = read([[0, 1], [7, 255]], SEGMENT)

    assert [each.label for each in answer.detections] == ["ship", "tug"]
    assert answer.warnings == ["The mask has pixels of classes without a label: 7."]


def test_a_plane_of_scores_for_each_class_is_a_mask():
    scores = np.zeros((3, 2, 2))
    scores[1, 0, 0] = scores[2, 0, 1] = scores[0, 1] = 5.5

    segments = found(scores.tolist(), SEGMENT)

    assert {each.label: decoded(each.shape).tolist() for each in segments} == {
        "ship": [[0, 0], [1, 1]],
        "tug": [[1, 0], [0, 0]],
        "buoy": [[0, 1], [0, 0]],
    }


def test_the_mask_of_a_single_class_is_ones_inside():
    (ship,) = found([[0, 1], [1, 1]], SEGMENT, ["ship"])

    assert decoded(ship.shape).tolist() == [[0, 1], [1, 1]]


@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,"])
def test_masks_as_png_are_what_is_not_black(prefix):
    pixels = (PAINTED == 1).astype(np.uint8) * 255
    answer = [{"label": "ship", "score": 0.9, "mask": prefix + png(pixels)}]

    (ship,) = found(answer, SEGMENT)

    assert (decoded(ship.shape) == (PAINTED == 1)).all()


@pytest.mark.parametrize("colour", [0, 255])
def test_masks_as_png_that_are_cut_out_are_what_can_be_seen(colour):
    pixels = np.full((4, 4, 4), colour, np.uint8)
    pixels[..., 3] = [[0, 0, 0, 0], [0, 255, 255, 0], [0, 255, 255, 0], [0, 0, 0, 0]]
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    item = {"label": "ship", "mask": base64.b64encode(file.getvalue()).decode()}

    (one,) = found([item], SEGMENT)

    assert one.shape == Mask((5, 2, 2, 2, 5), 4, 4)


def test_masks_as_rows_of_zeros_and_ones_are_no_contours():
    rows = (PAINTED == 2).astype(int).tolist()

    (ship,) = found([{"label": "ship", "mask": rows}], SEGMENT)

    assert (decoded(ship.shape) == (PAINTED == 2)).all()


@pytest.mark.parametrize("mask", ["iVBORw0KGgo=", "iVBORw0KGgo???", "x", [[0, 2]], {}])
def test_masks_that_cannot_be_read_are_told(mask):
    answer = read([{"label": "ship", "mask": mask}], SEGMENT)

    assert answer.detections == [] and answer.warnings


# class numbers


def test_a_number_that_no_class_has_is_told():
    boxes = {"boxes": [[1, 2, 3, 4]], "labels": [3], "scores": [0.5]}

    (warning,) = read(boxes).warnings

    assert warning == (
        "Class 3 is none of the model's 3 class labels, which are numbered from 0."
    )


def test_class_numbers_may_begin_at_one():
    boxes = {"boxes": [[1, 2, 3, 4]], "labels": [3], "scores": [0.5]}

    answer = read(boxes, first_class_number=1)

    assert [each.label for each in answer.detections] == ["buoy"]
    assert answer.warnings == []


# embeddings


VECTOR = [0.5, -1.25, 3.0]


@pytest.mark.parametrize(
    "embedding",
    [VECTOR, base64.b64encode(np.array(VECTOR, "<f4").tobytes()).decode()],
)
def test_openai_embeddings_are_vectors(embedding):
    answer = {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": embedding}],
        "model": "embedder",
        "usage": {"prompt_tokens": 2, "total_tokens": 2},
    }

    assert read(answer, EMBED, embedding_size=3).embedding == VECTOR
    assert read(json.dumps(answer), EMBED).embedding == VECTOR


# texts


def chat(message, **more):
    return {"choices": [{"index": 0, "message": message, **more}]}


CALL = {"name": "weather", "arguments": '{"city": "Rotterdam"}'}


@pytest.mark.parametrize(
    "message",
    [
        {"content": None, "tool_calls": [{"type": "function", "function": CALL}]},
        {"content": None, "function_call": CALL},
        {"content": "", "tool_calls": [{"function": CALL}]},
    ],
)
def test_a_chat_that_only_calls_tools_is_understood(message):
    answer = read(chat({"role": "assistant", **message}), GENERATE)

    (turn,) = answer.content.messages
    assert (turn.role, turn.text) == (
        "assistant",
        'weather({"city": "Rotterdam"})',
    )
    assert [(call.name, call.arguments) for call in turn.tool_calls] == [
        ("weather", '{"city": "Rotterdam"}')
    ]
    assert prediction_of(GENERATE, answer) == {"text": turn.text}


@pytest.mark.parametrize(
    "message",
    [
        {"content": None, "refusal": "I cannot help with that."},
        {"content": [{"type": "refusal", "refusal": "I cannot help with that."}]},
    ],
)
def test_a_refusal_is_the_answer(message):
    (turn,) = read(chat({"role": "assistant", **message}), GENERATE).content.messages

    assert turn.text == "I cannot help with that." and turn.is_refusal


GEMINI_CALL = {"functionCall": {"name": "sail", "args": {"to": "Oslo"}}}


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ([{"text": "A "}, {"text": "ship"}], "A ship"),
        ([{"text": "Hm", "thought": True}, {"text": "yes"}], "yes"),
        ([GEMINI_CALL], 'sail({"to":"Oslo"})'),
    ],
)
def test_candidates_of_gemini_are_read_whole_and_in_pieces(parts, text):
    def piece(*parts, **more):
        content = {"role": "model", "parts": list(parts)}
        return {"candidates": [{"content": content, **more}]}

    usage = {"usageMetadata": {"candidatesTokenCount": 5}}
    whole = piece(*parts, finishReason="STOP") | usage
    pieces = [*map(piece, parts), {"candidates": [{"finishReason": "STOP"}]} | usage]

    for answer in (whole, pieces):
        said = read(answer, GENERATE).content
        assert (said.answer.text, said.finish_reason, said.tokens) == (text, "STOP", 5)


def test_a_prompt_that_gemini_blocked_is_a_refusal():
    said = read({"promptFeedback": {"blockReason": "SAFETY"}}, GENERATE).content

    assert (said.answer.is_refusal, said.finish_reason) == (True, "SAFETY")


@pytest.mark.parametrize("depth", [300, 900])
def test_a_call_whose_arguments_are_nested_deep_is_read(depth):
    """orjson reads 1,024 levels and writes 254; the entry was set aside as refused."""
    arguments = "[" * depth + "]" * depth
    call = {"function": {"name": "sail", "arguments": "ARGUMENTS"}}
    answer = json.dumps(chat({"content": None, "tool_calls": [call]}))
    answer = answer.replace('"ARGUMENTS"', arguments)

    (read_call,) = read(answer, GENERATE).content.answer.tool_calls

    assert read_call.name == "sail"
    assert read_call.arguments in (arguments, "[nested too deep to be shown]")


@pytest.mark.parametrize(
    "message",
    [
        {"role": "assistant", "content": None},
        {"role": "assistant", "content": None, "reasoning_content": "Hm", "tool_calls": []},
        {"role": "assistant", "type": "message", "content": [], "stop_reason": "end_turn"},
    ],
)  # fmt: skip
def test_an_answer_that_says_nothing_is_understood_and_empty(message):
    for answer in (message, {"choices": [{"message": message}]}):
        assert read(answer, GENERATE).content.answer.text == ""


def test_a_message_without_content_beside_what_is_unknown_is_not_understood():
    message = {"role": "assistant", "content": None, "picture": {"url": "data:,"}}

    assert not read({"choices": [{"message": message}]}, GENERATE).understood


def test_what_was_spoken_is_the_text():
    audio = {"id": "a", "data": "", "transcript": "Ahoy"}
    message = {"role": "assistant", "content": None, "audio": audio}

    said = read({"choices": [{"message": message}]}, GENERATE).content
    assert said.answer.text == "Ahoy"


def test_the_first_choice_is_the_prediction_though_it_is_empty():
    choices = [{"message": {"role": "assistant", "content": c}} for c in (None, "two")]

    said = read({"choices": choices}, GENERATE).content

    assert [each.text for each in said.messages] == ["", "two"]
    assert said.answer.text == ""


def test_of_several_choices_the_first_is_the_prediction():
    answer = read({"choices": [{"text": "one"}, {"text": "two"}]}, GENERATE)

    (prediction, *_) = derived_metadata(answer, ())
    assert prediction.text == "one"
    assert prediction_of(GENERATE, answer) == {"text": "one\n\ntwo"}


def test_of_several_turns_the_last_is_the_prediction():
    turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "!"}]

    (prediction, *_) = derived_metadata(read(turns, GENERATE), ())
    assert prediction.text == "!"


def test_the_whole_text_is_the_prediction():
    text = "x" * 5000 + " needle"

    (prediction, *_) = derived_metadata(read(text, GENERATE), ())
    assert prediction.text == text


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ([{"generated_text": "a"}], "a"),
        ([{"summary_text": "a"}], "a"),
        ([{"translation_text": "a"}], "a"),
        ({"score": 0.5, "start": 1, "end": 2, "answer": "a"}, "a"),
        ({"model": "m", "response": "a", "done": True, "eval_count": 3}, "a"),
        ({"message": {"role": "assistant", "content": "a"}, "done": True}, "a"),
        ({"model_name": "m", "text_output": "a"}, "a"),
        ({"content": [{"type": "text", "text": "a"}], "stop_reason": "end_turn"}, "a"),
        (
            {
                "output": [
                    {"type": "reasoning", "summary": []},
                    {
                        "type": "message",
                        "role": "assistant",
                        "content": [{"type": "output_text", "text": "a"}],
                    },
                ]
            },
            "a",
        ),
        (
            {"output": [{"type": "function_call", "name": "f", "arguments": "{}"}]},
            "f({})",
        ),
        (
            {"content": [{"type": "tool_use", "name": "f", "input": {"a": 1}}]},
            'f({"a":1})',
        ),
    ],
)
def test_texts_of_other_servers_are_read(answer, text):
    found = read(answer, GENERATE)

    assert found.kind is Kind.TEXT_GENERATION
    assert [each.text for each in found.content.messages] == [text]


# rerankers


@pytest.mark.parametrize(
    "answer",
    [
        {
            "results": [
                {"index": 1, "relevance_score": 0.25},
                {"index": 0, "relevance_score": 0.5},
            ]
        },
        [{"index": 1, "score": 0.25}, {"index": 0, "score": 0.5}],
        {
            "data": [
                {"index": 1, "relevance_score": 0.25},
                {"index": 0, "relevance_score": 0.5},
            ]
        },
        {
            "results": [
                {"index": 1, "relevance_score": 0.25, "document": {"text": "b"}},
                {"index": 0, "relevance_score": 0.5, "document": {"text": "a"}},
            ]
        },
    ],
)
def test_results_of_rerankers_are_a_ranking(answer):
    found = deconstruct(answer, task_type=RANK)

    assert found.kind is Kind.RANKING
    assert found.detections == [Detection("0", 0.5), Detection("1", 0.25)]


# texts that say the same


@pytest.mark.parametrize(
    ("truth", "answer", "agreed"),
    [
        ("caf\u00e9", "cafe\u0301", True),
        ("cafe\u0301", "caf\u00e9", True),
        ("\uac00 b", "\u1100\u1161  b", True),
        ("cafe", "caf\u00e9", False),
    ],
)
def test_texts_agree_however_their_accents_are_composed(truth, answer, agreed):
    said = Predicted(None, read(answer, GENERATE))

    assert agrees({"text": truth}, said) is agreed
