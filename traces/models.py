"""Spans: where an inference stands in the trace of its application."""

from __future__ import annotations

from typing import Any, Self

from django.db import models

from inferences.models import RegisteredModel
from istore.models import Project
from protocols.otlp.draft import KINDS

NAME_CHARS = 255
COLUMN_CHARS = 255  # of a service and a session that lists filter by


class SpanQuerySet(models.QuerySet["Span"]):
    def of_trace(self, project: Project, trace_id: bytes) -> Self:
        """Return the spans of a trace, in whichever models of the project they are."""
        # Served by span_by_trace.
        return self.filter(project=project, trace_id=trace_id)


class Span(models.Model):
    """One span of a trace, which is the inference with the same model and row id.

    It is written in the transaction of the inference and goes with it. Its parent may come
    later, be in another model, or never come.
    """

    pk = models.CompositePrimaryKey("registered_model", "trace_id", "span_id")
    registered_model = models.ForeignKey(
        RegisteredModel,
        models.DO_NOTHING,
        related_name="+",
        db_column="model_key",
        db_constraint=False,
        db_index=False,
    )
    # That of the model, which never moves: lists of traces read by it.
    project = models.ForeignKey(
        Project,
        models.DO_NOTHING,
        related_name="+",
        db_column="project_key",
        db_constraint=False,
        db_index=False,
        null=True,
    )
    trace_id = models.BinaryField(max_length=16)
    span_id = models.BinaryField(max_length=8)
    parent_id = models.BinaryField(max_length=8, null=True, help_text="Null: a root.")
    # The column is called as in the other side tables of inferences.
    row_id = models.BigIntegerField(db_column="id", help_text="Of its inference.")
    kind = models.CharField(max_length=16, choices=[(kind, kind) for kind in KINDS])
    name = models.CharField(max_length=NAME_CHARS)
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField()
    is_error = models.BooleanField(default=False)
    # Their beginnings, as the inference's metadata has them whole.
    service = models.CharField(
        max_length=COLUMN_CHARS, blank=True, default="", db_default=""
    )
    session = models.CharField(
        max_length=COLUMN_CHARS, blank=True, default="", db_default=""
    )

    objects = SpanQuerySet.as_manager()

    class Meta:
        constraints = [
            # Read by the page of an inference, by removals and by verify.
            models.UniqueConstraint(
                "registered_model", "row_id", name="span_of_inference"
            )
        ]
        indexes = [
            # Walked by lists of traces; nothing else of the row is read then.
            models.Index(
                fields=[
                    *("project", "started_at", "trace_id"),
                    *("registered_model", "span_id"),
                ],
                name="span_by_time",
            ),
            # Read for the first span of a trace, and for all of them.
            models.Index(
                fields=[
                    *("project", "trace_id", "started_at"),
                    *("registered_model", "span_id"),
                ],
                name="span_by_trace",
            ),
            models.Index(
                fields=["project", "session"],
                condition=~models.Q(session=""),
                name="span_by_session",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.trace_hex}-{self.span_hex}"

    @property
    def trace_hex(self) -> str:
        """The id of the trace in hexadecimal digits, as URLs and queries have it."""
        return bytes(self.trace_id).hex()

    @property
    def span_hex(self) -> str:
        """The id of the span in hexadecimal digits."""
        return bytes(self.span_id).hex()


def inference_id_of(span: Any) -> str:
    """Return the inference id of a span, which a repeat of the span gets again."""
    return f"{span.trace_id.hex()}-{span.span_id.hex()}"
