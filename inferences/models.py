"""What the store keeps: registered models, their inferences and typed metadata.

An inference is two rows. ``Inference`` is narrow and holds all that is filtered on,
``InferencePayload`` the bytes that only a page of fifty needs. Both are partitioned
by id (``partitions.py``), are written by ``recording`` and leave by ``removal``:
``save()`` and ``delete()`` go by the id alone, which two models may share.

Segments, by which a page passes over what cannot match, have tables of their own beside
these (``segments/``); a trigger tells them of what is written here.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from functools import reduce
from operator import or_
from typing import Any, Self

from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxValueValidator, RegexValidator
from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.db.models.expressions import RawSQL
from pgvector.django import VectorField

from inferences import row_ids
from inferences.erasure.models import (  # noqa: F401 tables of this app, too
    ErasedInference,
    ErasureTask,
)
from inferences.ground_truth.models import (  # noqa: F401 tables of this app, too
    GroundTruth,
    GroundTruthVersion,
    PendingTruth,
)
from inferences.segments.models import (  # noqa: F401 tables of this app, too
    Segment,
    SegmentTouch,
)
from istore.accounts.access import Caller
from istore.addresses import AmbiguousModel, readings
from istore.db.compiled_queries import Prepared, given
from istore.models import Project, Role, Token

CHOICES_MOST = 100  # projects that are named when an id alone is ambiguous
SLOT_TYPES = {
    "string": models.TextField,
    "integer": models.BigIntegerField,
    "float": models.FloatField,
}
SLOTS = {name: [f"{name}_{n}" for n in range(1, 9)] for name in SLOT_TYPES}
OUTSIDE_ID = RegexValidator(
    r"^(?!\.{1,2}\Z)[^\x00-\x1f\x7f-\x9f]{1,255}\Z",
    "One to 255 characters, none a control character, and neither '.' nor '..'.",
)


class RealField(models.FloatField):
    """Four bytes are enough for a score; a bound it is compared with is cast alike."""

    def db_type(self, connection: Any) -> str:
        return "real"

    def cast_db_type(self, connection: Any) -> str:
        return "real"


class TaskType(models.TextChoices):
    """What kind of question the model answers."""

    IMAGE_CLASSIFICATION = "Image Classification"
    IMAGE_EMBEDDING = "Image Embedding"
    IMAGE_SEGMENTATION = "Image Segmentation"
    OBJECT_DETECTION = "Object Detection"
    ORIENTED_OBJECT_DETECTION = "Oriented Object Detection"
    TEXT_EMBEDDING = "Text Embedding"
    TABULAR_CLASSIFICATION = "Tabular Classification"
    TABULAR_REGRESSION = "Tabular Regression"
    TEXT_GENERATION = "Text Generation"
    TEXT_CLASSIFICATION = "Text Classification"
    NAMED_ENTITIES = "Named Entity Recognition"
    RANKING = "Ranking"
    MULTI_OUTPUT = "Multi-Output"
    TIME_SERIES = "Time Series"


# Of whose answers one class is the answer; the other classes are its distribution.
ONE_CLASS = frozenset(
    {
        TaskType.IMAGE_CLASSIFICATION,
        TaskType.TEXT_CLASSIFICATION,
        TaskType.TABULAR_CLASSIFICATION,
    }
)


class BoxFormat(models.TextChoices):
    """The order of a box's four numbers in the model's answers."""

    YXYX = "yxyx", "ymin, xmin, ymax, xmax in pixels"
    XYXY = "xyxy", "xmin, ymin, xmax, ymax in pixels"
    XYWH = "xywh", "xmin, ymin, width, height in pixels"
    YXYX_NORMALISED = "yxyx_normalised", "ymin, xmin, ymax, xmax as shares"
    XYXY_NORMALISED = "xyxy_normalised", "xmin, ymin, xmax, ymax as shares"
    XYWH_NORMALISED = "xywh_normalised", "xmin, ymin, width, height as shares"


class InferenceAction(models.IntegerChoices):
    """A small number in the row; the label is the word on the wire."""

    DETECT = 1, "detect"
    EMBED = 2, "embed"
    PREDICT = 3, "predict"
    PREDICT_PROBA = 4, "predict_proba"


class MetadataType(models.TextChoices):
    """The type a value was given with."""

    STRING = "string"
    INT = "int"
    FLOAT = "float"
    JSON = "json"


class MetadataKind(models.TextChoices):
    """What a key's values are compared as. JSON is taken apart, leaf by leaf."""

    STRING = "string"
    INT = "int"
    FLOAT = "float"
    JSON_STRING = "json.string"
    JSON_NUMBER = "json.number"


