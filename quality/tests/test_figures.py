"""The figures against calls of the libraries that are made here, on the same rows."""

from __future__ import annotations

import json
from contextlib import redirect_stdout
from io import StringIO
from random import Random

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from sklearn import metrics

from inferences.models import TaskType
from quality.tests.builders import classes, parts_of

URL = "/api/v1/models/yolo-harbour/quality"


def ask(api, **asked):
    response = api.post(URL, asked, format="json")
    assert response.status_code == 200, response.content
    return response.json()


@pytest.mark.parametrize("names", ["ab", "abcd"])
def test_classes_are_measured_as_scikit_learn_does(api, stored, names):
    made = classes(names=names)
    stored(
        TaskType.IMAGE_CLASSIFICATION,
        [(parts_of(scores), {"label": actual}, {}) for scores, actual in made],
    )

    answer = ask(api)

    actual = [label for _, label in made]
    predicted = [max(scores, key=scores.get) for scores, _ in made]
    table = np.array([list(scores.values()) for scores, _ in made], np.float32)
    table = table.astype(float) / table.astype(float).sum(axis=1, keepdims=True)
    figures = answer["figures"]
    assert answer["rows"] == answer["considered"] == 60
    assert answer["is_complete"] is True
    assert figures["accuracy"] == metrics.accuracy_score(actual, predicted)
    for average in ("macro", "weighted"):
        f1 = metrics.f1_score(actual, predicted, average=average)
        assert figures[f"f1_{average}"] == pytest.approx(f1)
        recall = metrics.recall_score(actual, predicted, average=average)
        assert figures[f"recall_{average}"] == pytest.approx(recall)
    loss = metrics.log_loss(actual, table, labels=list(names))
    assert figures["log_loss"] == pytest.approx(loss)
    if len(names) == 2:
        auc = metrics.roc_auc_score([each == "b" for each in actual], table[:, 1])
    else:
        auc = metrics.roc_auc_score(
            actual, table, multi_class="ovr", labels=list(names)
        )
    assert figures["auc"] == pytest.approx(auc)
    expected = metrics.confusion_matrix(actual, predicted, labels=list(names))
    assert answer["confusion"]["counts"] == expected.tolist()
    by_label = {row["label"]: row for row in answer["by_label"]}
    precision = metrics.precision_score(actual, predicted, labels=["a"], average=None)[
        0
    ]
    assert by_label["a"]["precision"] == pytest.approx(precision)


def test_a_label_s_curve_is_that_of_the_library(api, stored):
    made = classes(rows=40)
    stored(
        TaskType.IMAGE_CLASSIFICATION,
        [(parts_of(scores), {"label": actual}, {}) for scores, actual in made],
    )

    answer = ask(api, label="b")

    scores = np.array([each["b"] / sum(each.values()) for each, _ in made])
    precision, recall, _ = metrics.precision_recall_curve(
        [actual == "b" for _, actual in made], scores
    )
    assert answer["curve_label"] == "b"
    assert answer["curve"][0] == [recall[-1], precision[-1]]
    known = {(round(r, 6), round(p, 6)) for r, p in zip(recall, precision, strict=True)}
    assert {(round(r, 6), round(p, 6)) for r, p in answer["curve"]} <= known


COMPOSED, TAKEN_APART = "caf\u00e9", "cafe\u0301"


def test_labels_are_the_same_however_their_accents_are_composed(api, stored):
    """Figures must not contradict ``agrees``, which compares composed labels."""
    stored(
        "Image Classification",
        [
            (parts_of({TAKEN_APART: 0.9, "bar": 0.1}), {"label": COMPOSED}, {}),
            (parts_of({COMPOSED: 0.9, "bar": 0.1}), {"label": TAKEN_APART}, {}),
            # The newest is read first.
            (parts_of({COMPOSED: 0.9, "bar": 0.1}), {"label": "bar"}, {}),
        ],
    )

    figures = ask(api, label=TAKEN_APART)

    assert figures["confusion"]["labels"] == ["bar", COMPOSED]
    assert figures["confusion"]["counts"] == [[0, 1], [0, 2]]
    assert figures["curve_label"] == COMPOSED
    assert figures["figures"]["log_loss"] is not None


