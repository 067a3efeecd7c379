from __future__ import annotations

import json
from typing import Any


def merged(*sources: dict[str, Any]) -> dict[str, Any]:
    """Parameters together: the first to name one wins, metadata is a list of all."""
    together = {name: source[name] for source in reversed(sources) for name in source}
    metadata = [each["metadata"] for each in sources if each.get("metadata")]
    if len(metadata) > 1:
        together["metadata"] = [
            each if isinstance(each, str) else json.dumps(each) for each in metadata
        ]
    return together
