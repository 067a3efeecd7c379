from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("skimage")
pytest.importorskip("sklearn")

from demo.models import digits
from demo.pictures import digit
from demo.v2 import Tensor


def test_nine_of_ten_held_out_digits_are_known(loaded):
    rows, classes = digits.splits()[1]
    tensor = Tensor("image", "FP32", rows.shape, rows.astype(np.float32).reshape(-1))

    (output,) = loaded["digit-classifier"].infer([tensor])

    shares = output.values.reshape(output.shape)
    assert (shares.argmax(axis=1) == classes).mean() > 0.9
    assert shares.sum(axis=1) == pytest.approx(1)


def test_a_digit_is_the_same_as_picture_and_as_numbers(infer, image_tensor):
    row = digits.splits()[1][0][0]
    numbers = Tensor("image", "FP32", (1, 64), row.astype(np.float32))

    shown = infer("digit-classifier", image_tensor(digit(row)))
    told = infer("digit-classifier", numbers)

    assert shown.output("predict_proba")["shape"] == [1, 10]
    assert shown.output("predict_proba")["data"] == pytest.approx(
        told.output("predict_proba")["data"], abs=0.02
    )


def test_most_nearest_neighbours_by_embedding_are_the_same_digit(loaded):
    rows, classes = digits.splits()[1]
    tensor = Tensor("image", "FP32", rows.shape, rows.astype(np.float32).reshape(-1))

    (output,) = loaded["digit-embedder"].infer([tensor])

    assert output.shape == (len(rows), digits.EMBEDDING_SIZE)
    vectors = output.values.reshape(output.shape)
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    likeness = vectors @ vectors.T
    np.fill_diagonal(likeness, -2)
    assert (classes[likeness.argmax(axis=1)] == classes).mean() > 0.9


@pytest.mark.parametrize(
    "values", [np.zeros(63), np.full(64, 17.0), np.full(64, np.nan), np.zeros(0)]
)
def test_numbers_that_are_no_digit_are_refused(infer, values):
    reply = infer(
        "digit-classifier", Tensor("image", "FP32", values.shape, values), binary=True
    )

    assert reply.status == 400
    assert reply.value["error"]
