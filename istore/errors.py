"""The errors of the store. Any module raises them; each face translates them in one place.

The API answers with a problem document (``istore.api.problems``), a page with a sentence
(``inferences.web.errors``) or an error page (``istore.web.request_checks``), a command ends
with a line (``istore.management.store_command``), and a task fails or waits
(``istore.tasks.tracking``). The codes are listed in section 4 of the reliability page.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Self

FIELD_ERRORS_MAX = 50  # listed for one request; more would not help its author


class StoreError(Exception):
    """Why the store does not do what it was asked: ``code`` for programs, a message for people.

    ``status`` is the kind of error by HTTP's number. ``retry_after`` is in seconds. ``members``
    are further members of the problem document.
    """

    status: int = HTTPStatus.INTERNAL_SERVER_ERROR
    members: Mapping[str, Any] = {}

    def __init__(
        self, code: str, message: str = "", *, retry_after: int | None = None
    ) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.retry_after = retry_after

    def __str__(self) -> str:
        return self.message


class BadInput(StoreError):
    """What was given cannot be read or used."""

    status = HTTPStatus.BAD_REQUEST


class Forbidden(StoreError):
    status = HTTPStatus.FORBIDDEN


class NotFound(StoreError):
    """There is no such thing, or the caller may not know of it. The message may be empty."""

    status = HTTPStatus.NOT_FOUND


class Conflict(StoreError):
    """The present state does not allow it; the code says which conflict."""

    status = HTTPStatus.CONFLICT


class Gone(StoreError):
    status = HTTPStatus.GONE


class TooLarge(StoreError):
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class Unprocessable(StoreError):
    """It can be read, but not be carried out: it asks for too much, for example."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY


class Unavailable(StoreError):
    """It may succeed later, unchanged."""

    status = HTTPStatus.SERVICE_UNAVAILABLE


class RateLimited(Unavailable):
    status = HTTPStatus.TOO_MANY_REQUESTS


class UpstreamFailed(Unavailable):
    """A model's server answered with what cannot be used."""

    status = HTTPStatus.BAD_GATEWAY


class StorageFull(Unavailable):
    status = HTTPStatus.INSUFFICIENT_STORAGE


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one value; ``path`` has the names and positions that lead to it."""

    message: str
    path: tuple[str, ...] = ()
    code: str = "invalid"

    @property
    def pointer(self) -> str:
        """Return the path as a JSON pointer (RFC 6901)."""
        steps = (step.replace("~", "~0").replace("/", "~1") for step in self.path)
        return "".join(f"/{step}" for step in steps)


class Invalid(BadInput):
    """Values are wrong, each named: ``Invalid("…", "filters", "metadata_filter", 0)``.

    The error has the code of the first value if that is one of the store's own.
    """

    def __init__(self, message: str, *path: str | int, code: str = "invalid") -> None:
        self._set([FieldError(message, tuple(map(str, path)), code)])

    @classmethod
    def of(cls, errors: Iterable[FieldError]) -> Self:
        """Return the error of several values; there is at least one."""
        error = cls.__new__(cls)
        error._set(errors)
        return error

    def _set(self, errors: Iterable[FieldError]) -> None:
        self.errors = tuple(errors)
        first = self.errors[0]
        code = first.code if "-" in first.code else "validation-error"
        super().__init__(code, first.message)
        self.members = {
            "errors": [
                {"pointer": each.pointer, "message": each.message, "code": each.code}
                for each in self.errors
            ]
        }

    def beneath(self, *path: str) -> Invalid:
        """Return the same error of values that lie beneath a path."""
        return Invalid.of(
            FieldError(each.message, path + each.path, each.code)
            for each in self.errors
        )

    def __str__(self) -> str:
        place = self.errors[0].pointer.lstrip("/").replace("/", ".")
        return f"{place or 'The body'}: {self.message}"
