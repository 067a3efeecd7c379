"""Inference services and sessions as they are on the wire: what can be called, and runs.

A service is a model packaged behind an interface; a session is a running instance of it,
reached with a token of its own. Names are those of the wire (``inferenceService``), and
every object prints as JSON.
"""

from __future__ import annotations

from datetime import datetime, timezone
from enum import Enum
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    computed_field,
)

from inference_store.models.base import AnswerModel, RequestModel
from inference_store.models.enums import Word

__all__ = [
    "InferenceInterface",
    "InferenceRunner",
    "InferenceService",
    "InferenceServiceReference",
    "InferenceServiceStatus",
    "InferenceSession",
    "InferenceSessionAndToken",
    "InferenceSessionCreateRequest",
    "InferenceSessionStatus",
    "InferenceSessionTokenCreateRequest",
    "RunnerKind",
    "SchemaAdapter",
    "is_status_terminal",
]


class InferenceServiceStatus(Word):
    """What became of a service."""

    CREATED = "Created"
    ADMITTED = "Admitted"
    READY = "Ready"
    ERROR = "Error"


class InferenceSessionStatus(Word):
    """Where a session is. Ready is ready to answer; the last two are for good."""

    CREATED = "Created"
    ADMITTED = "Admitted"
    READY = "Ready"
    TERMINATED = "Terminated"
    ERROR = "Error"


class RunnerKind(Word):
    """What answers for a service."""

    MOCK = "mock"
    PROCESS = "process"
    URL = "url"


TERMINAL = frozenset({"Terminated", "Error", "Failed", "Deleted"})


def is_status_terminal(status: str | None) -> bool:
    """Whether a session of this status will never answer again.

    ``Ready`` is not terminal: a session that is ready is one to go on calling.

    Parameters:
        status: of an ``InferenceSession``, as its member or its text.

    Returns:
        True for ``Terminated``, ``Error`` and their further names ``Failed`` and
        ``Deleted``.
    """
    return (status.value if isinstance(status, Enum) else status) in TERMINAL


def _aware(moment: datetime) -> datetime:
    """A moment without an offset is UTC, as everywhere in the store."""
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


Moment = Annotated[datetime, AfterValidator(_aware)]


class _PrintsAsJSON(BaseModel):
    def json(self, **options: Any) -> str:  # type: ignore[override]
        """The object as JSON text, with the options of ``model_dump_json``."""
        return self.model_dump_json(**options)

    def __str__(self) -> str:
        return self.model_dump_json(indent=2)


class _Sent(_PrintsAsJSON, RequestModel):
    pass


class _Kept(_PrintsAsJSON, AnswerModel):
    pass


class SchemaAdapter(_Kept):
    """The description of one adapter; ``inference_store.adapters`` makes it work."""

    kind: str
    configuration: dict[str, Any] | None = None


class InferenceInterface(_Kept):
    """How to move data in and out of a service.

    ``endpoint`` is the name below ``infer/``; ``outputSchema`` the JSON schema of what
    the service answers; the pipelines translate between the caller's form and the
    service's, on the caller's side.
    """

    endpoint: str
    outputSchema: dict[str, Any] = Field(default_factory=dict)
    inputPipeline: list[SchemaAdapter] | None = None
    outputPipeline: list[SchemaAdapter] | None = None


class InferenceRunner(_Kept):
    """What answers for a service: a mock by its name, a process, a server by its URL."""

    kind: RunnerKind | str = Field(union_mode="left_to_right")
    mock: str | None = None
    options: dict[str, Any] = Field(default_factory=dict)


class InferenceServiceReference(_Kept):
    """A service as a session carries it."""

    id: str
    name: str = ""
    model: Any = None
    interface: InferenceInterface
    runner: InferenceRunner | None = None


class InferenceService(InferenceServiceReference):
    """A model packaged behind an interface. A status not known here stays its text."""

    account: str = ""
    status: InferenceServiceStatus | str = Field(
        InferenceServiceStatus.CREATED, union_mode="left_to_right"
    )
    reason: str | None = None
    creationTime: Moment | None = None


class InferenceSession(_Kept):
    """A running instance of a service."""

    id: str
    account: str = ""
    inferenceService: InferenceServiceReference
    replicas: int = 1
    expires: Moment | None = None
    status: InferenceSessionStatus | str = Field(
        InferenceSessionStatus.CREATED, union_mode="left_to_right"
    )
    reason: str | None = None
    creationTime: Moment | None = None


class InferenceSessionCreateRequest(_Sent):
    """Asks for a running instance of the service with the id ``inferenceService``.

    It ends at ``expires`` when that is given, and answers from ``replicas`` instances.
    """

    account: str
    inferenceService: str
    replicas: int = Field(1, ge=1, le=64)
    expires: Moment | None = None


class InferenceSessionTokenCreateRequest(_Sent):
    """Asks for another token of a session, which ends with it unless said otherwise."""

    expires: Moment | None = None


class InferenceSessionAndToken(_Kept):
    """What creating a session gives: the session, and the token that reaches it alone.

    The token is shown this once. It has the older name ``session``, too.
    """

    # Else the older name would be kept beside the property.
    model_config = ConfigDict(extra="ignore")

    inferencesession: InferenceSession
    token: str = Field(validation_alias=AliasChoices("token", "session"))

    @computed_field  # type: ignore[prop-decorator]
    @property
    def session(self) -> str:
        return self.token
