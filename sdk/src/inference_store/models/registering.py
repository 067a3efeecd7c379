"""Registered models."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from inference_store.connection import get_client
from inference_store.errors import NotFound
from inference_store.model_calls import Answer, CustomMetadata, ModelCalls
from inference_store.models.base import AnswerModel, RequestModel
from inference_store.models.enums import TaskType
from inference_store.requests import Call, get, one
from inference_store.sender import ServedModel


class NewRegisterModelRequest(RequestModel):
    """A model to register. The fields after ``embedding_size`` may be changed at any time."""

    model_id: str
    project_id: str
    task_type: TaskType
    embedding_size: int = 0
    class_labels: list[str] | None = None
    first_class_number: int | None = None
    box_format: str | None = None
    upstream_url: str | None = None
    upstream_model: str | None = None
    enable_inference_storage: bool | None = None
    strip_metadata: bool | None = None
    keep_failures: bool | None = None
    text_embedding_service: str | None = None
    text_search: bool | None = None
    text_search_language: str | None = None


class TextIndexTask(AnswerModel):
    """A task that indexes the texts of all records of a model anew."""

    state: str
    reason: str
    expected_count: int
    indexed_count: int
    created_at: datetime
    finished_at: datetime | None = None


class TextIndex(AnswerModel):
    """Whether the texts of a model are searched, in which language, and the last task."""

    is_searched: bool
    language: str
    languages: list[str]
    task: TextIndexTask | None = None


class Model(AnswerModel, ModelCalls[Answer]):
    """A registered model, as the store returns it.

    ``Model(project_id=…, id=…)`` names a model without a request: the connected client
    fetches its other fields when one is first needed. It can be called like the model that
    ``get_model`` returns.
    """

    model_id: str
    created_at: datetime
    updated_at: datetime
    embedding_size: int
    project_id: str | None = None
    task_type: str | None = None
    class_labels: list[str] | None = None
    first_class_number: int | None = None
    upstream_url: str | None = None
    enable_inference_storage: bool | None = None
    text_search: bool | None = None
    text_search_language: str | None = None
    proxy_url: str | None = None

    def __init__(self, *, id: str | None = None, **fields: Any) -> None:
        if id is None:
            super().__init__(**fields)
            return
        if unknown := fields.keys() - {"project_id"}:
            raise TypeError(f"Model(project_id=…, id=…) takes no {sorted(unknown)}.")
        named = type(self).model_construct(model_id=id, **fields)
        # Fields not given are left unset, so that ``__getattr__`` is called for them.
        known = {"model_id": id, **fields}
        object.__setattr__(self, "__dict__", known)
        object.__setattr__(self, "__pydantic_fields_set__", set(known))
        object.__setattr__(self, "__pydantic_extra__", named.__pydantic_extra__)
        object.__setattr__(self, "__pydantic_private__", named.__pydantic_private__)

    def __getattr__(self, name: str) -> Any:
        if name in type(self).model_fields and "created_at" not in self.__dict__:
            self.__dict__.update(self._fetch().__dict__)
            return self.__dict__[name]
        return super().__getattr__(name)  # type: ignore[misc]  # pydantic hides it

    @property
    def id(self) -> str:
        return self.model_id

    @property
    def task(self) -> TaskType:
        """The task type that the model is registered with."""
        return TaskType(self.task_type)

    def set_inference_server_settings(self, settings: Mapping[str, Any]) -> None:
        """Change how the model is served, as ``Model.set_inference_server_settings`` does."""
        served = self._serve()
        served.set_inference_server_settings(settings)
        self.__dict__.update(served.resource.__dict__)

    def _call(
        self,
        action: str,
        data: Any,
        custom_metadata: CustomMetadata,
        inference_id: str | None,
    ) -> Answer:
        return self._serve()._call(action, data, custom_metadata, inference_id)

    def _serve(self) -> ServedModel:
        if self.project_id is not None and "created_at" not in self.__dict__:
            # Calls name a model by its id alone, within the token's project: check the project.
            self.__dict__.update(self._fetch().__dict__)
        return get_client().serve(self)

    def _fetch(self) -> Model:
        """Return the model of the token's project. Raises NotFound if another project is named."""
        fetched = get_client().run(fetch_model(self.model_id))
        named = self.__dict__.get("project_id")
        if named is not None and fetched.project_id not in (None, named):
            raise NotFound(
                f"There is no model {self.model_id!r} in project {named!r} for this "
                f"token, which belongs to project {fetched.project_id!r}."
            )
        return fetched


def fetch_model(model_id: str) -> Call[Model]:
    """Return the call that fetches a registered model. It raises NotFound if there is none."""
    return get("models", model_id, read=one(Model))


def get_model(model_id: str) -> Any:
    """Return a registered model to call, an ``inference_store.Model``, as its ``get_model`` does."""
    return get_client().serve(get_client().run(fetch_model(model_id)))


get_model_by_id = get_model  # alias: the name that ported programs import
