"""Whether the web server of this process is about to stop.

Its workers are processes of their own, and see it by a file of the home, which is named for
their parent.
"""

from __future__ import annotations

import os
from pathlib import Path

from istore.home import Home


def mark_of(process: int) -> Path:
    """Return the file that exists while a server is draining."""
    return Home.from_environment().run / f"draining-{process}"


def is_draining() -> bool:
    """Return whether the server that this worker belongs to is about to stop."""
    return mark_of(os.getppid()).exists()
