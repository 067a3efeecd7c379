"""Inference services of a server: models behind an interface that says how to call them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inference_store import requests
from inference_store.binding import blocking
from inference_store.pages import Page, page_of
from inference_store.requests import Call
from inference_store.schema import InferenceInterface, InferenceService

SERVICES = "inferenceservices"


@blocking
def create(
    *,
    account: str,
    name: str,
    runner: Mapping[str, Any],
    interface: InferenceInterface | Mapping[str, Any] | None = None,
    model_id: str | None = None,
) -> Call[InferenceService]:
    """Create a service, and return it.

    Parameters:
        account: the account it belongs to, within the project of the token.
        name: the display name.
        runner: what answers. ``{"kind": "url", "url": …, "protocol": "v2", "openai" or
            "json", "model": its name there, "ready": a path}``, ``{"kind": "process",
            "process": a command that the installation lists}`` or ``{"kind": "mock",
            "mock": a name, "options": {…}}``.
        interface: endpoint, output schema and pipelines; a mock has its own.
        model_id: the registered model under which calls are stored; without one they are
            not stored.

    Returns:
        The service.

    Raises:
        ValidationError: the service could not be run or called as described.
        InferenceStoreError: any other failure.
    """
    body: dict[str, Any] = {"account": account, "name": name, "runner": dict(runner)}
    if interface is not None:
        body["interface"] = _describe(interface)
    if model_id is not None:
        body["model_id"] = model_id
    return requests.post(SERVICES, body=body, read=requests.one(InferenceService))


@blocking
def create_mock(
    mock: Any,
    account: str,
    *,
    name: str | None = None,
    model_id: str | None = None,
    protocol: str | None = None,
    **options: Any,
) -> Call[InferenceService]:
    """Create a service whose answers a mock simulates, and return it.

    Parameters:
        mock: a class of ``inference_store.mocks``, or its name.
        account: the account it belongs to, within the project of the token.
        name: the display name; that of the mock when not given.
        model_id: the registered model under which calls are stored; without one they are
            not stored.
        protocol: ``openai`` for a text mock that answers as OpenAI-compatible servers do,
            streams included. Without it, it has the interface of ``mocks``.
        options: options of the mock, such as ``seed``, ``latency`` (s), ``jitter`` (s),
            ``error_rate`` (0 to 1).

    Returns:
        The service.

    Raises:
        ValidationError: the server does not know the mock or an option, or the mock has
            no such protocol.
        InferenceStoreError: any other failure.
    """
    body: dict[str, Any] = {"account": account, "mock": _name_of(mock)}
    given = {
        "name": name,
        "model_id": model_id,
        "protocol": protocol,
        "options": options or None,
    }
    body |= {key: value for key, value in given.items() if value is not None}
    return requests.post(
        SERVICES, "mock", body=body, read=requests.one(InferenceService)
    )


@blocking
def get(service_id: str) -> Call[InferenceService]:
    """Return a service.

    Parameters:
        service_id: the service's id.

    Returns:
        The service.

    Raises:
        NotFound: there is no service of this id.
        InferenceStoreError: any other failure.
    """
    return requests.get(SERVICES, service_id, read=requests.one(InferenceService))


@blocking
def query(
    account: str | None = None, limit: int = 50, cursor: str | None = None
) -> Call[Page[InferenceService]]:
    """Return one page of the services of the token's project, newest first.

    Parameters:
        account: only those of this account.
        limit: services on the page, 1 to 1000.
        cursor: the ``next`` of the page before.

    Returns:
        The services as a list, with the cursor of the following page as ``next``.

    Raises:
        InferenceStoreError: any failure.
    """
    given = {"account": account, "limit": limit, "cursor": cursor}
    return requests.get(SERVICES, read=page_of(InferenceService), parameters=given)


@blocking
def delete(service_id: str) -> Call[None]:
    """Delete a service, and those of its sessions that have ended.

    Parameters:
        service_id: the service's id.

    Raises:
        Conflict: ``service-in-use``, it has sessions that have not ended.
        InferenceStoreError: any other failure.
    """
    return requests.delete(SERVICES, service_id, read=lambda response: None)


def _name_of(mock: Any) -> str:
    """Return the name of a mock in the registry of servers."""
    return mock if isinstance(mock, str) else str(getattr(mock, "name", mock))


def _describe(interface: Any) -> Any:
    if hasattr(interface, "model_dump"):
        return interface.model_dump(mode="json", exclude_none=True)
    return dict(interface)
