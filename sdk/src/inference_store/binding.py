"""Turn functions that build a call into functions that send it.

``@blocking`` makes a module function, which sends by the connected client, and ``@iterating``
one that fetches all pages. From them ``awaitable`` and ``async_iterating`` make the functions
of ``inference_store.aio``, and ``bound`` makes the methods of a client's namespaces. All keep
the parameters. ``sdk/generate.py`` writes the modules with these further functions.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from functools import wraps
from typing import Any, Generic, ParamSpec, TypeVar, cast, get_args, get_type_hints

from inference_store import connection
from inference_store.pagination import Pages, walk, walk_async
from inference_store.requests import Plan

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


def blocking(plan: Callable[P, Plan[T]]) -> Callable[P, T]:
    """Return a function that sends what ``plan`` builds, by the connected client."""

    @wraps(plan)
    def send(*args: P.args, **kwargs: P.kwargs) -> T:
        return connection.get_client().run(plan(*args, **kwargs))

    return _present(send, plan)


def awaitable(function: Callable[P, T]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Return the async version of a ``@blocking`` function, by the client of ``aio``."""
    plan = plan_of(function)

    @wraps(plan)
    async def send(*args: P.args, **kwargs: P.kwargs) -> T:
        return await connection.get_async_client().run(plan(*args, **kwargs))

    return _present(send, plan)


def iterating(pages: Callable[P, Pages[T]]) -> Callable[P, Iterator[T]]:
    """Return a function that yields the items of all pages, by the connected client."""

    @wraps(pages)
    def iterate(*args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        return walk(connection.get_client(), pages(*args, **kwargs))

    return _present(iterate, pages, Iterator)


def async_iterating(
    function: Callable[P, Iterator[T]],
) -> Callable[P, AsyncIterator[T]]:
    """Return the async version of an ``@iterating`` function, by the client of ``aio``."""
    pages: Callable[P, Pages[T]] = vars(function)["pages"]

    @wraps(pages)
    def iterate(*args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T]:
        return walk_async(connection.get_async_client(), pages(*args, **kwargs))

    return _present(iterate, pages, AsyncIterator)


class Namespace(Generic[S]):
    """Functions of a module as methods, which one client sends."""

    def __init__(self, sender: S) -> None:
        self._sender = sender


class bound(Generic[P, R]):
    """A descriptor: the method of a namespace, made from the function of the same name.

    ``send(client, plan)`` sends what the function builds; it is ``walk`` or ``walk_async``
    for a function that iterates.
    """

    def __init__(
        self,
        function: Callable[P, R],
        send: Callable[[Any, Any], Any] = lambda client, plan: client.run(plan),
    ) -> None:
        known = vars(function)
        self.plan = known["plan"] if "plan" in known else known["pages"]
        self.send = send
        self.__doc__ = function.__doc__

    def __get__(
        self, namespace: Namespace[Any] | None, owner: type | None = None
    ) -> Callable[P, R]:
        if namespace is None:
            return cast("Callable[P, R]", self)
        client = namespace._sender

        @wraps(self.plan)
        def method(*args: P.args, **kwargs: P.kwargs) -> R:
            return cast(R, self.send(client, self.plan(*args, **kwargs)))

        # Kept on the namespace itself, so that the next access skips this descriptor.
        vars(namespace)[self.plan.__name__] = _present(method, self.plan)
        return method


def plan_of(function: Callable[P, T]) -> Callable[P, Plan[T]]:
    """Return the function that builds the call which a ``@blocking`` function sends."""
    return cast("Callable[P, Plan[T]]", vars(function)["plan"])


def _present(send: F, plan: Callable[..., Any], shape: Any = None) -> F:
    """Return ``send`` with the signature of ``plan`` and the result type of its call.

    That type is the last argument of ``Call[T]``, ``Steps[T]`` or ``Pages[T]``; ``shape`` is
    what wraps it for a function that iterates.
    """
    result = get_args(get_type_hints(plan)["return"])[-1]
    returns = result if shape is None else shape[result]
    presented: Any = send
    vars(presented)["plan" if shape is None else "pages"] = plan
    presented.__annotations__ = {**plan.__annotations__, "return": returns}
    presented.__signature__ = inspect.signature(plan).replace(return_annotation=returns)
    return send
