"""The command with all its commands."""

from inference_store.cli import (
    asking,
    changing,
    datasets,
    exporting,
    keeping,
    metadata,
    registering,
    retention,
    schedules,
    serving,
    simulating,
    truths,
)
from inference_store.cli.app import app

__all__ = [
    "app",
    "asking",
    "changing",
    "datasets",
    "exporting",
    "keeping",
    "metadata",
    "registering",
    "retention",
    "schedules",
    "serving",
    "simulating",
    "truths",
]
