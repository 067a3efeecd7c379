"""A hook of hatchling: version and requirements of the server's wheel.

Both are written down elsewhere already: the server has the version of the client beside it, and
needs what ``requirements.txt`` names, with the client of the same version in place of ``./sdk``.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

# They build the client of a checkout; an installed one is built.
BUILDERS = ("hatchling", "editables")


class ServerMetadata(MetadataHookInterface):
    """Fills in what ``pyproject.toml`` calls dynamic."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set ``version`` and ``dependencies``."""
        root = Path(self.root)
        client = tomllib.loads((root / "sdk/pyproject.toml").read_text())["project"]
        metadata["version"] = client["version"]
        lines = (root / "requirements.txt").read_text().splitlines()
        wanted = [line.partition("#")[0].strip() for line in lines]
        metadata["dependencies"] = [
            f"{client['name']}=={client['version']}" if line == "-e ./sdk" else line
            for line in wanted
            if line and not line.startswith(BUILDERS)
        ]
