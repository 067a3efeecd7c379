"""Inference services and sessions as the API has them.

A service is a model behind an interface. A session is a running instance of a service,
with a token of its own. Field names are those of the wire (``inferenceService``), and
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
    """The status of a service."""

    CREATED = "Created"
    ADMITTED = "Admitted"
    READY = "Ready"
    ERROR = "Error"


class InferenceSessionStatus(Word):
    """The status of a session. ``Ready`` can be called; the last two are terminal."""

    CREATED = "Created"
    ADMITTED = "Admitted"
    READY = "Ready"
    TERMINATED = "Terminated"
    ERROR = "Error"


class RunnerKind(Word):
    """The kind of runner that answers for a service."""

    MOCK = "mock"
    PROCESS = "process"
    URL = "url"


TERMINAL = frozenset({"Terminated", "Error", "Failed", "Deleted"})


def is_status_terminal(status: str | None) -> bool:
    """Return whether a session with this status will never answer again.

    ``Ready`` is not terminal: a ready session can be called.

    Parameters:
        status: the status of an ``InferenceSession``, as a member or its text.

    Returns:
        True for ``Terminated``, ``Error`` and their aliases ``Failed`` and ``Deleted``.
    """
    return (status.value if isinstance(status, Enum) else status) in TERMINAL


def _aware(moment: datetime) -> datetime:
    """Return a time with an offset: one without is UTC, as everywhere in the store."""
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


Moment = Annotated[datetime, AfterValidator(_aware)]


class _PrintsAsJSON(BaseModel):
    def json(self, **options: Any) -> str:
        """Return the object as JSON text; takes the options of ``model_dump_json``."""
        return self.model_dump_json(**options)

    def __str__(self) -> str:
        return self.model_dump_json(indent=2)


class _Request(_PrintsAsJSON, RequestModel):
    pass


class _Response(_PrintsAsJSON, AnswerModel):
    pass


class SchemaAdapter(_Response):
    """The description of one adapter; ``inference_store.adapters.create_adapter`` creates it."""

    kind: str
    configuration: dict[str, Any] | None = None


class InferenceInterface(_Response):
    """The interface of a service: how to call it, and what it answers.

    ``endpoint`` is the name below ``infer/``. ``outputSchema`` is the JSON schema of the
    service's answer. The pipelines translate between the caller's form and the service's
    form, and run on the caller's side.
    """

    endpoint: str
    outputSchema: dict[str, Any] = Field(default_factory=dict)
    inputPipeline: list[SchemaAdapter] | None = None
    outputPipeline: list[SchemaAdapter] | None = None


class InferenceRunner(_Response):
    """The runner of a service: a mock by its name, a process, or a server by its URL."""

    kind: RunnerKind | str = Field(union_mode="left_to_right")
    mock: str | None = None
    options: dict[str, Any] = Field(default_factory=dict)


class InferenceServiceReference(_Response):
    """The fields of a service that a session includes."""

    id: str
    name: str = ""
    model: Any = None
    interface: InferenceInterface
    runner: InferenceRunner | None = None


class InferenceService(InferenceServiceReference):
    """A model behind an interface. A status that is unknown here stays a text."""

    account: str = ""
    status: InferenceServiceStatus | str = Field(
        InferenceServiceStatus.CREATED, union_mode="left_to_right"
    )
    reason: str | None = None
    creationTime: Moment | None = None


class InferenceSession(_Response):
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


class InferenceSessionCreateRequest(_Request):
    """A request to start a session of the service with the id ``inferenceService``.

    The session ends at ``expires`` if that is given, and has ``replicas`` instances.
    """

    account: str
    inferenceService: str
    replicas: int = Field(1, ge=1, le=64)
    expires: Moment | None = None


class InferenceSessionTokenCreateRequest(_Request):
    """A request for a further token; it expires with the session unless ``expires`` is given."""

    expires: Moment | None = None


class InferenceSessionAndToken(_Response):
    """The result of creating a session: the session, and the token for this session alone.

    The token is shown only once. The session is also available by its older name ``session``.
    """

    # Without this the older name would be stored as a field beside the property.
    model_config = ConfigDict(extra="ignore")

    inferencesession: InferenceSession
    token: str = Field(validation_alias=AliasChoices("token", "session"))

    @computed_field  # type: ignore[prop-decorator]  # mypy knows no decorated property
    @property
    def session(self) -> str:
        return self.token
