"""Quality: figures of a model's answers, compared with ground truth."""

from __future__ import annotations

from inference_store.binding import blocking
from inference_store.models import NewQualityRequest, Quality
from inference_store.requests import Call, one, post


@blocking
def get_quality(
    model_id: str, request_body: NewQualityRequest | None = None
) -> Call[Quality | None]:
    """Measure the answers of inferences that match a filter and have ground truth.

    Parameters:
        model_id: the model.
        request_body: which inferences, and how to group the figures. Without one, all
            inferences of the model are one group.

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
