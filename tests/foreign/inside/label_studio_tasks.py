"""Runs where label-studio-sdk is installed: reads an export as Label Studio does.

Prints what is wrong with the configuration and each task by its rules, and the COCO and
YOLO that its converter makes of the annotations.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

from label_studio_sdk.converter import Converter
from label_studio_sdk.label_interface import LabelInterface


def labels_in(name: str) -> dict[str, list[str]]:
    files = sorted((home / name / "labels").rglob("*.txt"))
    return {path.stem: path.read_text().splitlines() for path in files}


logging.disable(logging.CRITICAL)
home = Path(sys.argv[1])
config = (home / "label_config.xml").read_text("utf-8")
tasks = json.loads((home / "tasks.json").read_bytes())
interface = LabelInterface(config)
interface.validate()
complaints = []
for task in tasks:
    if not interface.validate_task({"data": task["data"]}):
        complaints.append(f"{task['id']}: its data")
    for each in task.get("predictions", ()):
        complaints += interface.validate_prediction(each, return_errors=True)
    for each in task.get("annotations", ()):
        if not interface.validate_annotation(each):
            complaints.append(f"{task['id']}: an annotation")
converter = Converter(config, str(home), download_resources=False)
told = {"complaints": complaints}
if any(task.get("annotations") for task in tasks):
    arguments = str(home / "tasks.json"), str(home / "coco")
    converter.convert_to_coco(*arguments, is_dir=False)
    converter.convert_to_yolo(arguments[0], str(home / "yolo"), is_dir=False)
    told["coco"] = json.loads((home / "coco" / "result.json").read_bytes())
    told["labels"] = labels_in("yolo")
    converter.convert_to_yolo(
        arguments[0], str(home / "turned"), is_dir=False, is_obb=True
    )
    told["turned"] = labels_in("turned")
    told["classes"] = (home / "yolo" / "classes.txt").read_text("utf-8").splitlines()
print(json.dumps(told))
