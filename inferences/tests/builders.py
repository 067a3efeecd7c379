"""Values that tests of several modules build."""

from __future__ import annotations

import json

from inferences.metadata import MetadataValue


def typed(key: str, value: object) -> MetadataValue:
    """A metadata value whose type is that of the Python value."""
    names = {str: "string", int: "int", float: "float"}
    name = names.get(type(value), "json")
    text = json.dumps(value) if name == "json" else str(value)
    return MetadataValue(key, name, text)
