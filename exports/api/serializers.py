"""Serializers of export tasks, with the field names of the contract."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from rest_framework import serializers

from exports.api.selections import SelectionSerializer, asked_of, selection_of
from exports.formats import FORMATS, Format
from exports.models import Container, ExportTask
from exports.task_lifecycle import Wanted
from inferences.search.api.filter_serializers import (
    FilteredSerializer,
    TaskPaginationSerializer,
    TimeWindowSerializer,
)
from istore import blobs
from istore.api.fields import FlagField, MomentField
from istore.api.serializers import StrictSerializer, invalid, optional
from istore.json_text import format_moment
from istore.tasks.tracking import TaskState


class NewExportTaskSerializer(SelectionSerializer):
    """Reads into a ``Wanted``."""

    include_inferences_as_annotations = FlagField(required=False, default=False)
    include_custom_metadata = FlagField(required=False, default=False)
    format = serializers.ChoiceField(
        [(name, each.title) for name, each in FORMATS.items()], default="chariot"
    )
    container = serializers.ChoiceField(Container.choices, default=Container.ZIP)
    options = serializers.DictField(child=serializers.CharField(), **optional)

    def to_internal_value(self, data: Any) -> Wanted:
        fields = FilteredSerializer.to_internal_value(self, data)
        flags = ("include_inferences_as_annotations", "include_custom_metadata")
        more = fields.get("options") or {}
        check_options(FORMATS[fields["format"]], more)
        return Wanted(
            selection=selection_of(fields),
            asked=asked_of(data),
            format=fields["format"],
            container=fields["container"],
            options={**more, **{name: fields[name] for name in flags}},
        )


def check_options(wanted: type[Format], given: dict[str, str]) -> None:
    """Raise a 400 for an option that the format does not have, or for an unknown value."""
    for name, value in given.items():
        if name not in wanted.choices:
            raise invalid(
                "The format has no such option.", "options", name, code="unknown-field"
            )
        if value not in wanted.choices[name]:
            known = ", ".join(wanted.choices[name])
            raise invalid(f"One of {known}.", "options", name)


class WarningSerializer(serializers.Serializer[Any]):
    code = serializers.CharField()
    count = serializers.IntegerField()
    message = serializers.CharField()


class SkippedSerializer(serializers.Serializer[Any]):
    inference_id = serializers.CharField()
    reason = serializers.CharField()


class ExportTaskSerializer(serializers.Serializer[Any]):
    """A task as it is now; ``presigned_url`` is signed anew for each answer."""

    id = serializers.CharField()
    model_id = serializers.CharField()
    state = serializers.ChoiceField(TaskState.choices)
    reason = serializers.CharField(allow_null=True, help_text="Why it failed.")
    format = serializers.CharField()
    container = serializers.ChoiceField(Container.choices)
    options = serializers.JSONField()
    selection = serializers.JSONField()
    expected_count = serializers.IntegerField()
    progress_count = serializers.IntegerField()
    rate = serializers.FloatField(allow_null=True, help_text="Inferences a second.")
    seconds_left = serializers.FloatField(allow_null=True)
    written_count = serializers.IntegerField(allow_null=True)
    skipped_count = serializers.IntegerField(allow_null=True)
    skipped_by_reason = serializers.DictField(child=serializers.IntegerField())
    first_skipped = SkippedSerializer(many=True)
    warnings = WarningSerializer(many=True)
    presigned_url = serializers.CharField(allow_null=True)
    archive_size = serializers.IntegerField(allow_null=True)
    archive_sha256 = serializers.CharField(allow_null=True)
    archive_expires_at = MomentField(allow_null=True)
    filename = serializers.CharField(allow_null=True)
    created_by = serializers.CharField()
    created_at = MomentField()
    started_at = MomentField(allow_null=True)
    finished_at = MomentField(allow_null=True)
    updated_at = MomentField()

    def to_representation(self, task: ExportTask) -> dict[str, Any]:
        receipt = task.receipt
        written = {
            name: getattr(task, name)
            for name in (
                *("state", "format", "container", "options", "selection"),
                *("expected_count", "progress_count", "rate", "seconds_left"),
                *("archive_size", "created_by"),
            )
        }
        moments = ("created_at", "started_at", "finished_at", "updated_at")
        times = {name: _moment(getattr(task, name)) for name in moments}
        here = task.has_archive
        return {
            "id": str(task.pk),
            "model_id": task.model.model_id,
            **written,
            "reason": task.reason or None,
            "written_count": receipt.get("written"),
            "skipped_count": receipt.get("skipped"),
            "skipped_by_reason": receipt.get("skipped_by_reason", {}),
            "first_skipped": receipt.get("first_skips", []),
            "warnings": receipt.get("warnings", []),
            "presigned_url": blobs.presigned_url(task.archive_key) if here else None,
            "archive_sha256": task.archive_sha256 or None,
            "archive_expires_at": _moment(task.archive_expires_at),
            "filename": task.filename if here else None,
            **times,
        }


def _moment(value: datetime | None) -> str | None:
    return format_moment(value) if value else None


class ExportTasksSerializer(serializers.Serializer[Any]):
    """One page; ``next`` is the cursor of the one after it."""

    results = ExportTaskSerializer(many=True)
    next = serializers.CharField(allow_null=True)


class ExportTasksQuerySerializer(StrictSerializer):
    """Which of a model's tasks, oldest first unless ``direction`` is desc."""

    state_filter = serializers.ChoiceField(TaskState.choices, **optional)
    format_filter = serializers.ChoiceField(list(FORMATS), **optional)
    time_window_filter = TimeWindowSerializer(**optional)
    pagination = TaskPaginationSerializer(**optional)


class FormatSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    title = serializers.CharField()
    description = serializers.CharField()
    annotations_are_optional = serializers.BooleanField()
    metadata_is_optional = serializers.BooleanField()
    options = serializers.DictField(
        child=serializers.ListField(child=serializers.CharField())
    )

    def to_representation(self, each: type[Format]) -> dict[str, Any]:
        return {
            "name": each.name,
            "title": each.title,
            "description": each.description,
            "annotations_are_optional": each.annotations_are_optional,
            "metadata_is_optional": each.metadata_is_optional,
            "options": {name: list(values) for name, values in each.choices.items()},
        }


class FormatsSerializer(serializers.Serializer[Any]):
    results = FormatSerializer(many=True)
    next = serializers.CharField(allow_null=True)
