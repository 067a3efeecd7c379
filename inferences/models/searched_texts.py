"""The tables of full-text search: the words of prompts and answers, and the task that indexes them."""

from __future__ import annotations

from typing import Any

from django.contrib.postgres.search import SearchVectorField
from django.db import models

from inferences.models.side_rows import SideRow
from istore.models import AuditEntry
from istore.tasks.tracking import TrackedTask


class TextSide(models.IntegerChoices):
    """The side of an inference on which a text stands: what was asked, or what was answered."""

    PROMPT = 1, "prompt"
    ANSWER = 2, "answer"


class InferenceText(SideRow):
    """The words of a prompt or an answer. The row exists only as an index for filters.

    A text that is longer than a tsvector holds has several parts (``store.text_words``).
    """

    # The primary key in the database is (model_key, id, side, part).
    side = models.SmallIntegerField(choices=TextSide)
    part = models.IntegerField(default=0)
    words = SearchVectorField()


class TextIndexTask(TrackedTask):
    """The work of indexing the texts of all records of a model anew.

    It begins when the model's language changes, when its texts are to be searched from now on
    or no longer, and after an upgrade. ``position`` is the id from which it continues.
    """

    runner = "inferences.tasks.index_texts"

    registered_model = models.ForeignKey(
        "inferences.RegisteredModel", models.CASCADE, related_name="text_index_tasks"
    )
    created_by = models.CharField(max_length=300)
    position = models.BigIntegerField(null=True, editable=False)
    indexed_count = models.PositiveBigIntegerField(default=0, help_text="Records.")
    expected_count = models.PositiveBigIntegerField(default=0, help_text="Records.")

    class Meta:
        indexes = [
            models.Index(
                "registered_model", "created_at", name="text_index_task_by_model"
            )
        ]

    def __str__(self) -> str:
        return f"text index of {self.registered_model}"

    @property
    def done(self) -> int:
        return self.indexed_count

    @property
    def expected(self) -> int:
        return self.expected_count

    def audit(self, actor: object, act: str, **details: Any) -> None:
        """Write to the audit log that the actor did this with the index."""
        model = self.registered_model
        AuditEntry.write(
            actor,
            f"text_index.{act}",
            model.model_id,
            model.project,
            language=model.text_search_language,
            **details,
        )
