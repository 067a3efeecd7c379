"""What all pages of one dataset have in common: its tabs, its versions and its download."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest

from datasets import summary
from datasets.models import Dataset
from datasets.web.access import address_of
from exports.formats import FORMATS
from exports.quick import usual_format
from istore.accounts.access import caller_of
from istore.models import Role

VERSIONS_SHOWN = 6


@dataclass(frozen=True, slots=True)
class Tab:
    title: str
    icon: str
    address: str
    is_current: bool


# Key, title, icon, last part of the path, and whether a version has such a page of its own.
TABS = (
    ("entries", "Entries", "grid", "", True),
    ("distribution", "Labels and splits", "chart", "/distribution", True),
    ("versions", "Versions", "clock", "/versions", False),
    ("duplicates", "Duplicates", "copy", "/duplicates", False),
    ("downloads", "Downloads", "download", "/downloads", False),
    ("settings", "Settings", "gear", "/settings", False),
)


def head(
    request: HttpRequest, dataset: Dataset, version: int, active: str
) -> dict[str, Any]:
    """Return the context of ``datasets/_head.html``."""
    may_edit = caller_of(request).may(Role.EDITOR, dataset.project)
    versions = list(dataset.versions.defer("summary", "splitting"))
    has_changed = summary.has_changed(dataset)
    of_dataset, of_version = address_of(dataset), address_of(dataset, version)
    is_working = version == dataset.working
    return {
        "project": dataset.project,
        "dataset": dataset,
        "version": version,
        "is_working": is_working,
        "versions": versions,
        "versions_shown": versions[:VERSIONS_SHOWN],
        "has_changed": has_changed,
        "may_edit": may_edit,
        "base": of_dataset,
        "here": of_version,
        "tabs": [
            Tab(
                title,
                icon,
                f"{of_version if of_each else of_dataset}{path}",
                key == active,
            )
            for key, title, icon, path, of_each in TABS
            if key != "settings" or may_edit
        ],
        "download": Download.of(dataset, version, has_changed) if may_edit else None,
    }


@dataclass(frozen=True, slots=True)
class Download:
    """The download of a version in one step: in the usual format of its task, or another."""

    version: int
    publishes: bool  # what changed since the last version is published first
    format: str
    title: str
    others: list[tuple[str, str]]

    @classmethod
    def of(cls, dataset: Dataset, version: int, has_changed: bool) -> Download | None:
        """Return the download; None for a dataset that never had an entry."""
        if not dataset.task_type:
            return None
        is_working = version == dataset.working
        publishes = is_working and has_changed
        if is_working and not publishes:
            version = dataset.published
        usual = usual_format(dataset.task_type)
        titles = {name: each.title for name, each in FORMATS.items()}
        others = [(name, title) for name, title in titles.items() if name != usual]
        return cls(version, publishes, usual, titles[usual], others)
