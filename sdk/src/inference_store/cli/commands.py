"""The application with all its commands registered."""

from inference_store.cli import (
    datasets,
    exporting,
    lake,
    metadata,
    metadata_edits,
    protection,
    queries,
    registering,
    retention,
    schedules,
    serving,
    simulating,
    traces,
    truths,
)
from inference_store.cli.app import app

__all__ = [
    "app",
    "datasets",
    "exporting",
    "lake",
    "metadata",
    "metadata_edits",
    "protection",
    "queries",
    "registering",
    "retention",
    "schedules",
    "serving",
    "simulating",
    "traces",
    "truths",
]
