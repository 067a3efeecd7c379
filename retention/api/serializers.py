"""Serializers of retention policies and tasks, with the field names of the contract."""

from __future__ import annotations

from typing import Any, Self

from rest_framework import serializers

from inferences.search.api.filter_serializers import (
    TaskPaginationSerializer,
    TimeWindowSerializer,
)
from istore.api.fields import FlagField, MomentField, TextField, WholeField
from istore.api.serializers import StrictSerializer, invalid, optional
from istore.tasks.tracking import TaskState
from retention.models import (
    HOURS_MOST,
    KEEP,
    DeleteAction,
    Limits,
    RetentionPolicy,
    RetentionTask,
)
from retention.policies import contradiction
from retention.surveying import Part, Survey


def _hours(least: int, **options: Any) -> WholeField:
    return WholeField(min_value=least, max_value=HOURS_MOST, **options)


class AgesSerializer(StrictSerializer):
    """How long records and inputs are kept, in hours; -1 keeps records for good."""

    maximum_record_age = _hours(KEEP)
    maximum_blob_age = _hours(0)

    def validate(self, values: dict[str, Any]) -> dict[str, Any]:
        why = contradiction(values["maximum_record_age"], values["maximum_blob_age"])
        if why:
            raise invalid(why, "maximum_blob_age")
        return values


class NewRetentionPolicySerializer(AgesSerializer):
    automated_interval = _hours(0)
    delete_action = serializers.ChoiceField(
        DeleteAction.values, default=DeleteAction.SOFT
    )


class RetentionPreviewQuerySerializer(AgesSerializer):
    """What a policy of these ages would remove; a policy's other members change nothing."""

    automated_interval = _hours(0, required=False)
    delete_action = serializers.ChoiceField(DeleteAction.values, required=False)


class RetentionPolicySerializer(serializers.Serializer[Any]):
    id = serializers.CharField()
    model_id = serializers.CharField()
    delete_action = serializers.ChoiceField(DeleteAction.values)
    maximum_record_age = serializers.IntegerField()
    maximum_blob_age = serializers.IntegerField()
    automated_interval = serializers.IntegerField()
    last_scheduled_at = MomentField(allow_null=True)
    next_at = MomentField(allow_null=True)
    created_at = MomentField()
    updated_at = MomentField()

    def to_representation(self, policy: RetentionPolicy) -> dict[str, Any]:
        written = super().to_representation(policy)
        return written | {"model_id": policy.model.model_id}


class DeletedPolicySerializer(serializers.Serializer[Any]):
    id = serializers.CharField()


class NewRetentionTaskSerializer(StrictSerializer):
    dry_run = FlagField()
    retention_policy_id = TextField(max_length=255, allow_blank=False)


class RetentionTaskSerializer(serializers.Serializer[Any]):
    """A run of a policy: how far it is, and afterwards the receipt of it."""

    id = serializers.CharField()
    retention_policy_id = serializers.CharField(source="policy_id")
    model_id = serializers.CharField()
    dry_run = serializers.BooleanField()
    state = serializers.ChoiceField(TaskState.choices)
    reason = serializers.CharField(help_text="Why it failed or stopped.")
    requested_by = serializers.CharField()
    total_record_count = serializers.IntegerField()
    total_blob_count = serializers.IntegerField()
    total_bytes = serializers.IntegerField()
    deleted_record_count = serializers.IntegerField()
    deleted_blob_count = serializers.IntegerField()
    deleted_bytes = serializers.IntegerField()
    deleted_pack_count = serializers.IntegerField(
        help_text="Packs of an object store that held nothing else, and are deleted."
    )
    rewritten_pack_count = serializers.IntegerField(
        help_text="Packs of an object store that were rewritten without what is removed."
    )
    given_back_bytes = serializers.IntegerField(help_text="In those packs.")
    protected_record_count = serializers.IntegerField()
    protected_blob_count = serializers.IntegerField()
    maximum_record_age_limit = MomentField()
    maximum_blob_age_limit = MomentField()
    maximum_record_age = serializers.IntegerField()
    maximum_blob_age = serializers.IntegerField()
    delete_action = serializers.ChoiceField(DeleteAction.values)
    created_at = MomentField()
    started_at = MomentField(allow_null=True)
    finished_at = MomentField(allow_null=True)
    updated_at = MomentField()
    rate = serializers.FloatField(
        allow_null=True, help_text="Records and inputs a second."
    )
    seconds_left = serializers.FloatField(allow_null=True)

    def to_representation(self, task: RetentionTask) -> dict[str, Any]:
        written = super().to_representation(task)
        return written | {"model_id": task.model.model_id}


class RetentionTasksSerializer(serializers.Serializer[Any]):
    """One page; ``next`` is the cursor of the one after it."""

    results = RetentionTaskSerializer(many=True)
    next = serializers.CharField(allow_null=True)


class RetentionTasksQuerySerializer(StrictSerializer):
    """Which of a model's tasks, oldest first unless ``direction`` is desc."""

    retention_policy_id = TextField(max_length=255, **optional)
    state_filter = serializers.ChoiceField(TaskState.choices, **optional)
    time_window_filter = TimeWindowSerializer(**optional)
    pagination = TaskPaginationSerializer(**optional)


class PartSerializer(serializers.Serializer[Any]):
    count = serializers.IntegerField()
    oldest = MomentField(allow_null=True)
    newest = MomentField(allow_null=True)


class InputsSerializer(PartSerializer):
    bytes = serializers.IntegerField()


class DaySerializer(serializers.Serializer[Any]):
    day = serializers.DateField()
    records = serializers.IntegerField()
    inputs = serializers.IntegerField()


class RetentionPreviewSerializer(serializers.Serializer[Any]):
    """What would go now, and what stays because it is protected."""

    maximum_record_age_limit = MomentField()
    maximum_blob_age_limit = MomentField()
    records = PartSerializer()
    inputs = InputsSerializer()
    protected_records = PartSerializer()
    protected_inputs = InputsSerializer()
    days = DaySerializer(many=True)
    is_exact = serializers.BooleanField(help_text="False: at least so much.")

    @classmethod
    def telling(cls, limits: Limits, found: Survey) -> Self:
        return cls(
            {
                "maximum_record_age_limit": limits.records,
                "maximum_blob_age_limit": limits.inputs,
                "records": _part(found.records),
                "inputs": _part(found.inputs),
                "protected_records": _part(found.protected_records),
                "protected_inputs": _part(found.protected_inputs),
                "days": [
                    {"day": day, "records": records, "inputs": inputs}
                    for day, (records, inputs) in found.days.items()
                ],
                "is_exact": found.is_exact,
            }
        )


def _part(part: Part) -> dict[str, Any]:
    return {
        "count": part.count,
        "bytes": part.bytes,
        "oldest": part.oldest,
        "newest": part.newest,
    }
