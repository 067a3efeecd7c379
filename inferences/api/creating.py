"""Storing without the proxy: uploads, one create, many creates."""

from __future__ import annotations

from typing import Any, ClassVar

from django.conf import settings
from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from inferences.api.json_rows import new_to_json, to_json
from inferences.api.quick_creations import read_quickly
from inferences.api.serializers import InferenceSerializer
from inferences.api.views import InferencesView, InferenceView
from inferences.imports.gaps import read_line, without_gaps
from inferences.models import InferenceAction, MetadataType, RegisteredModel, TaskType
from inferences.models.metadata_values import MetadataValue
from inferences.predictions.model_types import BY_KIND, LISTED
from inferences.store import uploads
from inferences.store.api.scoped_views import StoreView
from inferences.store.creation import (
    Creation,
    compose,
    create,
    create_one,
    record_batch,
)
from inferences.store.reading import find_inference
from inferences.store.recording import NewInference, Outcome
from istore.api.fields import (
    FlagField,
    HashField,
    LabelField,
    MomentField,
    NumberField,
    OutsideIdField,
    TextField,
    WholeField,
)
from istore.api.schema import PROBLEMS
from istore.api.serializers import (
    DictField,
    ListField,
    StrictSerializer,
    ValueSerializer,
    invalid,
    optional,
)
from istore.db import clock
from istore.errors import Conflict, Invalid, StoreError, TooLarge
from istore.json_text import read_json

BATCH_MAX = 1000
NAMED_MOST, EMBEDDINGS_MOST = 1000, 20


class MetadataValueSerializer(ValueSerializer):
    """One metadata value as a caller gives it."""

    value_class = MetadataValue

    key = TextField(
        max_length=settings.ISTORE_METADATA_KEY_MAX_CHARS, allow_blank=False
    )
    type = serializers.ChoiceField(MetadataType.choices)
    value = TextField(source="text")


class StandardMetadataSerializer(StrictSerializer):
    data_hash = HashField()
    data_size = WholeField(min_value=0, max_value=2**63 - 1)
    task_type = serializers.ChoiceField(TaskType.choices)
    inference_action = LabelField(InferenceAction)
    data_source = TextField(max_length=255, **optional)
    latitude = NumberField(min_value=-90, max_value=90, **optional)
    longitude = NumberField(min_value=-180, max_value=180, **optional)


class MetadataCollectionSerializer(StrictSerializer):
    standard_metadata = StandardMetadataSerializer()
    # The length is an argument of the list that DRF makes of it.
    extended_metadata = MetadataValueSerializer(  # type: ignore[call-arg]
        many=True, required=False, max_length=settings.ISTORE_METADATA_MAX_ITEMS
    )


@extend_schema_field(
    {
        "type": ["object", "array", "number", "string"],
        "description": "See docs/model-types.md.",
    }
)
class PartField(serializers.JSONField):
    """An answer in a form of its own; what cannot be read of it is found when it is
    taken apart."""


class NamedField(DictField):
    """Values by their names, so many at most."""

    def __init__(self, *, most: int, **options: Any) -> None:
        super().__init__(**options)
        self.most = most

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict) and (
            len(data) > self.most or not all(map(str.strip, data))
        ):
            raise invalid(f"1 to {self.most} members, each with a name.")
        return super().to_internal_value(data)


def _items() -> ListField:
    return ListField(
        child=DictField(),
        max_length=settings.ISTORE_DETECTIONS_MAX,
        **optional,
    )


class CollectionSerializer(StrictSerializer):
    """The answer, taken apart by the caller, and its metadata."""

    embedding = ListField(
        child=NumberField(), max_length=settings.ISTORE_EMBEDDING_MAX, **optional
    )
    # Beside the answer, whatever it is.
    shap_values = NamedField(child=NumberField(), most=NAMED_MOST, **optional)
    embeddings = NamedField(
        child=ListField(child=NumberField(), max_length=settings.ISTORE_EMBEDDING_MAX),
        most=EMBEDDINGS_MOST,
        **optional,
    )
    inputs = NamedField(most=NAMED_MOST, **optional)
    metadata = MetadataCollectionSerializer()

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        """Return the declared fields, and one for the part of every model type."""
        parts: dict[str, serializers.Field[Any, Any, Any, Any]] = {
            str(kind): _items() if kind in LISTED else PartField(**optional)
            for kind in BY_KIND
        }
        return parts | super().get_fields()


