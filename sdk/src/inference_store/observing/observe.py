"""``observe``, the decorator, and ``observing``, the same for a block."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, TypeVar, overload

from inference_store.observing.recorder import Recorder, use_recorder
from inference_store.observing.spans import KINDS, Span, _current, current_span

F = TypeVar("F", bound=Callable[..., Any])
# Begins a call with its arguments.
Begin = Callable[[tuple[Any, ...], dict[str, Any]], "_Call"]
ITEMS_MAX = 10_000  # of a generator: pieces of a stream beyond are not recorded


@overload
def observe(function: F) -> F: ...
@overload
def observe(
    *,
    name: str | None = None,
    kind: str = "chain",
    model: str | None = None,
    takes_input: bool = True,
    takes_output: bool = True,
    metadata: Mapping[str, Any] | None = None,
    recorder: Recorder | None = None,
) -> Callable[[F], F]: ...
def observe(function: Any = None, **options: Any) -> Any:
    """Record each call of a function: its arguments, what it returns, or what it raises.

    Coroutines, generators and asynchronous generators are observed until they end. Calls
    within the call are its children in the trace.

    Parameters:
        name: of the span; the function's name when not given.
        kind: chain, llm, tool, agent, retriever, embedding or reranker.
        model: of calls of models, the model that is called.
        takes_input, takes_output: False leaves out the arguments, or the result.
        metadata: of each call; ``current_span().set(metadata=…)`` adds to it.
        recorder: another one than that of ``use_recorder``.

    Raises:
        ValueError: the kind is none of these.
    """
    if function is None:
        return lambda given: _observed(given, **options)
    return _observed(function, **options)


@contextmanager
def observing(
    name: str,
    kind: str = "chain",
    *,
    model: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    recorder: Recorder | None = None,
) -> Iterator[Span]:
    """Record a block. Set ``input`` and ``output`` of the span that it gets."""
    recorder = recorder or use_recorder()
    span = _begin(recorder, name, _checked(kind), model, metadata)
    token = _current.set(span)
    try:
        yield span
    except BaseException as error:
        span.error = error
        raise
    finally:
        with suppress(ValueError):  # a block that ends in another context
            _current.reset(token)
        recorder.record(span)


def _observed(
    function: Any,
    *,
    name: str | None = None,
    kind: str = "chain",
    model: str | None = None,
    takes_input: bool = True,
    takes_output: bool = True,
    metadata: Mapping[str, Any] | None = None,
    recorder: Recorder | None = None,
) -> Any:
    title = name or str(getattr(function, "__qualname__", function))
    kind = _checked(kind)
    try:
        signature: inspect.Signature | None = inspect.signature(function)
    except (TypeError, ValueError):  # of some functions in C
        signature = None

    def begin(args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Call:
        used = recorder or use_recorder()
        span = _begin(used, title, kind, model, metadata)
        if takes_input:
            span.input = _arguments(signature, args, kwargs)
        return _Call(used, span, takes_output)

    if inspect.isasyncgenfunction(function):
        wrapper = _wrap_async_generator(function, begin)
    elif inspect.iscoroutinefunction(function):
        wrapper = _wrap_coroutine(function, begin)
    elif inspect.isgeneratorfunction(function):
        wrapper = _wrap_generator(function, begin)
    else:
        wrapper = _wrap_function(function, begin)
    return functools.wraps(function)(wrapper)


def _wrap_async_generator(function: Any, begin: Begin) -> Any:
    """Return an asynchronous generator function that records its calls."""

    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        call, inner = begin(args, kwargs), function(*args, **kwargs)
        try:
            go_on, given = inner.asend, None
            while True:
                with call:
                    item = await go_on(given)
                call.add(item)
                try:
                    go_on, given = inner.asend, (yield item)
                except GeneratorExit:
                    raise
                except BaseException as thrown:  # as by ``asynccontextmanager``
                    go_on, given = inner.athrow, thrown
        except StopAsyncIteration:
            call.end()
        except BaseException as error:
            call.fail(error)
            raise
        finally:
            await inner.aclose()

    return wrapper


def _wrap_coroutine(function: Any, begin: Begin) -> Any:
    """Return a coroutine function that records its calls."""

    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        call = begin(args, kwargs)
        try:
            with call:
                result = await function(*args, **kwargs)
        except BaseException as error:
            call.fail(error)
            raise
        call.end(result)
        return result

    return wrapper


def _wrap_generator(function: Any, begin: Begin) -> Any:
    """Return a generator function that records its calls."""

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        call, inner = begin(args, kwargs), function(*args, **kwargs)
        try:
            go_on, given = inner.send, None
            while True:
                with call:
                    item = go_on(given)
                call.add(item)
                try:
                    go_on, given = inner.send, (yield item)
                except GeneratorExit:
                    raise
                except BaseException as thrown:  # as by ``contextmanager``
                    go_on, given = inner.throw, thrown
        except StopIteration as end:
            call.end()
            return end.value
        except BaseException as error:
            call.fail(error)
            raise
        finally:
            inner.close()

    return wrapper


def _wrap_function(function: Any, begin: Begin) -> Any:
    """Return a function that records its calls."""

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        call = begin(args, kwargs)
        try:
            with call:
                result = function(*args, **kwargs)
        except BaseException as error:
            call.fail(error)
            raise
        call.end(result)
        return result

    return wrapper


class _Call:
    """One call; ``with call:`` makes it the current one while the function itself runs."""

    def __init__(self, recorder: Recorder, span: Span, takes_output: bool) -> None:
        self.recorder, self.span = recorder, span
        self.takes_output = takes_output
        self.items: list[Any] = []
        self._tokens: list[Any] = []

    def __enter__(self) -> None:
        self._tokens.append(_current.set(self.span))

    def __exit__(self, *failure: object) -> None:
        _current.reset(self._tokens.pop())

    def add(self, item: Any) -> None:
        if self.takes_output and len(self.items) < ITEMS_MAX:
            self.items.append(item)

    def end(self, result: Any = None) -> None:
        if self.takes_output and self.span.output is None:
            self.span.output = self._joined() if self.items else result
        self.recorder.record(self.span)

    def fail(self, error: BaseException) -> None:
        # Who stops reading a stream has what came until then; that is no failure of it.
        if not isinstance(error, GeneratorExit):
            self.span.error = error
        self.end()

    def _joined(self) -> Any:
        if all(isinstance(item, str) for item in self.items):
            return "".join(self.items)
        return self.items


def _begin(
    recorder: Recorder,
    name: str,
    kind: str,
    model: str | None,
    metadata: Mapping[str, Any] | None,
) -> Span:
    parent = current_span()
    span = Span(name, kind, model, parent, metadata=dict(metadata or {}))
    if parent is None:
        span.is_sampled = recorder.draws()
    return span


def _arguments(
    signature: inspect.Signature | None, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Return the arguments by name; the only one alone, if it is a text."""
    try:
        if signature is None:
            raise TypeError
        named = dict(signature.bind(*args, **kwargs).arguments)
    except TypeError:  # the call itself will say so
        named = {"args": args, "kwargs": kwargs}
    named.pop("self", None)
    values = list(named.values())
    return values[0] if len(values) == 1 and isinstance(values[0], str) else named


def _checked(kind: str) -> str:
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is none of {', '.join(sorted(KINDS))}.")
    return kind
