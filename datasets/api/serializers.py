"""Datasets as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rest_framework import serializers

from datasets.models import DESCRIPTION_MAX, NAME, DatasetArchive, DatasetEntry
from datasets.splitting import KINDS, Splitting
from datasets.summary import Comparison
from exports.api.selections import SelectionSerializer, asked_of
from exports.api.serializers import (
    WarningSerializer,
    check_options,
)
from exports.formats import FORMATS
from exports.models import Container
from exports.selections import Selection
from istore import blobs
from istore.api.fields import (
    FlagField,
    MomentField,
    NumberField,
    OutsideIdField,
    TextField,
    WholeField,
)
from istore.api.serializers import StrictSerializer, ValueSerializer, optional
from istore.tasks.tracking import TaskState


class SplittingSerializer(ValueSerializer):
    """How entries are shared out; ``seed`` and ``shares`` decide, never the order.

    ``moved`` has units that were moved by hand, by a hash; they stay while kind, key and seed do.
    """

    value_class = Splitting

    kind = serializers.ChoiceField(KINDS)
    shares = serializers.DictField(child=NumberField(), required=False)
    seed = WholeField(required=False, min_value=0, max_value=2**63 - 1)
    key = TextField(required=False, max_length=1024)
    moved = serializers.DictField(
        child=TextField(max_length=40),
        required=False,
        help_text="By the units' hashes.",
    )


def _name(**options: Any) -> TextField:
    return TextField(max_length=255, allow_blank=False, validators=[NAME], **options)


class NewDatasetSerializer(StrictSerializer):
    name = _name()
    description = TextField(required=False, max_length=DESCRIPTION_MAX)


class DatasetChangeSerializer(StrictSerializer):
    name = _name(required=False)
    description = TextField(required=False, max_length=DESCRIPTION_MAX)
    splitting = SplittingSerializer(required=False)


class DatasetSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    project_id = serializers.CharField(source="project.project_id")
    description = serializers.CharField()
    task_type = serializers.CharField(help_text="Empty until the first entry.")
    published_version = serializers.IntegerField(source="published")
    working_version = serializers.IntegerField(source="working")
    splitting = serializers.JSONField()
    created_by = serializers.CharField()
    created_at = MomentField()
    updated_at = MomentField()


class DatasetsSerializer(serializers.Serializer[Any]):
    results = DatasetSerializer(many=True)
    next = serializers.CharField(allow_null=True)


class SummarySerializer(serializers.Serializer[Any]):
    """What a version holds. Of splits, those under no name have none."""

    version = serializers.IntegerField()
    is_published = serializers.BooleanField()
    note = serializers.CharField()
    published_at = MomentField(allow_null=True)
    published_by = serializers.CharField(allow_null=True)
    entries = serializers.IntegerField()
    inputs = serializers.IntegerField()
    bytes = serializers.IntegerField()
    without_labels = serializers.IntegerField()
    labels = serializers.DictField(child=serializers.IntegerField())
    splits = serializers.DictField(child=serializers.IntegerField())
    models = serializers.DictField(child=serializers.IntegerField())
    splitting = serializers.JSONField()


class VersionsSerializer(serializers.Serializer[Any]):
    results = SummarySerializer(many=True)
    next = serializers.CharField(allow_null=True)


class PublishSerializer(StrictSerializer):
    note = TextField(required=False, max_length=DESCRIPTION_MAX)


class EntrySerializer(serializers.Serializer[Any]):
    """An entry as it was added; ``presigned_url`` opens its input."""

    entry_id = serializers.IntegerField()
    model_id = serializers.CharField()
    inference_id = serializers.CharField()
    created_at = MomentField(help_text="When the inference happened.")
    added_at = MomentField()
    added_by = serializers.CharField()
    data_hash = serializers.CharField()
    data_size = serializers.IntegerField()
    split = serializers.CharField(allow_null=True)
    labels = serializers.ListField(child=serializers.CharField(), allow_null=True)
    ground_truth = serializers.JSONField(allow_null=True)
    metadata = serializers.JSONField()
    presigned_url = serializers.CharField(allow_null=True)

    def to_representation(self, entry: DatasetEntry) -> dict[str, Any]:
        moment = MomentField().to_representation
        return {
            "entry_id": entry.pk,
            "model_id": entry.model_id,
            "inference_id": entry.inference_id,
            "created_at": moment(entry.happened_at),
            "added_at": moment(entry.added_at),
            "added_by": entry.added_by,
            "data_hash": bytes(entry.data_hash).hex(),
            "data_size": entry.data_size,
            "split": entry.split,
            "labels": entry.labels,
            "ground_truth": entry.truth,
            "metadata": {
                key: {"type": type_, "value": text}
                for key, (type_, text) in entry.metadata.items()
            },
            "presigned_url": (
                blobs.presigned_url(entry.blob.storage_key) if entry.blob else None
            ),
        }


class EntriesSerializer(serializers.Serializer[Any]):
    results = EntrySerializer(many=True)
    next = serializers.CharField(allow_null=True)


class DistributionSerializer(serializers.Serializer[Any]):
    """Entries by split, and by label and split: of answers and of ground truth.

    The empty name has entries without a split. An entry counts once for a label.
    """

    entries = serializers.DictField(child=serializers.IntegerField())
    answers = serializers.DictField(
        child=serializers.DictField(child=serializers.IntegerField())
    )
    truths = serializers.DictField(
        child=serializers.DictField(child=serializers.IntegerField())
    )


class DuplicateEntrySerializer(serializers.Serializer[Any]):
    entry_id = serializers.IntegerField(source="pk")
    dataset = serializers.CharField(source="dataset.name")
    model_id = serializers.CharField()
    inference_id = serializers.CharField()
    has_ground_truth = serializers.SerializerMethodField()

    def get_has_ground_truth(self, entry: DatasetEntry) -> bool:
        return entry.truth is not None


class DuplicateGroupSerializer(serializers.Serializer[Any]):
    """Entries of one input, those with ground truth first; the first are named of ``count``.

    ``elsewhere`` has entries of other datasets. ``distance`` is set of inputs that are nearly
    equal: the largest between neighbours.
    """

    data_hash = serializers.CharField(
        help_text="Empty of inputs that are nearly equal."
    )
    count = serializers.IntegerField()
    entries = DuplicateEntrySerializer(many=True)
    elsewhere = DuplicateEntrySerializer(many=True)
    distance = serializers.FloatField(allow_null=True)


class DuplicatesSerializer(serializers.Serializer[Any]):
    results = DuplicateGroupSerializer(source="groups", many=True)
    next = serializers.CharField(allow_null=True)


class AdditionSerializer(StrictSerializer):
    """A selection of one model's inferences, as exports take it."""

    model_id = OutsideIdField()
    selection = serializers.DictField(required=False)
    skip_duplicates = FlagField(required=False, default=False)

    def to_internal_value(self, data: Any) -> Any:
        fields = super().to_internal_value(data)
        given = fields.get("selection") or {}
        try:
            selection: Selection = SelectionSerializer.parse_member(given)
        except serializers.ValidationError as error:
            raise serializers.ValidationError({"selection": error.detail}) from None
        return {**fields, "selection": selection, "asked": asked_of(given)}


