"""What the search over all pages finds of services."""

from __future__ import annotations

from django.urls import reverse

from istore.accounts.access import Caller
from istore.web.finding import Found
from services.models import InferenceService


def find_services(caller: Caller, text: str, most: int) -> list[Found]:
    """Return the services of the caller's projects whose name has the text."""
    seen = InferenceService.objects.visible_to(caller).filter(name__icontains=text)
    return [
        Found(
            each.name,
            reverse("services:service", args=[each.pk]),
            f"in {each.project.project_id}",
            "plug",
        )
        for each in seen.select_related("project")[:most]
    ]
