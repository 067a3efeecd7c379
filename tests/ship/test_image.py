"""The image: built without an engine, and a first inference out of it, as its own user."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def reason_to_skip() -> str:
    if not os.environ.get("ISTORE_SHIP"):
        return "It takes minutes: ISTORE_SHIP=1 asks for it."
    if os.getuid() != 0:
        return "buildah and mmdebstrap need root here."
    missing = [name for name in ("buildah", "mmdebstrap") if not shutil.which(name)]
    return f"There is no {' and no '.join(missing)}." if missing else ""


@pytest.mark.skipif(bool(reason_to_skip()), reason=reason_to_skip())
def test_a_first_inference_out_of_the_image():
    done = subprocess.run(
        [ROOT / "scripts" / "image"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=1800,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    assert "stored and found" in done.stdout