def test_shapes_and_spans_have_one_label_however_its_accents_are_composed(api, stored):
    box = {"xmin": 0, "ymin": 0, "xmax": 10, "ymax": 10}
    found = {"label": COMPOSED, "score": 0.9, "bbox": [0, 0, 10, 10]}
    actual = {"boxes": [{"label": TAKEN_APART, **box}]}
    stored("Object Detection", [({"object_detection": [found]}, actual, {})] * 2)

    figures = ask(api)

    assert [row["label"] for row in figures["by_label"]] == [COMPOSED]
    assert figures["figures"]["map_50"] == 1


def test_several_labels_are_measured_label_by_label(api, stored):
    rows = [({"x": 0.9, "y": 0.6}, ["x", "y"]), ({"x": 0.4, "y": 0.8}, ["x"])]
    stored(
        TaskType.IMAGE_CLASSIFICATION,
        [(parts_of(scores), {"labels": actual}, {}) for scores, actual in rows],
    )

    answer = ask(api)

    actual, predicted = np.array([[1, 1], [1, 0]]), np.array([[1, 1], [0, 1]])
    assert (
        answer["figures"]["accuracy"]
        == metrics.accuracy_score(actual, predicted)
        == 0.5
    )
    f1 = metrics.f1_score(actual, predicted, average="macro")
    assert answer["figures"]["f1_macro"] == pytest.approx(f1)
    assert ask(api, threshold=0.3)["by_label"][0]["recall"] == 1


def test_numbers_are_measured_as_scikit_learn_does(api, stored):
    random = Random(3)
    pairs = [(random.gauss(5, 2), random.gauss(5, 2)) for _ in range(50)]
    stored(
        TaskType.TABULAR_REGRESSION,
        [
            ({"regression": {"value": predicted}}, {"value": a}, {})
            for a, predicted in pairs
        ],
    )

    figures = ask(api)["figures"]

    actual, predicted = zip(*pairs, strict=True)
    assert figures["mae"] == pytest.approx(
        metrics.mean_absolute_error(actual, predicted)
    )
    rmse = metrics.root_mean_squared_error(actual, predicted)
    assert figures["rmse"] == pytest.approx(rmse)
    assert figures["r2"] == pytest.approx(metrics.r2_score(actual, predicted))


def box(random: Random, label: str) -> dict:
    x, y = random.uniform(0, 400), random.uniform(0, 400)
    w, h = random.uniform(20, 120), random.uniform(20, 120)
    return {"label": label, "xmin": x, "ymin": y, "xmax": x + w, "ymax": y + h}


def shaken(random: Random, actual: dict) -> dict:
    moved = {
        name: value + random.uniform(-12, 12)
        for name, value in actual.items()
        if name != "label"
    }
    return {"label": actual["label"], "score": random.random(), **moved}


