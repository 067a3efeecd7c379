"""The formats of archives, each in a module of its own, by the words of the API."""

from __future__ import annotations

from exports.formats.base import Format, Options
from exports.formats.chariot import Chariot
from exports.formats.open_inference.archived import TABLE_FORMATS

__all__ = ["FORMATS", "Format", "Options"]

# In the order in which people are offered them.
FORMATS: dict[str, type[Format]] = {
    each.name: each for each in (Chariot, *TABLE_FORMATS)
}
