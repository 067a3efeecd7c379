"""What the search over all pages finds of datasets."""

from __future__ import annotations

from django.urls import reverse

from datasets.models import Dataset
from istore.accounts.access import Caller
from istore.web.finding import Found


def find_datasets(caller: Caller, text: str, most: int) -> list[Found]:
    """Return the datasets of the caller's projects whose name has the text."""
    seen = Dataset.objects.visible_to(caller).filter(name__icontains=text)
    return [
        Found(
            each.name,
            reverse("datasets:dataset", args=[each.project.project_id, each.name]),
            f"in {each.project.project_id}",
            "archive",
        )
        for each in seen.select_related("project")[:most]
    ]
