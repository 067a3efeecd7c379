"""Parameters of requests and of their inputs."""

from __future__ import annotations

import json
from typing import Any

READ = ("action", "inference_action", "content_type", "encoding", "metadata")


def merge(*sources: dict[str, Any]) -> dict[str, Any]:
    """Return the known parameters of all sources: the first source that has a name wins.

    ``metadata`` is the exception: it becomes a list of that of all sources. Unknown parameters
    are left out, because a request may have very many of them, and they are merged for each of
    its inputs.
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
