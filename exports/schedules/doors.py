"""What an erasure asks of the files of schedules.

The module behind imports pyarrow, which most processes never need.
"""

from __future__ import annotations

from inferences.erasure.matching_records import Carried
from inferences.models import RegisteredModel
from istore.models import Project


def remove_records(model: RegisteredModel, row_ids: list[int]) -> int:
    """Remove the rows of these records; see ``erasing``."""
    from exports.schedules import erasing

    return erasing.of_records(model, row_ids)


def remove_value(project: Project, carried: Carried) -> int:
    """Remove the rows with the value, and forget filters that name it; see ``erasing``."""
    from exports.schedules import erasing

    return erasing.of_value(project, carried)


def count_left(project: Project, carried: Carried) -> int:
    """Return how many rows of the project's files still have the value."""
    from exports.schedules import erasing

    return erasing.count_left(project, carried)
