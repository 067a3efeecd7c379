from __future__ import annotations

import json
from typing import Any

READ = ("action", "inference_action", "content_type", "encoding", "metadata")


def merge(*sources: dict[str, Any]) -> dict[str, Any]:
    """Parameters that are read, together: the first to name one wins, metadata is a list
    of all.

    The others are left out: a request may have as many as bytes, and this is asked for
    each of its inputs.
    """
    together = {
        name: source[name]
        for source in reversed(sources)
        for name in READ
        if name in source
    }
    metadata = [each["metadata"] for each in sources if each.get("metadata")]
    if len(metadata) > 1:
        together["metadata"] = [
            each if isinstance(each, str) else json.dumps(each) for each in metadata
        ]
    return together