def by_coco(rows: list[tuple[list[dict], list[dict]]]) -> np.ndarray:
    numbers = {"ship": 1, "tug": 2}

    def annotated(side: int) -> COCO:
        annotations = []
        for image, row in enumerate(rows, 1):
            for each in row[side]:
                width = each["xmax"] - each["xmin"]
                height = each["ymax"] - each["ymin"]
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": image,
                        "category_id": numbers[each["label"]],
                        "bbox": [each["xmin"], each["ymin"], width, height],
                        "area": width * height,
                        "iscrowd": 0,
                        "score": each.get("score", 0),
                    }
                )
        coco = COCO()
        coco.dataset = {
            "images": [{"id": n} for n in range(1, len(rows) + 1)],
            "annotations": annotations,
            "categories": [{"id": n, "name": name} for name, n in numbers.items()],
        }
        coco.createIndex()
        return coco

    with redirect_stdout(StringIO()):
        evaluation = COCOeval(annotated(1), annotated(0), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats


def test_boxes_are_measured_as_coco_does(api, stored):
    random = Random(5)
    rows = []
    for _ in range(25):
        actual = [
            box(random, random.choice(["ship", "tug"]))
            for _ in range(random.randrange(4))
        ]
        found = [shaken(random, each) for each in actual if random.random() < 0.8]
        found += [
            shaken(random, box(random, "ship")) for _ in range(random.randrange(2))
        ]
        rows.append((found, actual))
    stored(
        TaskType.OBJECT_DETECTION,
        [({"object_detection": f}, {"boxes": actual}, {}) for f, actual in rows],
    )

    answer = ask(api)

    stats = by_coco(rows)
    assert answer["rows"] == 25
    assert answer["figures"]["map"] == pytest.approx(stats[0])
    assert answer["figures"]["map_50"] == pytest.approx(stats[1])
    assert answer["figures"]["average_recall"] == pytest.approx(stats[8])
    labels = {row["label"]: row for row in answer["by_label"]}
    mean = np.mean([row["map"] for row in labels.values()])
    assert mean == pytest.approx(stats[0])
    assert labels["ship"]["support"] == sum(
        each["label"] == "ship" for _, actual in rows for each in actual
    )
    assert len(answer["curve"]) == 101


def test_shapes_are_measured_as_masks(api, stored):
    def square(x: float) -> list:
        return [[[x, 0], [x + 100, 0], [x + 100, 100], [x, 100]]]

    def segment(x: float) -> dict:
        return {
            "image_segmentation": [{"label": "a", "score": 0.9, "contours": square(x)}]
        }

    rows = [(0, 0), (0, 20), (0, 200)]
    stored(
        TaskType.IMAGE_SEGMENTATION,
        [
            (segment(x), {"polygons": [{"label": "a", "contours": square(y)}]}, {})
            for x, y in rows
        ],
    )

    answer = ask(api)

    assert answer["figures"]["precision"] == answer["figures"]["recall"] == 2 / 3
    assert 0 < answer["figures"]["map"] < answer["figures"]["map_50"] < 1


def test_turned_boxes_are_measured_as_masks(api, stored):
    one = {"label": "a", "cx": 0.5, "cy": 0.5, "w": 0.4, "h": 0.2, "r": 0.3}
    found = {"oriented_object_detection": [{**one, "score": 0.9}]}
    stored(
        TaskType.ORIENTED_OBJECT_DETECTION,
        [
            (found, {"boxes": [one]}, {}),
            (found, {"boxes": [{**one, "r": 1.9}]}, {}),
        ],
    )

    figures = ask(api)["figures"]

    assert figures["precision"] == figures["recall"] == 0.5


def test_entities_texts_rankings_outputs_and_series_are_measured(api, stored):
    span = {"label": "PER", "start": 0, "end": 3}
    other = {"label": "LOC", "start": 9, "end": 14}
    stored(
        TaskType.NAMED_ENTITIES,
        [
            ({"named_entities": [span, other]}, {"entities": [span]}, {}),
            ({"named_entities": []}, {"entities": [other]}, {}),
        ],
    )
    figures = ask(api)["figures"]
    assert (figures["precision"], figures["recall"]) == (0.5, 0.5)

    stored(
        TaskType.TEXT_GENERATION,
        [
            ({"text_generation": {"text": "a  b"}}, {"text": "a b"}, {}),
            ({"text_generation": {"text": "a"}}, {"text": "b"}, {}),
        ],
    )
    assert ask(api, form="text")["figures"] == {"exact_match": 0.5}

    ranked = [
        {"item": name, "score": score}
        for name, score in zip("abc", (3, 2, 1), strict=True)
    ]
    stored(
        TaskType.RANKING,
        [({"ranking": ranked}, {"relevance": {"a": 1, "c": 3}}, {})],
    )
    ndcg = metrics.ndcg_score([[1, 0, 3]], [[3, 2, 1]])
    assert ask(api, form="relevance")["figures"]["ndcg"] == pytest.approx(ndcg)

    stored(
        TaskType.MULTI_OUTPUT,
        [
            (
                {"multi_output": {"price": 10.0, "class": "x"}},
                {"values": {"price": 12, "class": "x"}},
                {},
            )
        ],
    )
    answer = ask(api, form="values")
    assert {row["label"]: row.get("mae") for row in answer["by_label"]} == {
        "price": 2.0,
        "class": None,
    }
    assert answer["figures"]["accuracy"] == 1

    stored(
        TaskType.TIME_SERIES,
        [({"time_series": {"values": [1, 2, 3]}}, {"series": [1, 2, 5]}, {})],
    )
    answer = ask(api, form="series")
    assert answer["figures"]["mae"] == pytest.approx(2 / 3)
    assert answer["by_label"][2]["mae"] == 2


def test_figures_are_parted_by_version_and_time(api, stored):
    made = classes(rows=48)
    stored(
        TaskType.IMAGE_CLASSIFICATION,
        [
            (parts_of(scores), {"label": actual}, {"model_version": f"v{n % 2}"})
            for n, (scores, actual) in enumerate(made)
        ],
    )

    by_version = ask(api, group_by="version")["groups"]
    by_day = ask(api, group_by="time", interval="day")["groups"]

    right = [max(s, key=s.get) == actual for s, actual in made]
    assert [each["group"] for each in by_version] == ["v0", "v1"]
    assert by_version[0]["figures"]["accuracy"] == np.mean(right[::2])
    assert [each["group"] for each in by_day] == [
        "2025-06-01T00:00:00Z",
        "2025-06-02T00:00:00Z",
    ]
    assert by_day[1]["figures"]["accuracy"] == np.mean(right[24:])


def test_a_filter_says_which_rows_are_measured(api, stored):
    stored(
        TaskType.IMAGE_CLASSIFICATION,
        [
            (parts_of({"a": 0.9}), {"label": "a"}, {"camera": "north"}),
            (parts_of({"a": 0.9}), {"label": "b"}, {"camera": "south"}),
            (parts_of({"a": 0.9}), None, {"camera": "north"}),
        ],
    )

    answer = ask(api, query="meta.camera=north")

    assert (answer["rows"], answer["figures"]["accuracy"]) == (1, 1)
    assert ask(api, filter={"ground_truth": "differs"})["figures"]["accuracy"] == 0


def test_a_limit_on_rows_is_said(api, stored):
    stored(
        TaskType.IMAGE_CLASSIFICATION,
        [(parts_of({"a": 0.9}), {"label": label}, {}) for label in "bbbaa"],
    )

    answer = ask(api, limit=2)

    assert (answer["considered"], answer["is_complete"]) == (2, False)
    assert answer["figures"]["accuracy"] == 1  # the newest
    assert ask(api, limit=5)["is_complete"] is True


def test_rows_that_say_nothing_to_compare_are_counted(api, stored, make_inference):
    stored(
        TaskType.IMAGE_CLASSIFICATION,
        [
            (parts_of({"a": 0.9}), {"label": "a"}, {}),
            ({"image_embedding": None} and {"embeddings": {}}, {"label": "a"}, {}),
        ],
    )

    answer = ask(api)

    assert (answer["rows"], answer["not_comparable"]) == (1, 1)


def test_without_any_truth_there_are_no_figures(api, model):
    answer = ask(api)

    assert (answer["rows"], answer["figures"], answer["form"]) == (0, {}, None)


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"group_by": "colour"}, "group_by"),
        ({"interval": "year"}, "interval"),
        ({"form": "shape"}, "form"),
        ({"threshold": 2}, "threshold"),
        ({"limit": 0}, "limit"),
        ({"limit": 10**9}, "limit"),
        ({"colour": 1}, "colour"),
        ({"query": "truth:"}, "query"),
    ],
)
def test_a_question_that_is_none_is_refused(api, model, asked, field):
    response = api.post(URL, json.dumps(asked), content_type="application/json")

    assert response.status_code == 400
    assert field in response.json()["detail"]
