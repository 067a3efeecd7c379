"""Every name, parameter, field, default and choice of the contract is there."""

from __future__ import annotations

import enum
import importlib
import inspect
import json
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic_core import PydanticUndefined

import inference_store
from inference_store import aio, models

HERE = Path(__file__).parent / "sdk_surface.json"
# Beside a checkout of the project there may be the contract itself.
ORIGIN = Path(__file__).parents[3] / "shared/contract/sdk_surface.json"
SURFACE = json.loads((ORIGIN if ORIGIN.exists() else HERE).read_text())

FUNCTIONS = [
    (module, name, described)
    for module, functions in SURFACE["functions"].items()
    for name, described in functions.items()
]
FIELDS = [
    (model, name, described)
    for model, fields in SURFACE["models"].items()
    for name, described in fields.items()
]
METHODS = [
    (model, name, described)
    for model, methods in SURFACE["methods"].items()
    for name, described in methods.items()
]
WORDS = vars(models) | {"datetime": __import__("datetime").datetime, "Any": Any}


@pytest.mark.skipif(
    not ORIGIN.exists(), reason="the contract is not beside the project"
)
def test_the_copy_of_the_contract_is_the_contract():
    assert HERE.read_bytes() == ORIGIN.read_bytes()


@pytest.mark.parametrize(("module", "name", "described"), FUNCTIONS)
def test_function(module, name, described):
    function = getattr(importlib.import_module(f"inference_store.{module}"), name)
    parameters = list(inspect.signature(function).parameters.values())
    asked = described["params"]
    assert [each.name for each in parameters[: len(asked)]] == [
        p["name"] for p in asked
    ]
    for given, wanted in zip(parameters, asked, strict=False):
        default = eval(wanted["default"]) if "default" in wanted else inspect._empty
        assert given.default == default
    assert all(p.default is not inspect._empty for p in parameters[len(asked) :])


@pytest.mark.parametrize(("module", "name", "described"), FUNCTIONS)
def test_types_of_function(module, name, described):
    function = getattr(importlib.import_module(f"inference_store.{module}"), name)
    said = typing.get_type_hints(function)
    names = WORDS | {"Mapping": Mapping}
    for wanted in described["params"]:
        assert said[wanted["name"]] == eval(wanted["type"], names)
    returns = eval(described["returns"], names)
    origin = typing.get_origin(returns)
    if origin is list:
        assert issubclass(typing.get_origin(said["return"]), list)
        assert typing.get_args(said["return"]) == typing.get_args(returns)
    elif origin is None and returns is dict:
        assert typing.get_origin(said["return"]) is dict
    else:
        assert said["return"] == returns


@pytest.mark.parametrize(("model", "name", "described"), FIELDS)
def test_field(model, name, described):
    field = getattr(models, model).model_fields[name]
    if "default" in described:
        default = field.get_default(call_default_factory=True)
        assert default == eval(described["default"], WORDS)
    else:
        assert field.is_required()
        assert field.get_default() is PydanticUndefined


@pytest.mark.parametrize(
    ("model", "name", "described"),
    [each for each in FIELDS if not each[2]["type"].startswith("list[dict]")],
)
def test_type_of_field(model, name, described):
    wanted = eval(described["type"], WORDS)
    if described.get("default") == "None":
        wanted = wanted | None
    said = typing.get_type_hints(getattr(models, model))[name]
    assert said == wanted


@pytest.mark.parametrize(("model", "name", "described"), METHODS)
def test_method_of_model(model, name, described):
    found = inspect.getattr_static(getattr(models, model), name)
    assert isinstance(found, property) == described.get("property", False)
    assert isinstance(found, staticmethod) == described.get("static", False)
    function = getattr(found, "fget", None) or getattr(found, "__func__", found)
    assert function.__doc__
    said = typing.get_type_hints(function)
    assert said["return"] == eval(described["returns"], WORDS)
    parameters = [n for n in inspect.signature(function).parameters if n != "self"]
    wanted = described.get("params", [])
    assert parameters == [each["name"] for each in wanted]
    for each in wanted:
        assert said[each["name"]] == eval(each["type"], WORDS)


@pytest.mark.parametrize("model", SURFACE["models"])
def test_what_is_more_than_the_contract_is_optional(model):
    fields = getattr(models, model).model_fields
    more = fields.keys() - SURFACE["models"][model].keys()
    assert not [name for name in more if fields[name].is_required()]


@pytest.mark.parametrize("name", SURFACE["enums"])
def test_enum(name):
    words = getattr(models, name)
    assert issubclass(words, str) and issubclass(words, enum.Enum)
    assert {each.name: each.value for each in words}.items() >= SURFACE["enums"][
        name
    ].items()
    assert all(str(each) == each.value == each for each in words)


@pytest.mark.parametrize("module", SURFACE["functions"])
def test_twins_and_namespaces_have_the_same_functions(module, client, async_client):
    blocking = importlib.import_module(f"inference_store.{module}")
    awaited = importlib.import_module(f"inference_store.aio.{module}")
    sending = [n for n, f in vars(blocking).items() if hasattr(f, "plan")]
    own = [n for n in sending if getattr(blocking, n).__module__ == blocking.__name__]
    assert own
    for name in own:
        twin, function = getattr(awaited, name), getattr(blocking, name)
        assert inspect.iscoroutinefunction(twin)
        assert not inspect.iscoroutinefunction(function)
        for each in (
            twin,
            getattr(getattr(client, module), name),
            getattr(getattr(async_client, module), name),
        ):
            assert inspect.signature(each) == inspect.signature(function)
            assert each.__doc__ == function.__doc__


@pytest.mark.parametrize("module", SURFACE["functions"])
def test_functions_are_documented_in_full(module):
    for name, function in vars(
        importlib.import_module(f"inference_store.{module}")
    ).items():
        if not inspect.isfunction(function) or name.startswith("_"):
            continue
        if not hasattr(function, "plan"):
            continue
        said = inspect.getdoc(function) or ""
        assert "Raises:" in said, name
        for parameter in inspect.signature(function).parameters:
            assert f"{parameter}:" in said, (name, parameter)


def test_names_of_the_packages():
    for name in ("connect", "get_model", "models", *SURFACE["functions"]):
        assert hasattr(inference_store, name) and hasattr(aio, name)
    assert (Path(inference_store.__file__).parent / "py.typed").exists()
