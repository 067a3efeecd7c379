from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("skimage")
pytest.importorskip("sklearn")

from demo.models import wine
from demo.v2 import Tensor


def test_nine_of_ten_held_out_wines_are_known(loaded):
    rows, classes = wine.splits()[1]

    (output,) = loaded["wine-classifier"].infer(
        [Tensor("features", "FP64", rows.shape, rows.reshape(-1))]
    )

    shares = output.values.reshape(output.shape)
    assert (shares.argmax(axis=1) == classes).mean() > 0.9


def test_named_columns_may_come_in_another_order(infer):
    row = wine.splits()[1][0][0]
    names = {"columns": json.dumps(wine.COLUMNS[::-1])}

    plain = infer("wine-classifier", Tensor("features", "FP64", (1, 13), row))
    turned = infer(
        "wine-classifier", Tensor("features", "FP64", (1, 13), row[::-1], names)
    )

    assert plain.output("predict_proba")["shape"] == [1, 3]
    assert turned.output("predict_proba") == plain.output("predict_proba")


@pytest.mark.parametrize("columns", ['["alcohol"]', "no json", "[1]", "7"])
def test_other_columns_are_refused(infer, columns):
    tensor = Tensor("features", "FP64", (1, 13), np.ones(13), {"columns": columns})

    reply = infer("wine-classifier", tensor)

    assert reply.status == 400
    assert "columns" in reply.value["error"]