class AddingTaskSerializer(serializers.Serializer[Any]):
    """``counts``: added, updated, unchanged, duplicates, skipped_duplicates, …"""

    id = serializers.CharField()
    model_id = serializers.CharField(source="model.model_id")
    state = serializers.ChoiceField(TaskState.choices)
    reason = serializers.CharField()
    selection = serializers.JSONField()
    skip_duplicates = serializers.BooleanField()
    expected_count = serializers.IntegerField()
    progress_count = serializers.IntegerField()
    rate = serializers.FloatField(allow_null=True)
    seconds_left = serializers.FloatField(allow_null=True)
    counts = serializers.DictField(child=serializers.IntegerField())
    created_by = serializers.CharField()
    created_at = MomentField()
    finished_at = MomentField(allow_null=True)


class RemovalSerializer(StrictSerializer):
    entry_ids = serializers.ListField(
        child=WholeField(), min_length=1, max_length=10_000
    )


class RemovedSerializer(serializers.Serializer[Any]):
    removed = serializers.IntegerField()


class MoveSerializer(StrictSerializer):
    entry_ids = serializers.ListField(
        child=WholeField(), min_length=1, max_length=10_000
    )
    split = TextField(max_length=40, allow_blank=False)


class MovedSerializer(serializers.Serializer[Any]):
    moved = serializers.IntegerField()


class LabelPairSerializer(serializers.Serializer[Any]):
    before = serializers.IntegerField()
    after = serializers.IntegerField()


class NamedEntrySerializer(serializers.Serializer[Any]):
    model_id = serializers.CharField()
    inference_id = serializers.CharField()
    labels_before = serializers.ListField(
        child=serializers.CharField(), allow_null=True
    )
    labels_after = serializers.ListField(child=serializers.CharField(), allow_null=True)