class CreationSerializer(StrictSerializer):
    """``NewInferenceStorageRequest``; the body may also be an upload of its own."""

    model_id = OutsideIdField(required=False)
    inference_id = OutsideIdField()
    data: Any = CollectionSerializer(**optional)
    data_storage_key = TextField(max_length=1024, **optional)
    metadata_storage_key = TextField(max_length=1024, **optional)
    is_protected = FlagField(required=False, default=False)
    created_at = MomentField(**optional)


def read_creation(model: RegisteredModel, body: Any) -> Creation:
    """The create a body says, or the 400 that names what is wrong with it."""
    return read_quickly(model, body) or read_carefully(model, body)


def read_frame_row(model: RegisteredModel, body: Any) -> Creation:
    """As ``read_creation``, of a body that may have gaps in its metadata (``gaps``)."""
    try:
        return read_creation(model, body)
    except StoreError:
        closed = without_gaps(body)
        if closed is body:
            raise
        return read_creation(model, closed)


def read_carefully(model: RegisteredModel, body: Any) -> Creation:
    """As ``read_creation``, by the serializers alone."""
    values = CreationSerializer.parse(body)
    if values.get("model_id", model.model_id) != model.model_id:
        raise Invalid("Not the model of the address.", "model_id")
    collection, uploaded = values.get("data"), values.get("metadata_storage_key")
    if (collection is None) == (uploaded is None):
        raise Invalid("Either this or metadata_storage_key is needed.", "data")
    if uploaded is not None:
        content = read_json(uploads.read_upload(model, uploaded, uploads.METADATA))
        collection = CollectionSerializer.parse(content)
    metadata = collection.pop("metadata")
    standard = metadata["standard_metadata"]
    standard.pop("task_type")  # the model's own is what counts
    try:
        return Creation(
            inference_id=values["inference_id"],
            parts={name: part for name, part in collection.items() if part is not None},
            metadata=tuple(metadata.get("extended_metadata") or ()),
            data_storage_key=values.get("data_storage_key"),
            created_at=values.get("created_at"),
            is_protected=values["is_protected"],
            **standard,
        )
    except ValueError as error:
        raise Invalid(str(error)) from None


class NewInferenceView(InferencesView):
    """The list of a model's inferences, and storing another."""

    @extend_schema(
        operation_id="create_inference",
        request=CreationSerializer,
        responses={200: InferenceSerializer, 201: InferenceSerializer, **PROBLEMS},
    )
    def post(self, request: Request, model_id: str) -> HttpResponse:
        model = self.registered_model(model_id)
        wanted = read_creation(model, request.data)
        new, row_id, outcome = create_one(self.caller, model, wanted, self.came_at())
        if row_id is not None:
            return self.respond(new_to_json(model, new, row_id), status=201)
        found = find_inference(model, new.inference_id)
        if found is None:  # removed between the two
            raise Conflict("inference-deleted", "It was removed at this moment.")
        status = 201 if outcome is Outcome.NEW else 200
        return self.respond(to_json(found), status=status)


class LinesParser(BaseParser):
    """One JSON value a line; a line is read when its turn comes."""

    media_type = "application/x-ndjson"

    def parse(
        self, stream: Any, media_type: str | None = None, context: Any = None
    ) -> Any:
        body = stream.read(settings.ISTORE_API_MAX_BODY_BYTES + 1)
        if len(body) > settings.ISTORE_API_MAX_BODY_BYTES:
            raise TooLarge("body-too-large", "The body is too large.")
        return [line for line in body.split(b"\n") if line.strip()]


class BatchResultSerializer(serializers.Serializer[Any]):
    """What became of one line: ``created``, ``exists`` or ``refused`` with why."""

    inference_id = serializers.CharField(allow_null=True)
    status = serializers.ChoiceField(["created", "exists", "refused"])
    code = serializers.CharField(required=False)
    detail = serializers.CharField(required=False)


class BatchSerializer(serializers.Serializer[Any]):
    results = BatchResultSerializer(many=True)


class BatchView(InferenceView):
    """Up to 1,000 creates as NDJSON: each line is stored or refused by itself."""

    inference_id = "batch"  # a caller may have chosen it for an inference
    parser_classes = (LinesParser,)

    @extend_schema(
        operation_id="create_inferences",
        request={"application/x-ndjson": OpenApiTypes.STR},
        responses={200: BatchSerializer, **PROBLEMS},
    )
    def post(self, request: Request, model_id: str) -> Response:
        model = self.registered_model(model_id)
        lines: Any = request.data
        if not lines or len(lines) > BATCH_MAX:
            raise Invalid(f"A batch has 1 to {BATCH_MAX} lines.")
        return Response({"results": _stored_lines(self.caller, model, lines)})


