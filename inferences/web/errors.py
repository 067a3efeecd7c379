"""Turn errors of the API's functions into sentences for people."""

from __future__ import annotations

from typing import Any

from rest_framework.exceptions import APIException


def sentence(error: APIException) -> str:
    """Return an error as text, such as ``boxes 2 xmin: A finite number is expected.``"""
    return "; ".join(_describe(error.detail)) or "It is not there any more."


def _describe(detail: Any, path: str = "") -> list[str]:
    if isinstance(detail, dict):
        return [
            s
            for name, each in detail.items()
            for s in _describe(each, f"{path} {name}")
        ]
    if isinstance(detail, list):
        return [s for each in detail for s in _describe(each, path)]
    text = str(detail)
    return [f"{path.strip()}: {text}" if path.strip() else text] if text else []