class ComparisonSerializer(serializers.Serializer[Any]):
    """Two versions; of each kind of difference the first hundred entries are named."""

    added = serializers.IntegerField()
    removed = serializers.IntegerField()
    changed = serializers.IntegerField()
    kept = serializers.IntegerField()
    labels = serializers.DictField(child=LabelPairSerializer())
    first_added = NamedEntrySerializer(many=True)
    first_removed = NamedEntrySerializer(many=True)
    first_changed = NamedEntrySerializer(many=True)

    def to_representation(self, found: Comparison) -> dict[str, Any]:
        pairs: dict[str, Sequence[tuple[DatasetEntry | None, DatasetEntry | None]]] = {
            "first_added": [(None, entry) for entry in found.first_added],
            "first_removed": [(entry, None) for entry in found.first_removed],
            "first_changed": found.first_changed,
        }
        return {
            "added": found.added,
            "removed": found.removed,
            "changed": found.changed,
            "kept": found.kept,
            "labels": {
                label: {"before": before, "after": after}
                for label, (before, after) in found.labels.items()
            },
            **{
                name: [_named(before, after) for before, after in entries]
                for name, entries in pairs.items()
            },
        }


def _named(before: DatasetEntry | None, after: DatasetEntry | None) -> dict[str, Any]:
    entry = after or before
    assert entry is not None  # one of a pair is there
    return {
        "model_id": entry.model_id,
        "inference_id": entry.inference_id,
        "labels_before": before and before.labels,
        "labels_after": after and after.labels,
    }


class NewArchiveSerializer(StrictSerializer):
    format = serializers.ChoiceField(
        [(name, each.title) for name, each in FORMATS.items()],
        default="chariot",
    )
    container = serializers.ChoiceField(Container.choices, default=Container.ZIP)
    split = TextField(required=False, max_length=40)
    include_annotations = FlagField(required=False, default=True)
    include_custom_metadata = FlagField(required=False, default=True)
    options = serializers.DictField(child=serializers.CharField(), **optional)

    def to_internal_value(self, data: Any) -> Any:
        fields = super().to_internal_value(data)
        more = fields.pop("options", None) or {}
        check_options(FORMATS[fields["format"]], more)
        flags = {
            "include_inferences_as_annotations": fields.pop("include_annotations"),
            "include_custom_metadata": fields.pop("include_custom_metadata"),
        }
        return {**fields, "options": {**more, **flags}}


class DatasetArchiveSerializer(serializers.Serializer[Any]):
    id = serializers.CharField()
    version = serializers.IntegerField()
    split = serializers.CharField()
    state = serializers.ChoiceField(TaskState.choices)
    reason = serializers.CharField()
    format = serializers.CharField()
    container = serializers.CharField()
    options = serializers.JSONField()
    expected_count = serializers.IntegerField()
    progress_count = serializers.IntegerField()
    rate = serializers.FloatField(allow_null=True)
    seconds_left = serializers.FloatField(allow_null=True)
    written_count = serializers.IntegerField(allow_null=True)
    skipped_by_reason = serializers.DictField(child=serializers.IntegerField())
    warnings = WarningSerializer(many=True)
    presigned_url = serializers.CharField(allow_null=True)
    archive_size = serializers.IntegerField(allow_null=True)
    archive_sha256 = serializers.CharField(allow_null=True)
    archive_expires_at = MomentField(allow_null=True)
    filename = serializers.CharField()
    created_by = serializers.CharField()
    created_at = MomentField()
    finished_at = MomentField(allow_null=True)

    def to_representation(self, task: DatasetArchive) -> dict[str, Any]:
        same = (
            *("version", "split", "state", "reason", "format", "container", "options"),
            *(
                "expected_count",
                "progress_count",
                "rate",
                "seconds_left",
                "archive_size",
            ),
            *("filename", "created_by"),
        )
        moment = MomentField().to_representation
        moments = ("archive_expires_at", "created_at", "finished_at")
        times = {name: getattr(task, name) for name in moments}
        link = blobs.presigned_url(task.archive_key) if task.has_archive else None
        return {
            "id": str(task.pk),
            **{name: getattr(task, name) for name in same},
            "written_count": task.receipt.get("written"),
            "skipped_by_reason": task.receipt.get("skipped_by_reason", {}),
            "warnings": task.receipt.get("warnings", []),
            "presigned_url": link,
            "archive_sha256": task.archive_sha256 or None,
            **{name: moment(at) if at else None for name, at in times.items()},
        }


class DatasetArchivesSerializer(serializers.Serializer[Any]):
    results = DatasetArchiveSerializer(many=True)
    next = serializers.CharField(allow_null=True)


class AddingTasksSerializer(serializers.Serializer[Any]):
    results = AddingTaskSerializer(many=True)
    next = serializers.CharField(allow_null=True)
