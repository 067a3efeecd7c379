"""Registered models, with their classes, their settings and the project they belong to."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import Self

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from inferences.models import row_ids
from inferences.models.choices import OF_TEXT_APIS, ONE_CLASS, BoxFormat, TaskType
from istore.accounts.access import Caller, projects_of_member
from istore.addresses import AmbiguousModel, readings
from istore.db.compiled_queries import CompiledQuery, parameter
from istore.models import Project, Role, Token
from istore.outside_ids import OUTSIDE_ID

CHOICES_MOST = 100  # projects that the error names when an id alone is ambiguous


class RegisteredModelQuerySet(models.QuerySet["RegisteredModel"]):
    def visible_to(self, caller: Caller, role: Role = Role.VIEWER) -> Self:
        """Return the models of the projects in which the caller has at least this role."""
        return self.filter(project__in=caller.visible_projects(role))

    def named(self, model_id: str, project_id: str | None = None) -> Self:
        """Return the models with this id, of every project or of the one that is named."""
        if project_id is None:
            return self.filter(model_id=model_id)
        meant = (
            Q(project__project_id=project, model_id=model)
            for project, model in readings(project_id, model_id)
        )
        return self.filter(reduce(or_, meant))

    def seen_by(
        self, caller: Caller, model_id: str, project_id: str | None = None
    ) -> RegisteredModel | None:
        """Return the model with this id, with its project; None if the caller may not see it.

        Raises ``AmbiguousModel`` when several of the caller's projects have the id and none
        of them is named.
        """
        if caller.token is not None:
            return _of_token(caller.token, model_id, project_id)
        found = _of_person(caller, model_id, project_id)
        if len(found) > 1 and project_id is None:
            raise AmbiguousModel([model.project.project_id for model in found])
        return found[0] if found else None


class RegisteredModel(models.Model):
    """A model whose inferences are stored, under the id that its platform gave it."""

    # Four bytes: the number stands in every row and every index entry.
    id = models.AutoField(primary_key=True)
    model_id = models.CharField(max_length=255, validators=[OUTSIDE_ID])
    project = models.ForeignKey(
        Project, models.PROTECT, related_name="models", db_column="project_key"
    )
    task_type = models.CharField(max_length=40, choices=TaskType)
    embedding_size = models.PositiveIntegerField(default=0)
    class_labels = ArrayField(
        models.CharField(max_length=255),
        default=list,
        blank=True,
        help_text="Names of the classes, in the order of the model's numbers.",
    )
    first_class_number = models.PositiveSmallIntegerField(
        choices=[(0, "0"), (1, "1")],
        default=0,
        db_default=0,  # during an upgrade, older processes still insert rows without it
        help_text="The number of the first class label: 1 where 0 is the background.",
    )
    box_format = models.CharField(
        max_length=20, choices=BoxFormat, default=BoxFormat.YXYX
    )
    upstream_url = models.CharField(
        max_length=2048, blank=True, help_text="The server that answers for it."
    )
    upstream_model = models.CharField(
        max_length=255, blank=True, help_text="Its name there, if it is another."
    )
    enable_inference_storage = models.BooleanField(
        "store inferences", default=False, help_text="Off: the proxy stores nothing."
    )
    strip_metadata = models.BooleanField(
        default=False, help_text="Take metadata out of what is forwarded."
    )
    keep_failures = models.BooleanField(
        "store failed calls",
        default=False,
        db_default=False,  # during an upgrade, older processes still insert rows without it
        help_text="Store calls that the server refused, failed, or did not answer, too.",
    )

    text_embedding_service = models.CharField(
        max_length=255,
        blank=True,
        help_text="The id of the service that embeds texts to search by.",
    )

    text_search = models.BooleanField(
        "search texts",
        null=True,
        help_text="Index the words of prompts and answers. Null: if the task is about texts.",
    )
    text_search_language = models.CharField(
        max_length=63,
        default="simple",
        db_default="simple",  # as first_class_number
        help_text="A text search configuration of PostgreSQL; simple: words as they are.",
    )
    awaits_text_index = models.BooleanField(
        default=False,
        db_default=False,
        editable=False,
        help_text="Beat is to start the indexing of stored texts.",
    )

    # Raised with every new key, so that what a process caches under a version is never
    # stale: see ``store.metadata_slots``.
    keys_version = models.PositiveIntegerField(default=0, editable=False)
    first_id = models.BigIntegerField(
        default=row_ids.LOWEST, editable=False, help_text="No live id is lower."
    )
    blob_gone_before = models.BigIntegerField(
        default=row_ids.LOWEST, editable=False, help_text="Where a sweep begins."
    )
    awaits_truth = models.BooleanField(
        default=False, editable=False, help_text="Actuals may wait for inferences."
    )
    awaits_classes_from = models.BigIntegerField(
        null=True,
        editable=False,
        help_text="From here on labels may be a distribution: see store.class_migration.",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    #: Whether the person who looks pinned it, where a page asked.
    is_pinned: bool

    objects = RegisteredModelQuerySet.as_manager()

    class Meta:
        ordering = ["model_id", "project"]
        constraints = [
            # Read by every call that names a model; the project comes from the token.
            models.UniqueConstraint(
                "project", "model_id", name="model_id_unique_in_project"
            )
        ]

    def __str__(self) -> str:
        return self.model_id

    @property
    def answers_one_class(self) -> bool:
        """Whether the label of an inference is its best class alone."""
        return self.task_type in ONE_CLASS

    @property
    def has_text_api(self) -> bool:
        """Whether clients of text models' APIs, such as OpenAI's, are pointed at it."""
        return self.task_type in OF_TEXT_APIS

    @property
    def awaits_classes(self) -> bool:
        """Whether rows may still hold a distribution as labels (``class_migration``)."""
        return self.awaits_classes_from is not None

    @property
    def full_name(self) -> str:
        """The id with its project, for a reader who sees the models of several projects."""
        return f"{self.model_id} ({self.project})"


def _of_token(
    token: Token, model_id: str, project_id: str | None
) -> RegisteredModel | None:
    """Return the model of the token's own project with this id, or None."""
    own = token.project
    if project_id is not None:
        meant = dict(readings(project_id, model_id))
        if own.project_id not in meant:
            return None
        model_id = meant[own.project_id]
    model = OF_PROJECT.first(model_id=model_id, project=own.pk)
    if model is not None:
        model.project = own
    return model


