"""How good a model's answers are, held against what came true."""

from __future__ import annotations

from inference_store.binding import blocking
from inference_store.models import NewQualityRequest, Quality
from inference_store.requests import Call, one, post


@blocking
def get_quality(
    model_id: str, request_body: NewQualityRequest | None = None
) -> Call[Quality | None]:
    """Measure the answers that match a filter and have a ground truth.

    Parameters:
        model_id: the model.
        request_body: which inferences, and how to part the figures; without one all of
            the model together.

    Returns:
        The figures, by label and by group; None if the model is not registered.

    Raises:
        ValidationError: a filter or group is not valid.
        InferenceStoreError: any other failure.
    """
    return post(
        "models",
        model_id,
        "quality",
        body=request_body or NewQualityRequest(),
        read=one(Quality),
        may_repeat=True,
        may_be_absent=True,
        timeout=300.0,
    )
