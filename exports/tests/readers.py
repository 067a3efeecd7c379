"""What readers of other projects make of an archive: pycocotools and datasets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings

import pytest


def coco(archive, tmp_path, name="annotations.json"):
    from pycocotools.coco import COCO

    archive.extractall(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it leaves the file open
        return COCO(str(tmp_path / name))


of_pycocotools = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")


READ_BY_DATASETS = """
import json, sys
from datasets import load_dataset
kind, options = sys.argv[1], json.loads(sys.argv[2])
rows = load_dataset(kind, split="train", **options)
print(json.dumps([{k: str(v) for k, v in row.items()} for row in rows]))
"""


def read_by_datasets(tmp_path, kind, **options):
    """The rows as the library of Hugging Face loads them, without a network."""
    offline = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home")}
    ended = subprocess.run(
        [sys.executable, "-c", READ_BY_DATASETS, kind, json.dumps(options)],
        env={**os.environ, **offline},
        cwd=tmp_path,  # an app of ours has the name of the library
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    return json.loads(ended.stdout.splitlines()[-1])