def _of_person(
    caller: Caller, model_id: str, project_id: str | None
) -> list[RegisteredModel]:
    """Return the models with this id that a person may see, each with its project."""
    user = caller.user
    is_member = user is not None and user.is_active and not user.is_superuser
    meant = (
        [("", model_id)] if project_id is None else [*readings(project_id, model_id)]
    )
    if user is not None and is_member and len(meant) == 1:
        ((project, model),) = meant
        query = OF_MEMBER if project_id is None else OF_MEMBER_IN_PROJECT
        return query.all(user=user.pk, model_id=model, project_id=project)
    seen = RegisteredModel.objects.visible_to(caller).named(model_id, project_id)
    return list(seen.select_related("project")[:CHOICES_MOST])


def _named_of_member() -> RegisteredModelQuerySet:
    among = Project.objects.filter(projects_of_member(parameter("user")))
    named = RegisteredModel.objects.filter(model_id=parameter("model_id"))
    return named.filter(project__in=among).select_related("project")


# Compiled once: every page of a model runs one of these,
OF_MEMBER = CompiledQuery(_named_of_member, CHOICES_MOST)
OF_MEMBER_IN_PROJECT = CompiledQuery(
    lambda: _named_of_member().filter(project__project_id=parameter("project_id"))
)
# and every API call that names a model this one.
OF_PROJECT = CompiledQuery(
    lambda: RegisteredModel.objects.filter(
        model_id=parameter("model_id"), project_id=parameter("project")
    )
)
