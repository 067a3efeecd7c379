"""Formats in which a list can be downloaded in one step; the app of exports registers them."""

from __future__ import annotations

from collections.abc import Callable

from inferences.models import RegisteredModel
from istore.hooks import Hook

# Returns name and title of each format, the usual one of the model's task first.
formats: Hook[Callable[[RegisteredModel], list[tuple[str, str]]]] = Hook()
