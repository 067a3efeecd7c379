"""The tables of the store: registered models, their inferences and typed metadata.

An inference is two rows. ``Inference`` is narrow and holds every column that filters read.
``InferencePayload`` holds the bytes that only a page of fifty needs. Both tables are
partitioned by id (``store.partitions``). ``store.recording`` writes them and
``store.removal`` deletes them. ``save()`` and ``delete()`` must not be used: they go by the
id alone, and two models may have rows with the same id.

Zone maps let a page skip ranges of ids that cannot match, and a count add up summaries. They
have tables of their own (``search.zone_maps``); writes tell them (``store.segment_touches``).
"""

from inferences.models.choices import (
    ONE_CLASS,
    BoxFormat,
    InferenceAction,
    MetadataKind,
    MetadataType,
    TaskType,
)
from inferences.models.embedding_maps import MapBasis, MapPoint, MapTask
from inferences.models.erasure import ErasedInference, ErasureTask
from inferences.models.fields import SLOT_TYPES, SLOTS, RealField
from inferences.models.ground_truth import (
    GroundTruth,
    GroundTruthQuerySet,
    GroundTruthVersion,
    PendingTruth,
    TruthFile,
)
from inferences.models.inference import Inference, InferenceKey, InferenceQuerySet
from inferences.models.metadata import (
    LabelName,
    MetadataChange,
    MetadataKey,
    MetadataKeyCount,
    SourceName,
    WordOfModel,
)
from inferences.models.registered_model import (
    CHOICES_MOST,
    OF_PROJECT,
    RegisteredModel,
    RegisteredModelQuerySet,
)
from inferences.models.saved_view import PinnedModel, SavedView
from inferences.models.searched_texts import InferenceText, TextIndexTask, TextSide
from inferences.models.side_rows import (
    ClassProbability,
    Detection,
    Embedding,
    InferencePayload,
    OverflowNumber,
    OverflowText,
    RecentEmbedding,
    SideRow,
    SideRowQuerySet,
)
from inferences.models.token_price import TokenPrice
from inferences.models.upload_grant import UploadGrant
from inferences.models.zone_maps import Segment, SegmentGroup, SegmentTouch

__all__ = [
    "CHOICES_MOST",
    "OF_PROJECT",
    "ONE_CLASS",
    "SLOTS",
    "SLOT_TYPES",
    "BoxFormat",
    "ClassProbability",
    "Detection",
    "Embedding",
    "ErasedInference",
    "ErasureTask",
    "GroundTruth",
    "GroundTruthQuerySet",
    "GroundTruthVersion",
    "Inference",
    "InferenceAction",
    "InferenceKey",
    "InferencePayload",
    "InferenceQuerySet",
    "InferenceText",
    "LabelName",
    "MapBasis",
    "MapPoint",
    "MapTask",
    "MetadataChange",
    "MetadataKey",
    "MetadataKeyCount",
    "MetadataKind",
    "MetadataType",
    "OverflowNumber",
    "OverflowText",
    "PendingTruth",
    "PinnedModel",
    "RealField",
    "RecentEmbedding",
    "RegisteredModel",
    "RegisteredModelQuerySet",
    "SavedView",
    "Segment",
    "SegmentGroup",
    "SegmentTouch",
    "SideRow",
    "SideRowQuerySet",
    "SourceName",
    "TaskType",
    "TextIndexTask",
    "TextSide",
    "TokenPrice",
    "TruthFile",
    "UploadGrant",
    "WordOfModel",
]
