"""The Celery tasks of traces. Beat starts them; each may run twice."""

from __future__ import annotations

from celery import shared_task

from traces import spans_of_older_releases


@shared_task
def fill_columns_of_spans() -> None:
    spans_of_older_releases.fill_columns()
