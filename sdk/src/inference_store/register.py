"""Models: register them with the store, and list them."""

from __future__ import annotations

from inference_store.binding import blocking
from inference_store.models import Model, NewRegisterModelRequest, TextIndex
from inference_store.pages import Page, page_of
from inference_store.requests import Call, get, member, one, post


@blocking
def register_model_for_inference_storage(
    request_body: NewRegisterModelRequest,
) -> Call[str | None]:
    """Register a model, so that its inferences can be stored, and return its id.

        register.register_model_for_inference_storage(models.NewRegisterModelRequest(
            model_id="harbour-detector", project_id="default", task_type="Object Detection"))

    Parameters:
        request_body: id, project, task and embedding size.

    Returns:
        The model's id. Registering it again with the same values is no error.

    Raises:
        Conflict: the model is registered with other values.
        ValidationError: a value is not valid, such as the project.
        InferenceStoreError: any other failure.
    """
    return post("models", body=request_body, read=member("model_id"), may_repeat=True)


@blocking
def get_registered_model(model_id: str) -> Call[Model | None]:
    """Return a registered model.

    Parameters:
        model_id: the id of the model.

    Returns:
        The model; None if it is not registered.

    Raises:
        InferenceStoreError: any failure.
    """
    return get("models", model_id, read=one(Model), may_be_absent=True)


@blocking
def list_registered_models() -> Call[Page[Model]]:
    """Return the models that the token may see.

    Returns:
        The models, as a list.

    Raises:
        InferenceStoreError: any failure.
    """
    return get("models", read=page_of(Model))


@blocking
def get_text_index(model_id: str) -> Call[TextIndex]:
    """Return whether the texts of a model are searched, and how far its index is.

        register.get_text_index("support-chat").task

    Parameters:
        model_id: the id of the model.

    Returns:
        The setting, the languages to choose from, and the last task that indexed anew.

    Raises:
        NotFound: there is no such model.
        InferenceStoreError: any other failure.
    """
    return get("models", model_id, "text-index", read=one(TextIndex))


@blocking
def index_texts_anew(model_id: str) -> Call[TextIndex]:
    """Start a task that indexes the texts of all records of a model anew.

    A change of ``text_search`` or ``text_search_language`` starts it by itself.

    Parameters:
        model_id: the id of the model.

    Returns:
        The index with the task.

    Raises:
        NotFound: there is no such model.
        InferenceStoreError: any other failure.
    """
    return post("models", model_id, "text-index", body={}, read=one(TextIndex))