def _stored_lines(
    caller: object, model: RegisteredModel, lines: list[bytes]
) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = [{} for _ in lines]
    waiting: dict[str, tuple[int, NewInference]] = {}
    now = clock.now()
    for number, line in enumerate(lines):
        try:
            wanted = read_frame_row(model, read_line(line))
            if wanted.data_storage_key or wanted.inference_id in waiting:
                # An upload is bound alone; of an id that stands twice the first is met.
                _record(caller, model, waiting, results)
                results[number] = _result(*create(caller, model, wanted))
            else:
                waiting[wanted.inference_id] = number, compose(model, wanted, now)
        except StoreError as error:
            results[number] = _refusal_body(error)
    _record(caller, model, waiting, results)
    return results


def _record(
    caller: object,
    model: RegisteredModel,
    waiting: dict[str, tuple[int, NewInference]],
    results: list[dict[str, Any]],
) -> None:
    """Store what waits, tell of it, and leave nothing waiting."""
    if waiting:
        batch = [new for _, new in waiting.values()]
        for inference_id, outcome in record_batch(caller, model, batch).items():
            number, _ = waiting[inference_id]
            results[number] = _result(inference_id, outcome)
        waiting.clear()


def _result(inference_id: str, outcome: Outcome) -> dict[str, Any]:
    if outcome is Outcome.NEW:
        return {"inference_id": inference_id, "status": "created"}
    if outcome is Outcome.COPY:
        return {"inference_id": inference_id, "status": "exists"}
    other = outcome is Outcome.OTHER
    code = "inference-exists" if other else "inference-deleted"
    why = "Stored with other content." if other else "It was removed."
    return {
        "inference_id": inference_id,
        "status": "refused",
        "code": code,
        "detail": why,
    }


def _refusal_body(error: StoreError) -> dict[str, Any]:
    return {
        "inference_id": None,
        "status": "refused",
        "code": error.code,
        "detail": str(error),
    }


class DataUploadSerializer(serializers.Serializer[Any]):
    data_presigned_url = serializers.CharField()
    data_storage_key = serializers.CharField()


class MetadataUploadSerializer(serializers.Serializer[Any]):
    metadata_presigned_url = serializers.CharField()
    metadata_storage_key = serializers.CharField()


class UploadsView(StoreView):
    """A place to PUT an input, or a whole ``NewInferenceAndMetadataCollection``."""

    kinds: ClassVar = {"data": uploads.DATA, "metadata": uploads.METADATA}
    kind = "data"

    @extend_schema(
        operation_id="upload_data",
        request=None,
        responses={201: DataUploadSerializer, **PROBLEMS},
    )
    def post(self, request: Request, model_id: str) -> Response:
        model = self.registered_model(model_id)
        place = uploads.grant(self.caller, model, self.kinds[self.kind])
        content = {
            f"{self.kind}_presigned_url": place.url,
            f"{self.kind}_storage_key": place.storage_key,
        }
        return Response(content, status=201)


class MetadataUploadsView(UploadsView):
    kind = "metadata"

    @extend_schema(
        operation_id="upload_inference_and_metadata",
        request=None,
        responses={201: MetadataUploadSerializer, **PROBLEMS},
    )
    def post(self, request: Request, model_id: str) -> Response:
        return super().post(request, model_id)


class AnyParser(BaseParser):
    """Leaves the body where it is, to be read in pieces."""

    media_type = "*/*"

    def parse(
        self, stream: Any, media_type: str | None = None, context: Any = None
    ) -> Any:
        return stream


class ReceiveUploadView(APIView):
    """Where a local store's upload links lead; the link itself is the permission."""

    authentication_classes = ()
    permission_classes = ()
    throttle_classes = ()
    parser_classes = (AnyParser,)
    takes_files = True
    passes_on = True  # bytes are kept as they are
    schema = None

    def put(self, request: Request) -> HttpResponse:
        row = uploads.granted_by(request.query_params.get("signature", ""))
        length = request.META.get("CONTENT_LENGTH") or ""
        stated = int(length) if length.isdecimal() else None
        uploads.receive(row, request._request.read, stated)
        return HttpResponse(status=204)
