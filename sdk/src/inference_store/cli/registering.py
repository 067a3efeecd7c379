"""The commands register and settings: how a model is served and stored."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from inference_store.cli import output
from inference_store.cli.account import client
from inference_store.cli.app import AsJson, ModelId, app
from inference_store.errors import NotFound
from inference_store.models import Model, NewRegisterModelRequest, TaskType

Upstream = Annotated[
    str | None,
    typer.Option(help="URL of the model server, for the proxy: http://host:port."),
]
UpstreamModel = Annotated[
    str | None, typer.Option(help="The model's name on that server, if it differs.")
]
Labels = Annotated[
    list[str] | None,
    typer.Option("--class-label", help="Name of the next class; may be repeated."),
]
FirstClass = Annotated[
    int | None,
    typer.Option(
        "--first-class-number",
        min=0,
        max=1,
        help="The number of the first class label: 1 where 0 is the background.",
    ),
]
BoxFormat = Annotated[str | None, typer.Option(help="How the server writes boxes.")]
Storing = Annotated[
    bool | None,
    typer.Option(
        "--store/--no-store", help="Whether to store inferences that pass the proxy."
    ),
]
Stripping = Annotated[
    bool | None,
    typer.Option(
        "--strip-metadata/--no-strip-metadata",
        help="Whether to remove custom metadata from what the server gets.",
    ),
]
Failures = Annotated[
    bool | None,
    typer.Option(
        "--keep-failures/--no-keep-failures",
        help="Whether to store calls that failed, too.",
    ),
]
TextSearch = Annotated[
    bool | None,
    typer.Option(
        "--text-search/--no-text-search",
        help="Whether to index the words of prompts and answers.",
    ),
]
Language = Annotated[
    str | None,
    typer.Option(help="The language of its texts: simple, english, german, …"),
]


@app.command()
def register(
    model_id: ModelId,
    task: Annotated[
        str, typer.Option("--task", "-t", help='Such as "Object Detection".')
    ],
    project: Annotated[str, typer.Option(help="The id of the project.")] = "default",
    upstream: Upstream = None,
    upstream_model: UpstreamModel = None,
    storing: Storing = None,
    embedding_size: Annotated[
        int, typer.Option(min=0, help="The size of its embeddings, if it has any.")
    ] = 0,
    class_labels: Labels = None,
    first_class_number: FirstClass = None,
    box_format: BoxFormat = None,
    strip_metadata: Stripping = None,
    keep_failures: Failures = None,
    text_search: TextSearch = None,
    language: Language = None,
    as_json: AsJson = False,
) -> None:
    """Register a model. Registering it again with the same values changes nothing."""
    body = NewRegisterModelRequest(
        model_id=model_id,
        project_id=project,
        task_type=task_type(task),
        embedding_size=embedding_size,
        class_labels=class_labels or None,
        first_class_number=first_class_number,
        box_format=box_format,
        upstream_url=upstream,
        upstream_model=upstream_model,
        enable_inference_storage=storing,
        strip_metadata=strip_metadata,
        keep_failures=keep_failures,
        text_search=text_search,
        text_search_language=language,
    )
    with client() as store:
        store.register.register_model_for_inference_storage(body)
        model = store.register.get_registered_model(model_id)
    if model is None:
        raise NotFound(f"There is no model {model_id} any more.")
    _show(model, as_json)


@app.command()
def settings(
    model_id: ModelId,
    upstream: Upstream = None,
    upstream_model: UpstreamModel = None,
    storing: Storing = None,
    class_labels: Labels = None,
    first_class_number: FirstClass = None,
    box_format: BoxFormat = None,
    strip_metadata: Stripping = None,
    keep_failures: Failures = None,
    text_search: TextSearch = None,
    language: Language = None,
    as_json: AsJson = False,
) -> None:
    """Show or change how a model is served and stored. A change applies from the next call."""
    settings: dict[str, Any] = {
        "upstream_url": upstream,
        "upstream_model": upstream_model,
        "enable_inference_storage": storing,
        "class_labels": class_labels or None,
        "first_class_number": first_class_number,
        "box_format": box_format,
        "strip_metadata": strip_metadata,
        "keep_failures": keep_failures,
        "text_search": text_search,
        "text_search_language": language,
    }
    changes = {name: value for name, value in settings.items() if value is not None}
    with client() as store:
        model = store.get_model(model_id)
        if changes:
            model.set_inference_server_settings(changes)
    _show(model.resource, as_json)


def task_type(text: str) -> TaskType:
    """Return the task type of a text: ``object-detection`` is ``Object Detection``.

    Raises ``ValueError`` for an unknown one.
    """
    plain = text.replace("-", " ").replace("_", " ").casefold().strip()
    for task in TaskType:
        if plain == task.value.replace("-", " ").casefold():
            return task
    names = ", ".join(TaskType)
    raise ValueError(f"There is no task {text!r}; the tasks are {names}.")


def _show(model: Model, as_json: bool) -> None:
    if as_json:
        output.show_json(model)
        return
    more = model.model_extra or {}
    rows = [
        ("model", model.model_id),
        ("project", model.project_id),
        ("task", model.task_type),
        ("stores", "yes" if model.enable_inference_storage else "no"),
        ("upstream", model.upstream_url),
        ("upstream model", more.get("upstream_model")),
        ("embedding size", model.embedding_size),
        ("class labels", ", ".join(model.class_labels or ())),
        ("first class number", model.first_class_number or None),
        ("box format", more.get("box_format")),
        ("strips metadata", "yes" if more.get("strip_metadata") else None),
        ("stores failed calls", "yes" if more.get("keep_failures") else None),
        ("language of texts", _language(model)),
        ("proxy", model.proxy_url),
    ]
    output.show_rows(("", ""), [(name, str(value)) for name, value in rows if value])


def _language(model: Model) -> str | None:
    """Return the language of the model's texts, unless it compares words as they are."""
    language = model.text_search_language
    return language if language != "simple" else None
