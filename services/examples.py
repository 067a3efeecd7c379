"""Example requests, with which the form that calls a session is filled in."""

from __future__ import annotations

from typing import Any

from services.models import InferenceService, Runner
from services.runners.commands import BadCommands, listed
from services.runners.config_fields import BadConfiguration
from services.runners.mocks import Mock
from services.runners.servers import OPENAI, V2

PROMPT = "A ship enters the harbour and"
MESSAGES = [{"role": "user", "content": "Which ships are in the harbour?"}]
# A picture of one grey pixel; width and height are those of an imagined larger one.
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCB6Hh"
    "s1wAAAABJRU5ErkJggg=="
)


def example_for(service: InferenceService) -> Any:
    """Return a request that the service probably understands."""
    if service.runner == Runner.MOCK:
        return _of_mock(service)
    protocol = _protocol(service)
    if protocol == V2:
        text = {"name": "text", "shape": [1], "datatype": "BYTES", "data": [PROMPT]}
        return {"inputs": [text]}
    if protocol == OPENAI and not service.input_pipeline:
        return _of_openai(service.endpoint)
    return {"text": PROMPT}


def _of_mock(service: InferenceService) -> Any:
    try:
        mock = Mock.read(service.configuration)
    except BadConfiguration:  # the service was created by another release
        return {}
    if mock.speaks_openai(service.endpoint) and not service.input_pipeline:
        return _of_openai(service.endpoint)
    if mock.takes == "image":
        return {"image": PIXEL, "width": 640, "height": 480}
    if mock.takes == "features":
        return {"features": {"length": 182.5, "draught": 9.1, "flag": "NL"}}
    if service.endpoint == "chat":
        return {"messages": MESSAGES}
    return {"text": PROMPT}


def _of_openai(endpoint: str) -> Any:
    if "chat" in endpoint:
        return {"model": "default", "messages": MESSAGES}
    return {"model": "default", "input" if "embed" in endpoint else "prompt": PROMPT}


def _protocol(service: InferenceService) -> str:
    if service.runner == Runner.URL:
        protocol: str = service.configuration.get("protocol", "")
        return protocol
    try:
        command = listed().get(service.configuration.get("process", ""))
    except BadCommands:
        return ""
    return command.dialect.protocol if command else ""