class RegisteredModelQuerySet(models.QuerySet["RegisteredModel"]):
    def visible_to(self, caller: Caller, role: Role = Role.VIEWER) -> Self:
        """The models of the projects in which the caller has at least this role."""
        return self.filter(project__in=caller.visible_projects(role))

    def named(self, model_id: str, project_id: str | None = None) -> Self:
        """The models of this id, in every project or in the one that is named."""
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
        """The model of this id, with its project; None if the caller may not see it.

        Raises ``AmbiguousModel`` when several of the caller's projects have the id and
        none of them is named.
        """
        if caller.token is not None:
            return _of_token(caller.token, model_id, project_id)
        seen = self.visible_to(caller).named(model_id, project_id)
        found = list(seen.select_related("project")[:CHOICES_MOST])
        if len(found) > 1 and project_id is None:
            raise AmbiguousModel([model.project.project_id for model in found])
        return found[0] if found else None


class RegisteredModel(models.Model):
    """A model whose inferences are stored, under the id its platform gave it."""

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
        db_default=0,  # processes of before it write rows without it
        help_text="The number of the first class label: 1 where 0 is the background.",
    )
    box_format = models.CharField(
        max_length=20, choices=BoxFormat, default=BoxFormat.YXYX
    )
    upstream_url = models.CharField(
        max_length=2048, blank=True, help_text="The V2 server that answers for it."
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

    text_embedding_service = models.CharField(
        max_length=255,
        blank=True,
        help_text="The id of the service that embeds texts to search by.",
    )

    # What this process remembers under a version is never stale: see directory.py.
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
        help_text="From here on rows may hold a distribution as labels: see classes.py.",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = RegisteredModelQuerySet.as_manager()

    class Meta:
        ordering = ["model_id", "project"]
        constraints = [
            # Read by every call that names a model: a token says in which project.
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
    def awaits_classes(self) -> bool:
        """Whether some of its rows may hold a distribution as labels."""
        return self.awaits_classes_from is not None

    @property
    def full_name(self) -> str:
        """The id with its project, for whoever sees the models of several."""
        return f"{self.model_id} ({self.project})"


def _of_token(
    token: Token, model_id: str, project_id: str | None
) -> RegisteredModel | None:
    """A token belongs to one project: the id means that project's model, or nothing."""
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


# Every call of the API that names a model asks for it.
OF_PROJECT = Prepared(
    lambda: RegisteredModel.objects.filter(
        model_id=given("model_id"), project_id=given("project")
    )
)


class MetadataKey(models.Model):
    """Where a model keeps the values of one key: in a slot, or in side rows."""

    id = models.AutoField(primary_key=True)
    registered_model = models.ForeignKey(
        RegisteredModel, models.CASCADE, "metadata_keys", db_column="model_key"
    )
    # A path into a JSON value may be longer than a key.
    key = models.CharField(max_length=1024)
    kind = models.CharField(max_length=11, choices=MetadataKind)
    slot = models.CharField(max_length=9, blank=True, help_text="Empty: side rows.")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                "registered_model", "key", "kind", name="metadata_key_unique"
            ),
            models.UniqueConstraint(
                "registered_model",
                "slot",
                condition=~Q(slot=""),
                name="metadata_slot_unique",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.key} ({self.kind})"


class MetadataKeyCount(models.Model):
    """How many observations of a key and type came or went: one delta a batch.

    Appended by every write, summed by readers, compacted by the maintenance beat: no
    row is hot.
    """

    registered_model = models.ForeignKey(
        RegisteredModel, models.CASCADE, "+", db_column="model_key"
    )
    key = models.CharField(max_length=256)
    type = models.CharField(max_length=6, choices=MetadataType)
    delta = models.BigIntegerField()

    def __str__(self) -> str:
        return f"{self.key} ({self.type}): {self.delta:+}"


class MetadataChange(models.Model):
    """That one metadata value of an inference came, went or became another.

    What an inference was stored with is not a change. Rows go with their inference.
    """

    registered_model = models.ForeignKey(
        RegisteredModel, models.CASCADE, "+", db_column="model_key", db_index=False
    )
    row_id = models.BigIntegerField()
    key = models.CharField(max_length=256)
    before = models.JSONField(null=True, help_text="[type, text]; null: it was absent.")
    after = models.JSONField(null=True, help_text="[type, text]; null: it was removed.")
    actor = models.CharField(max_length=300)
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes = [
            # Read by the history of one inference, and by its removal.
            models.Index("registered_model", "row_id", name="metadata_change_by_row")
        ]

    def __str__(self) -> str:
        return f"{self.key}: {self.before} -> {self.after}"


class WordOfModel(models.Model):
    """A word of one model that rows hold as a number."""

    id = models.AutoField(primary_key=True)
    registered_model = models.ForeignKey(
        RegisteredModel, models.CASCADE, "+", db_column="model_key", db_index=False
    )
    name = models.TextField()

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.name


class LabelName(WordOfModel):
    """A label; detections and the arrays of the inference row hold its number."""

    class Meta:
        constraints = [
            models.UniqueConstraint("registered_model", "name", name="label_unique")
        ]


class SourceName(WordOfModel):
    """A data source."""

    class Meta:
        constraints = [
            models.UniqueConstraint("registered_model", "name", name="source_unique")
        ]


class InferenceQuerySet(models.QuerySet["Inference"]):
    """The questions asked of stored inferences. Each one chains."""

    def live(self) -> Self:
        # Every search index is partial on this: a query that leaves it out reads rows.
        return self.filter(deleted=False)

    def live_among(self, ids: Iterable[int]) -> Self:
        """The live ones of these row ids, by the primary key.

        Said so that no partial index can serve it: with statistics from when the table
        was small the planner takes one of them, and reads all of the model.
        """
        is_live = RawSQL(
            f"{self.model._meta.db_table}.deleted IS NOT TRUE",
            [],
            output_field=models.BooleanField(),
        )
        return self.filter(is_live, id__in=ids)

    def older_than(self, limit: datetime) -> Self:
        return self.filter(id__lt=row_ids.first_id_at(limit))

    def unprotected(self) -> Self:
        return self.filter(is_protected=False)

    def with_input(self) -> Self:
        """Inferences whose input still lies in blob storage."""
        payloads = InferencePayload.objects.beside(OuterRef("registered_model"))
        kept = payloads.filter(id=OuterRef("id")).exclude(data_storage_key="")
        return self.filter(Exists(kept))

    def oldest_first(self) -> Self:
        return self.order_by("id")

    def newest_first(self) -> Self:
        return self.order_by("-id")


class Inference(models.Model):
    """One request to a model and the answer it gave: all that is filtered on.

    The row may outlive its input: once retention has removed the blob, the payload
    names no storage key and everything else can still be queried.
    """

    # The database's key is (model_key, id): ids are unique within a model. Columns are
    # in this order, widest first, so that rows need no padding.
    id = models.BigIntegerField(primary_key=True)
    latitude = models.FloatField(null=True)
    longitude = models.FloatField(null=True)
    area_cell = models.BigIntegerField(null=True, editable=False)
    data_size = models.BigIntegerField(default=0)
    # The slots, integer_1 to float_8 and string_1 to string_8, hold metadata. Which key
    # of which model lies in which of them is the directory's to say.
    for _name in SLOTS["integer"]:
        locals()[_name] = models.BigIntegerField(null=True, editable=False)
    for _name in SLOTS["float"]:
        locals()[_name] = models.FloatField(null=True, editable=False)
    # Not called "model": `model_id` is the outside world's word, this is our number.
    registered_model = models.ForeignKey(
        RegisteredModel,
        models.DO_NOTHING,
        related_name="inferences",
        db_column="model_key",
        db_constraint=False,
        db_index=False,
    )
    source = models.ForeignKey(
        SourceName, models.DO_NOTHING, null=True, db_constraint=False, db_index=False
    )
    top_score = RealField(null=True, editable=False)
    low_score = RealField(null=True, editable=False)
    inference_action = models.SmallIntegerField(choices=InferenceAction)
    version = models.SmallIntegerField(default=1, help_text="Of the record's form.")
    is_protected = models.BooleanField(default=False)
    deleted = models.BooleanField(default=False)
    inference_id = models.CharField(max_length=255)
    data_hash = models.BinaryField(max_length=32, help_text="SHA-256 of the input.")
    for _name in SLOTS["string"]:
        locals()[_name] = models.TextField(null=True, editable=False)
    del _name
    labels = ArrayField(models.IntegerField(), null=True)
    scores = ArrayField(RealField(), null=True)
    # Where one class is the answer, labels and scores hold it alone, and these all classes
    # with their probabilities, in the order of the answer. Null for every other task.
    classes = ArrayField(models.IntegerField(), null=True)
    probabilities = ArrayField(RealField(), null=True)
    updated_at = models.DateTimeField(null=True, help_text="Null: as created.")

    objects = InferenceQuerySet.as_manager()

    def __str__(self) -> str:
        return self.inference_id

    @property
    def created_at(self) -> datetime:
        return row_ids.moment_of(self.id)


class InferenceKey(models.Model):
    """That an inference id is taken, whichever partition holds the row.

    It outlives the inference by ``ISTORE_TOMBSTONE_DAYS`` and so keeps late copies out. The
    proxy reserves an id before it names it in an answer: such a key has no row until the
    listener stores the call, and ``reservation`` says which call that may be. It is kept
    with the row, and tells the same call again without reading what was stored.
    """

    pk = models.CompositePrimaryKey("registered_model", "inference_id")
    registered_model = models.ForeignKey(
        RegisteredModel, models.CASCADE, "+", db_column="model_key", db_index=False
    )
    inference_id = models.CharField(max_length=255)
    row_id = models.BigIntegerField(
        null=True, help_text="Null: reserved, and not stored yet."
    )
    removed_at = models.DateTimeField(null=True)
    reservation = models.BinaryField(
        max_length=32,
        null=True,
        help_text="SHA-256 of the proxied call that the id is for.",
    )
    reserved_at = models.DateTimeField(null=True)
    # Ids are times of events; this is the order of arrival, drawn while the batch holds
    # its model row: see arrivals.py. 0: it came before arrivals were numbered. A key that
    # is only reserved has -2, before everything, and draws its number when it is stored.
    arrival = models.BigIntegerField(
        db_default=models.Func(models.Value("inferences_arrival"), function="nextval"),
        editable=False,
    )

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(row_id__isnull=False)
                | Q(reservation__isnull=False, reserved_at__isnull=False),
                name="key_has_row_or_is_reserved",
            )
        ]
        indexes = [
            # Read by who follows what arrives. Partial, though every stored key is in it:
            # a look for an id does not state the condition, and so cannot take this
            # index. While statistics are missing or old the planner would, and read all
            # keys of a model for each id of a batch.
            models.Index(
                "registered_model",
                "arrival",
                name="key_by_arrival_order",
                condition=Q(arrival__gte=0),
            ),
            # Read by the beat that frees reservations whose calls were lost.
            models.Index(
                "reserved_at",
                name="reservation_by_age",
                condition=Q(row_id__isnull=True),
            ),
            # Read by the beat that frees tombstones after their time.
            models.Index(
                "removed_at",
                name="tombstone_by_age",
                condition=Q(removed_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return self.inference_id


class SideRowQuerySet(models.QuerySet):
    def beside(self, model: RegisteredModel | OuterRef) -> Self:
        """The rows of one model. An id alone would also find another model's."""
        return self.filter(registered_model=model)


class SideRow(models.Model):
    """A row that belongs to an inference and is found by the same two columns."""

    id = models.BigIntegerField(primary_key=True)
    registered_model = models.ForeignKey(
        RegisteredModel,
        models.DO_NOTHING,
        related_name="+",
        db_column="model_key",
        db_constraint=False,
        db_index=False,
    )

    objects = SideRowQuerySet.as_manager()

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{type(self).__name__} of {self.id}"


class InferencePayload(SideRow):
    """The cold half: what a page shows, and what is being removed."""

    metadata = models.JSONField(
        default=dict, help_text="As given: {key: [type, text]}."
    )
    data = models.TextField(blank=True, help_text="The answer, as the model wrote it.")
    data_storage_key = models.TextField(blank=True, help_text="Empty: no input.")
    data_content_type = models.CharField(max_length=255, blank=True)
    answer_storage_key = models.TextField(blank=True)
    content_hash = models.BinaryField(help_text="Tells a copy from other content.")
    notes = models.JSONField(
        null=True, help_text="Warnings, the five moments, clock_anomaly."
    )
    input_removal_at = models.DateTimeField(null=True)  # the intents: see removal.py
    removal_at = models.DateTimeField(null=True)
    deleted_at = models.DateTimeField(null=True)
    input_expired_at = models.DateTimeField(null=True)  # when retention removed it

    @property
    def input_key(self) -> str:
        """Where the input lies; empty when it never was, has gone, or is on its way out."""
        return "" if self.input_removal_at else self.data_storage_key


class Detection(SideRow):
    """One label with its score; the row of an index, made for filters alone."""

    score = RealField(null=True)
    label = models.ForeignKey(
        LabelName, models.DO_NOTHING, "+", db_constraint=False, db_index=False
    )


class ClassProbability(SideRow):
    """One class of a distribution; the row of an index, made for filters alone."""

    score = RealField(null=True)
    label = models.ForeignKey(
        LabelName, models.DO_NOTHING, "+", db_constraint=False, db_index=False
    )


class OverflowText(SideRow):
    """A text value of a key that has no slot."""

    key = models.ForeignKey(
        MetadataKey, models.DO_NOTHING, "+", db_constraint=False, db_index=False
    )
    value = models.TextField()


class OverflowNumber(SideRow):
    """A number of a key that has no slot."""

    key = models.ForeignKey(
        MetadataKey, models.DO_NOTHING, "+", db_constraint=False, db_index=False
    )
    value = models.FloatField()


class Embedding(SideRow):
    """The vector of an inference, under the vector index of its model if it has one."""

    vector = VectorField()


class RecentEmbedding(SideRow):
    """A vector on its way to ``Embedding``: cheap to write, scanned exactly."""

    vector = VectorField()


class UploadGrant(models.Model):
    """That somebody may put one object to a staging key, for a while."""

    id = models.BigAutoField(primary_key=True)
    registered_model = models.ForeignKey(
        RegisteredModel, models.CASCADE, related_name="upload_grants"
    )
    kind = models.CharField(
        max_length=8,
        choices=[(kind, kind) for kind in ("input", "metadata", "actuals")],
    )
    storage_key = models.TextField(unique=True)
    maximum_size = models.PositiveBigIntegerField(validators=[MaxValueValidator(2**53)])
    granted_to = models.CharField(max_length=300)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    bound_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [
            # Read by the collector of grants that ended unbound.
            models.Index(
                "expires_at", name="upload_unbound", condition=Q(bound_at__isnull=True)
            )
        ]

    def __str__(self) -> str:
        return self.storage_key


class SavedView(models.Model):
    """A way to look at a model's inferences that a project keeps under a name."""

    registered_model = models.ForeignKey(
        RegisteredModel, models.CASCADE, "saved_views", db_column="model_key"
    )
    name = models.CharField(max_length=80)
    query = models.TextField(help_text="The query string: filters, columns, layout.")
    is_default = models.BooleanField(
        default=False, help_text="What the list shows when nothing is asked."
    )
    created_by = models.CharField(max_length=300)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(
                "registered_model", "name", name="saved_view_name_unique"
            ),
            models.UniqueConstraint(
                "registered_model",
                condition=Q(is_default=True),
                name="saved_view_one_default",
            ),
        ]

    def __str__(self) -> str:
        return self.name
