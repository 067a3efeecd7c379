"""arize-phoenix reads our OpenInference tables: every model type, flat and exploded.

``python -m tests.foreign.phoenix_tables`` from the root of the project.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

from tests.foreign import make_tables
from tests.foreign.environments import interpreter, run_inside, versions

# The last release with ``from_open_inference``, and what it ran with in its time: newer
# releases of these no longer have what it imports.
PACKAGES = (
    "arize-phoenix==13.2.0",
    "arize-phoenix-evals<3",
    "graphql-core<3.3",
    "strawberry-graphql<0.288",
    "pandas<3",
)


def check() -> str:
    """Raises AssertionError unless every table is read; says what was seen."""
    python = interpreter("phoenix", PACKAGES)
    with tempfile.TemporaryDirectory(prefix="istore-tables-") as directory:
        made = subprocess.run(
            [sys.executable, make_tables.__file__, directory],
            env={n: v for n, v in os.environ.items() if not n.startswith("ISTORE_")},
            capture_output=True,
            text=True,
        )
        assert made.returncode == 0, made.stderr
        seen = run_inside(python, "phoenix_tables.py", directory)
    return f"{versions(python, 'arize-phoenix', 'pandas', 'pyarrow')}\n{seen}"


if __name__ == "__main__":
    print(check())
