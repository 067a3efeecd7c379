"""The tables of the lake, as the store knows them; the catalogue knows their files."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Self

from django.db import models
from django.db.models.functions import Now

from exports.lake.words_of_sql import WORDS
from exports.schedules.models import ExportSchedule
from inferences.models import RegisteredModel
from istore.db.advisory_lock import AdvisoryLock
from istore.models import Project

if TYPE_CHECKING:
    from collections.abc import Container

NAME_CHARS = 60  # of a part of a name, before the number that tells it from another
NOT_PLAIN = re.compile(r"[^a-z0-9_]+")
LOCK = "istore.lake"
# Schemas that DuckDB has itself.
RESERVED = {"main", "memory", "temp", "system", "information_schema", "pg_catalog"}


class LakeTableQuerySet(models.QuerySet["LakeTable"]):
    def of_project(self, project: Project) -> Self:
        """Return the tables of a project with what their names and files need."""
        found = self.filter(model__project=project).order_by("pk")
        return found.select_related("model__project", "schedule")

    def present(self) -> Self:
        """Return the tables that are not being dropped."""
        return self.filter(dropped_at=None)


class LakeTable(models.Model):
    """A table of the lake. It outlives its schedule, and goes with its model.

    ``namespace`` and ``name`` are plain: small letters, digits and ``_``. They stay as they are
    when the schedule gets another name, because queries of people name them.
    """

    model = models.ForeignKey(
        RegisteredModel, models.CASCADE, related_name="lake_tables"
    )
    schedule = models.OneToOneField(
        ExportSchedule, models.SET_NULL, null=True, related_name="lake_table"
    )
    namespace = models.CharField(max_length=100)
    name = models.CharField(max_length=200)
    shape = models.CharField(max_length=8)
    is_whole = models.BooleanField(
        default=False,
        help_text="It has every inference of the model up to where its schedule came.",
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    tended_at = models.DateTimeField(null=True, editable=False)
    dropped_at = models.DateTimeField(
        null=True,
        editable=False,
        help_text="It is gone for everybody; its files are being deleted.",
    )

    objects = LakeTableQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint("namespace", "name", name="lake_table_name_unique"),
        ]

    def __str__(self) -> str:
        """The name as it stands in SQL."""
        return ".".join(map(_quoted, self.identifier))

    @property
    def identifier(self) -> tuple[str, str]:
        return self.namespace, self.name

    @property
    def is_exploded(self) -> bool:
        return self.shape == "exploded"

    @property
    def id_column(self) -> str:
        """The column that holds the id of an inference."""
        return "inference_id" if self.is_exploded else "id"

    @property
    def keeps_removed(self) -> bool:
        """Whether rows stay whose records the store has removed."""
        return self.schedule is None or self.schedule.keeps_removed

    @property
    def lock(self) -> AdvisoryLock:
        """The lock that whoever writes files of the table holds, on any host.

        It makes the files that no snapshot names leftovers: their writers hold it or are dead.
        """
        return AdvisoryLock(LOCK, self.pk)


def make_table(schedule: ExportSchedule) -> LakeTable:
    """Return the new row of a schedule's table. Call it with the row of the model locked."""
    model = schedule.model
    namespace = _namespace(model.project)
    shape = "_items" if schedule.shape == "exploded" else ""
    taken = set(
        LakeTable.objects.filter(namespace=namespace).values_list("name", flat=True)
    )
    name = plain(model.model_id) + shape
    if name in taken:
        name = f"{plain(model.model_id)}_{plain(schedule.name)}{shape}"
    return LakeTable.objects.create(
        model=model,
        schedule=schedule,
        namespace=namespace,
        name=free(name, taken),
        shape=schedule.shape,
        is_whole=schedule.exported_until is None,
    )


def _namespace(project: Project) -> str:
    """Return the namespace that the tables of the project have, or a new one for the first."""
    known = LakeTable.objects.filter(model__project=project)
    if found := known.values_list("namespace", flat=True).first():
        return found
    name = plain(project.project_id)
    if name in RESERVED:
        name = f"t_{name}"
    alike = LakeTable.objects.filter(namespace__startswith=name)
    return free(name, set(alike.values_list("namespace", flat=True)))


def plain(name: str) -> str:
    """Return a name of small letters, digits and ``_`` that SQL does not take for a word of its own."""
    found = NOT_PLAIN.sub("_", name.lower()).strip("_")[:NAME_CHARS]
    is_plain = found and not found[0].isdigit() and found not in WORDS
    return found if is_plain else f"t_{found}".rstrip("_")


def _quoted(name: str) -> str:
    """Return a name for SQL: some tables were called by a word of SQL before ``plain`` knew them."""
    return f'"{name}"' if name in WORDS else name


def free(name: str, taken: Container[str]) -> str:
    """Return the name, with a number behind it if it is taken."""
    found, number = name, 1
    while found in taken:
        number += 1
        found = f"{name}_{number}"
    return found
