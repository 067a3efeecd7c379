"""``$compute``: a value from a literal or a path, passed through named functions.

A description holds no code, only names of the functions below. Patterns are part of
untrusted descriptions, so they are matched by ``regex``, which has a timeout; the
standard library's ``re`` may backtrack forever.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any, TypeVar

import regex

from inference_store.adapters.errors import Fault
from inference_store.adapters.json_values import copy, type_name
from inference_store.adapters.paths import Path

SECONDS = 1.0
MAX_TEXT = 1_000_000
MAX_PATTERN = 1000
MAX_LIST = 100_000
MAX_STEPS = 100

# Flags by the numbers of the standard library's ``re``, as descriptions have them.
FLAGS = {
    2: regex.IGNORECASE,
    8: regex.MULTILINE,
    16: regex.DOTALL,
    32: regex.UNICODE,
    64: regex.VERBOSE,
    256: regex.ASCII,
}

Step = Callable[[Any], Any]
Sized = TypeVar("Sized", str, list[Any])


def computation(steps: Any) -> Step:
    """Return one step that runs the steps of a ``$compute``. Raises Fault if one is not valid."""
    steps = steps if isinstance(steps, list) else [steps]
    if not steps or len(steps) > MAX_STEPS:
        raise Fault(f"$compute has 1 to {MAX_STEPS} steps.")
    read = [_step(step) for step in steps]

    def run(item: Any) -> Any:
        value = item
        for step in read:
            value = step(value)
        return value

    return run


def _step(step: Any) -> Step:
    if not isinstance(step, dict):
        raise Fault(f"A step of $compute is an object, not {type_name(step)}.")
    if "$func" in step:
        parameters = {name: value for name, value in step.items() if name != "$func"}
        return _function(step["$func"], parameters)
    return _source(step)


def _source(step: Any) -> Step:
    """Return the source ``{"$literal": …}``, ``{"$scalar": path}`` or ``{"$list": …}``.

    ``$list`` takes a path or a list of sources.
    """
    if not isinstance(step, dict) or len(step) != 1:
        raise Fault("A value is one of $literal, $scalar and $list alone.")
    ((word, argument),) = step.items()
    if word == "$literal":
        return lambda item: copy(argument)
    if word == "$list" and isinstance(argument, list):
        parts = [_source(part) for part in argument]
        return lambda item: [part(item) for part in parts]
    if word in ("$scalar", "$list"):
        path = Path(argument)
        return path.one if word == "$scalar" else path.find
    raise Fault(f"{word!r:.60} is none of $literal, $scalar, $list and $func.")


def _function(name: Any, parameters: dict[str, Any]) -> Step:
    if not isinstance(name, str) or name not in FUNCTIONS:
        raise Fault(f"$func is one of {', '.join(FUNCTIONS)}, not {name!r:.60}.")
    allowed, make = FUNCTIONS[name]
    for parameter, value in parameters.items():
        if parameter not in allowed:
            raise Fault(f"{name} has no parameter {parameter!r:.60}.")
        if type(value) not in allowed[parameter]:
            raise Fault(f"The parameter {parameter!r} of {name} is {type_name(value)}.")
    return make(**_with_pattern(name, allowed, parameters))


def _with_pattern(
    name: str, allowed: dict[str, Any], parameters: dict[str, Any]
) -> dict[str, Any]:
    """Return the parameters with pattern and flags replaced by one compiled pattern."""
    if "pattern" not in allowed:
        return parameters
    rest = dict(parameters)
    text, flags = rest.pop("pattern", None), rest.pop("flags", 0)
    if text is None:
        raise Fault(f"{name} needs a pattern.")
    if len(text) > MAX_PATTERN:
        raise Fault(f"A pattern has at most {MAX_PATTERN} characters.")
    if flags < 0 or flags & ~sum(FLAGS):
        raise Fault(f"{flags} is no sum of flags.")
    bits = sum(ours for theirs, ours in FLAGS.items() if flags & theirs)
    try:
        return {"pattern": regex.compile(text, bits), **rest}
    except (regex.error, ValueError, OverflowError, RecursionError) as error:
        raise Fault(f"The pattern {text!r:.60} is not valid: {error}.") from None


def _findall(pattern: Any) -> Step:
    def run(value: Any) -> list[Any]:
        if pattern.groups == 0:
            return [match.group() for match in _matches(pattern, value)]
        found = [match.groups("") for match in _matches(pattern, value)]
        return [groups[0] if len(groups) == 1 else list(groups) for groups in found]

    return run


def _search(pattern: Any, group: int | str = 0, default: str | None = None) -> Step:
    known = group in pattern.groupindex or (
        isinstance(group, int) and 0 <= group <= pattern.groups
    )
    if not known:
        raise Fault(f"The pattern has no group {group!r:.60}.")

    def run(value: Any) -> str | None:
        match = next(_matches(pattern, value), None)
        return default if match is None else match.group(group)

    return run


def _split(pattern: Any, maxsplit: int = 0) -> Step:
    def run(value: Any) -> list[Any]:
        parts, end = [], 0
        for number, match in enumerate(_matches(pattern, value)):
            if 0 < maxsplit <= number or maxsplit < 0:
                break
            parts += [value[end : match.start()], *match.groups()]
            end = match.end()
        return [*parts, value[end:]]

    return run


def _sub(pattern: Any, repl: str = "", count: int = 0) -> Step:
    if len(repl) > MAX_PATTERN:
        raise Fault(f"A replacement has at most {MAX_PATTERN} characters.")

    def run(value: Any) -> str:
        parts, end, size = [], 0, len(value) if isinstance(value, str) else 0
        for number, match in enumerate(_matches(pattern, value)):
            if 0 < count <= number or count < 0:
                break
            try:
                text = match.expand(repl)
            except (regex.error, IndexError, ValueError) as error:
                raise Fault(
                    f"The replacement {repl!r:.60} is not valid: {error}."
                ) from None
            parts += [value[end : match.start()], text]
            end, size = match.end(), size + len(text)
            if size > 2 * MAX_TEXT:
                raise Fault(f"The text becomes longer than {MAX_TEXT} characters.")
        return _bound("".join([*parts, value[end:]]))

    return run


def _join(separator: str = "") -> Step:
    def run(value: Any) -> str:
        if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
            raise Fault("join needs a list of texts.")
        return _join_texts(separator, value)

    return run


def _list() -> Step:
    def run(value: Any) -> list[Any]:
        if not isinstance(value, (str, list, dict)):
            raise Fault(f"list cannot take {type_name(value)} apart.")
        return _bound(list(value))

    return run


def _sum(value: Any) -> Any:
    """Return the sum by ``+`` of a list of texts, of lists, or of numbers."""
    if not isinstance(value, list) or not value:
        raise Fault("reduce needs a list that is not empty.")
    if all(isinstance(part, str) for part in value):
        return _join_texts("", value)
    if all(isinstance(part, list) for part in value):
        if sum(map(len, value)) > MAX_LIST:
            raise Fault(f"The list becomes longer than {MAX_LIST} elements.")
        return list(chain.from_iterable(value))
    if all(type(part) in (int, float) for part in value):
        total: float
        try:
            total = sum(value)
        except OverflowError:
            total = math.inf
        if isinstance(total, int) or math.isfinite(total):
            return total
        raise Fault("The sum is too large.")
    raise Fault("reduce needs texts, or lists, or numbers.")


def _matches(pattern: Any, value: Any) -> Iterator[Any]:
    if not isinstance(value, str):
        raise Fault(f"A pattern is looked for in a text, not in {type_name(value)}.")
    _bound(value)
    try:
        for number, match in enumerate(pattern.finditer(value, timeout=SECONDS)):
            if number == MAX_LIST:
                raise Fault(f"The pattern is found more than {MAX_LIST} times.")
            yield match
    except TimeoutError:
        raise Fault(
            f"The pattern {pattern.pattern!r:.60} takes more than {SECONDS:g} s."
        ) from None


def _join_texts(separator: str, texts: list[str]) -> str:
    if sum(map(len, texts)) + len(separator) * len(texts) > 2 * MAX_TEXT:
        raise Fault(f"The text becomes longer than {MAX_TEXT} characters.")
    return _bound(separator.join(texts))


def _bound(value: Sized) -> Sized:
    limit, parts = (
        (MAX_TEXT, "characters") if isinstance(value, str) else (MAX_LIST, "elements")
    )
    if len(value) > limit:
        raise Fault(f"{type_name(value).capitalize()} has more than {limit} {parts}.")
    return value


TEXT, NUMBER = (str,), (int,)
PATTERN = {"pattern": TEXT, "flags": NUMBER}
FUNCTIONS: dict[str, tuple[dict[str, Any], Callable[..., Step]]] = {
    "findall": (PATTERN, _findall),
    "join": ({"separator": TEXT}, _join),
    "list": ({}, _list),
    "reduce": ({}, lambda: _sum),
    "search": (
        {**PATTERN, "group": (int, str), "default": (str, type(None))},
        _search,
    ),
    "split": ({**PATTERN, "maxsplit": NUMBER}, _split),
    "sub": ({**PATTERN, "repl": TEXT, "count": NUMBER}, _sub),
}
