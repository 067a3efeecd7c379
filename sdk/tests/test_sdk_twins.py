"""Whatever the blocking client can do, the awaited one can, under the same names."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from typing import Any

import pytest

import inference_store
from inference_store import aio
from inference_store.aio.client import AsyncClient
from inference_store.aio.platform.session_client import AsyncRemoteSessionClient
from inference_store.binding import bound
from inference_store.client import Client
from inference_store.platform.session_client import RemoteSessionClient
from inference_store.serving import AsyncModel, Model

NAME = inference_store.__name__
# What works on this machine, and the command, whose calls nobody awaits.
ELSEWHERE = ("aio", "cli", "local", "mocks", "adapters")
# These send without a plan of their own.
MORE = {f"{NAME}.client", f"{NAME}.downloading"}
# The bodies of requests are built by functions, too; they send nothing.
BUILDING = ("Call[", "Steps[")


def _sends(module: Any) -> bool:
    return any(hasattr(each, "plan") for each in vars(module).values())


def _functions(module: Any) -> list[str]:
    """The public functions of a module, by ``__all__`` where it has one."""
    own = [
        name
        for name, each in vars(module).items()
        if inspect.isfunction(each)
        and each.__module__ == module.__name__
        and not name.startswith("_")
        and (hasattr(each, "plan") or not _builds(each))
    ]
    chosen = getattr(module, "__all__", own)
    return [name for name in own if name in chosen]


def _builds(function: Any) -> bool:
    return str(function.__annotations__.get("return", "")).startswith(BUILDING)


def _found() -> list[tuple[str, str]]:
    found = []
    for each in pkgutil.walk_packages(inference_store.__path__, f"{NAME}."):
        if each.name.split(".")[1] in ELSEWHERE:
            continue
        module = importlib.import_module(each.name)
        if _sends(module) or each.name in MORE:
            found += [(each.name, name) for name in _functions(module)]
    return found


FUNCTIONS = _found()


def test_the_functions_are_found():
    modules = {module.rpartition(".")[2] for module, _ in FUNCTIONS}
    assert {"inference", "dataset", "inferencesessions", "client"} <= modules
    assert (f"{NAME}.downloading", "download") in FUNCTIONS
    assert len(FUNCTIONS) > 80


@pytest.mark.parametrize(("module", "name"), FUNCTIONS)
def test_every_function_has_a_twin(module, name):
    function = getattr(importlib.import_module(module), name)
    place = module.replace(NAME, f"{NAME}.aio", 1)
    twin = getattr(importlib.import_module(place), name)
    assert _parameters(twin) == _parameters(function)
    waits = hasattr(function, "plan") or name in ("get_model", "download")
    assert inspect.iscoroutinefunction(twin) == waits


def test_the_packages_have_the_same_modules():
    modules = [n for n in inference_store.__all__ if inspect.ismodule(_of(n))]
    assert not [n for n in modules if not hasattr(aio, n) or n not in aio.__all__]


def test_clients_have_the_same_namespaces_with_the_same_methods():
    client, awaited = Client("http://a"), AsyncClient("http://a")
    spaces = {n for n, each in vars(client).items() if _is_namespace(each)}
    assert len(spaces) >= 16
    assert spaces == {n for n, each in vars(awaited).items() if _is_namespace(each)}
    for name in spaces:
        blocking, twin = getattr(client, name), getattr(awaited, name)
        assert _methods(blocking) and _methods(blocking) == _methods(twin)
        for method in _methods(blocking):
            assert _parameters(getattr(twin, method)) == _parameters(
                getattr(blocking, method)
            )
    client.close()


CALLS = [
    (module, name)
    for module, name in FUNCTIONS
    if hasattr(getattr(importlib.import_module(module), name), "plan")
]


@pytest.mark.parametrize(("module", "name"), CALLS)
def test_every_call_is_a_method_of_the_client(module, name):
    with Client("http://a") as client:
        space = getattr(client, module.rpartition(".")[2])
    assert name in _methods(space)


@pytest.mark.parametrize(
    ("blocking", "awaited"),
    [
        (Client, AsyncClient),
        (Model, AsyncModel),
        (RemoteSessionClient, AsyncRemoteSessionClient),
    ],
)
def test_classes_have_the_same_methods(blocking, awaited):
    assert _methods(blocking) == _methods(awaited)
    for name in _methods(blocking):
        assert _parameters(getattr(awaited, name)) == _parameters(
            getattr(blocking, name)
        )


def _of(name: str) -> Any:
    return getattr(inference_store, name)


def _is_namespace(each: Any) -> bool:
    return type(each).__module__.endswith("namespaces")


def _methods(of: Any) -> set[str]:
    kind = of if isinstance(of, type) else type(of)
    return {
        name
        for name in dir(kind)
        if not name.startswith("_")
        and isinstance(getattr(kind, name), Callable | bound)
    }


def _parameters(function: Any) -> list[tuple[str, Any]]:
    """Names and defaults; a default that is a function is like any other."""
    said = inspect.signature(function).parameters.values()
    return [
        (each.name, "function" if inspect.isfunction(each.default) else each.default)
        for each in said
    ]
