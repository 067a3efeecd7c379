"""Turn functions that build a call into functions that send it.

``@blocking`` makes a module function, which sends by the connected client. From it
``awaitable`` makes the async version in ``inference_store.aio``, and ``bound`` makes the
method of a client's namespace. All keep the parameters and return the parsed answer.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Generic, ParamSpec, TypeVar, cast

from inference_store import connection
from inference_store.requests import Plan

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

INNER = re.compile(r"\w+\[(.*)\]", re.DOTALL)


def blocking(plan: Callable[P, Plan[T]]) -> Callable[P, T]:
    """Return a function that sends what ``plan`` builds, by the connected client."""

    @wraps(plan)
    def send(*args: P.args, **kwargs: P.kwargs) -> T:
        return connection.connected().run(plan(*args, **kwargs))

    return _present(send, plan)


def awaitable(function: Callable[P, T]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Return the async version of a ``@blocking`` function, by the client of ``aio``."""
    plan = plan_of(function)

    @wraps(plan)
    async def send(*args: P.args, **kwargs: P.kwargs) -> T:
        return cast(T, await connection.connected_async().run(plan(*args, **kwargs)))

    return _present(send, plan)


class bound(Generic[P, R]):
    """A descriptor: the method of a namespace, made from the function of the same name."""

    def __init__(self, function: Callable[P, R]) -> None:
        self.plan = plan_of(function)
        self.name = self.plan.__name__
        self.__doc__ = function.__doc__

    def __get__(self, namespace: Any, owner: type | None = None) -> Callable[P, R]:
        if namespace is None:
            return cast("Callable[P, R]", self)

        @wraps(self.plan)
        def send(*args: P.args, **kwargs: P.kwargs) -> R:
            return cast(R, namespace.run(self.plan(*args, **kwargs)))

        # Kept on the namespace itself, so that the next access skips this descriptor.
        namespace.__dict__[self.name] = _present(send, self.plan)
        return cast("Callable[P, R]", namespace.__dict__[self.name])


def plan_of(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function that builds the call which ``function`` sends."""
    return cast("Callable[..., Any]", function.plan)  # type: ignore[attr-defined]


def _present(send: F, plan: Callable[..., Any]) -> F:
    """Return ``send`` with the signature of ``plan`` and the result type of its call."""
    presented: Any = send
    said = plan.__annotations__["return"]
    found = INNER.fullmatch(said)
    returns = found[1] if found else said
    presented.plan = plan
    presented.__annotations__ = {**plan.__annotations__, "return": returns}
    presented.__signature__ = inspect.signature(plan).replace(return_annotation=returns)
    return send
