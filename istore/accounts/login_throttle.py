"""Throttle log-ins: the delay between attempts grows with each wrong password.

Wrong passwords are counted in the database, by user name and by address, so the count holds
for all web processes and survives a restart. An attempt is counted *before* its password is
checked, and taken back when the password was right: of many attempts sent at once only one
is checked, as if they had come one after another. An attempt within a delay is refused at
once; it is not counted and its password is not checked. So the owner of the right password
waits for the end of one delay and no longer, however often strangers try.

A browser in which the person has logged in before holds a signed cookie, and is counted by
that cookie alone. Strangers who guess at a name do not lock out its owner.

Names without an account are counted like the others, so no answer reveals which names exist.
"""

from __future__ import annotations

import hashlib
import logging
import math
import secrets
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import wraps
from typing import Any, TypeVar

from django import forms
from django.conf import settings
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth import get_user_model
from django.contrib.auth.forms import AuthenticationForm, PasswordChangeForm
from django.core import signing
from django.db import connection, transaction
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponseBase
from django.views.decorators.debug import sensitive_variables

from istore.models import AuditEntry, LoginFailures
from istore.web.client_address import address_key

COOKIE = "known-browser"
COOKIE_SALT = "istore.known-browser"
COOKIE_SECONDS = 180 * 24 * 3600
# The audit log is append-only, so a flood of guesses must not fill it.
AUDITED_AN_HOUR = 100
FORGOTTEN = timedelta(days=1)  # longer than any delay, and than a count takes to decay

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Brake:
    """A back-off: after ``free`` wrong passwords the delay is 1 s, then 2, 4, … to ``longest``.

    One wrong password is forgotten every ``forget`` seconds.
    """

    free: int
    longest: int
    forget: int


# The longest delay of a name is short, because strangers can impose it on its owner.
BRAKES = {
    LoginFailures.Kind.USER: Brake(free=5, longest=60, forget=300),
    LoginFailures.Kind.ADDRESS: Brake(free=10, longest=900, forget=300),
    LoginFailures.Kind.BROWSER: Brake(free=5, longest=900, forget=300),
}
Key = tuple[LoginFailures.Kind, str]
Result = TypeVar("Result")
# In the META of a request: the seconds of a delay, or the attempt with the right password.
WAIT, ATTEMPT = "istore.password_wait", "istore.password_attempt"

# The unique index (kind, digest) decides between attempts at once: the second waits for the
# row. The UPDATE, and so RETURNING, skips the row while the delay lasts: no row means "too
# soon". It uses ``statement_timestamp``, because ``now()`` would
# be the same for a whole transaction.
COUNT = """
INSERT INTO istore_loginfailures AS held (kind, digest, failures, last_at, until)
VALUES (%(kind)s, %(digest)s, 1, statement_timestamp(), statement_timestamp())
ON CONFLICT (kind, digest) DO UPDATE SET (failures, last_at, until) = (
    SELECT counted.failures, statement_timestamp(), statement_timestamp() + make_interval(
        secs => CASE WHEN counted.failures < %(free)s THEN 0
            ELSE least(%(longest)s, power(2, counted.failures - %(free)s)) END)
    FROM (SELECT 1 + greatest(0, held.failures - floor(
        extract(epoch FROM statement_timestamp() - held.last_at) / %(forget)s)::int
    ) AS failures) AS counted
)
WHERE held.until <= statement_timestamp()
RETURNING failures
"""
WAIT = """
SELECT extract(epoch FROM until - statement_timestamp()) FROM istore_loginfailures
WHERE kind = %s AND digest = %s
"""
FORGIVE = """
UPDATE istore_loginfailures
SET failures = greatest(0, failures - 1), until = statement_timestamp()
WHERE kind = %s AND digest = %s
"""
COUNT_PLAINLY = """
INSERT INTO istore_loginfailures AS held (kind, digest, failures, last_at, until)
VALUES (%s, %s, 1, statement_timestamp(), statement_timestamp())
ON CONFLICT (kind, digest) DO UPDATE SET failures = held.failures + 1
RETURNING failures
"""


class TooSoon(Exception):
    """Raised within a delay; ``seconds`` is how long it still lasts."""

    def __init__(self, seconds: int) -> None:
        super().__init__(seconds)
        self.seconds = seconds


@dataclass(slots=True)
class Attempt:
    """One log-in attempt. It counts as wrong until ``succeed`` is called."""

    username: str
    address: str
    keys: list[Key] = field(default_factory=list)
    browser: str = ""
    is_right: bool = False

    @classmethod
    def begin(cls, request: HttpRequest, username: str) -> Attempt:
        """Return a counted attempt. Raises ``TooSoon`` within a delay."""
        attempt = cls(username, request.META.get("REMOTE_ADDR", ""))
        attempt.browser = _known_browser(request, username)
        if attempt.browser:
            attempt.keys = [(LoginFailures.Kind.BROWSER, _digest(attempt.browser))]
        else:
            attempt.keys = [
                (LoginFailures.Kind.USER, _digest(_fold(username))),
                (LoginFailures.Kind.ADDRESS, _digest(address_key(attempt.address))),
            ]
        # One transaction counts all keys or none. Sorted keys keep two attempts from a deadlock.
        try:
            with transaction.atomic():
                for key in sorted(attempt.keys):
                    _count(key)
        except TooSoon:
            raise TooSoon(max(map(_wait, attempt.keys))) from None
        return attempt

    @transaction.atomic
    def succeed(self) -> None:
        """Take this attempt back from the counts, because its password was right."""
        self.is_right = True
        with connection.cursor() as cursor:
            for kind, digest in sorted(self.keys):
                if kind == LoginFailures.Kind.ADDRESS:
                    cursor.execute(FORGIVE, [kind, digest])
                else:
                    rows = LoginFailures.objects.filter(kind=kind, digest=digest)
                    rows.delete()

    def fail(self) -> None:
        """Write the failure to the audit log, with the name only if an account has it.

        People type passwords into the field for names, so an unknown name is not written down.
        """
        users = get_user_model().objects
        is_known = users.filter(username=self.username).exists()
        name = self.username if is_known else "an unknown user name"
        log.warning("log-in failed: %s, from %s", name, self.address)
        with transaction.atomic():
            count = _count_in_this_hour()
            if count <= AUDITED_AN_HOUR:
                self._audit(name, address=self.address)
            elif count == AUDITED_AN_HOUR + 1:
                self._audit("more", note="Further ones of this hour are not listed.")

    def _audit(self, subject: str, **details: str) -> None:
        AuditEntry.write("nobody", "user.log-in-failed", subject, None, **details)


def forget_failures_of(username: str) -> None:
    """Forget the wrong passwords of a name, so that a new password can be tried at once."""
    LoginFailures.objects.filter(
        kind=LoginFailures.Kind.USER, digest=_digest(_fold(username))
    ).delete()


def forget_old_failures() -> int:
    """Delete counts older than a day, and return how many. Beat calls it."""
    old = LoginFailures.objects.filter(last_at__lt=Now() - FORGOTTEN)
    return old.delete()[0]


class ThrottledForm(forms.Form):
    """A form that checks a password of ``username`` no more often than the throttle allows."""

    def look(
        self, request: HttpRequest, username: str, look: Callable[[], Result]
    ) -> Result:
        """Return the result of ``look``, which checks the password.

        Raises ``ValidationError`` within a delay, without calling ``look``.
        """
        try:
            attempt = Attempt.begin(request, username)
        except TooSoon as error:
            request.META[WAIT] = error.seconds
            message = f"Too many wrong passwords. Try again in {_spell(error.seconds)}."
            raise forms.ValidationError(message, code="throttled") from None
        try:
            result = look()
        except forms.ValidationError:
            attempt.fail()
            raise
        attempt.succeed()
        request.META[ATTEMPT] = attempt
        return result


class LoginForm(ThrottledForm, AuthenticationForm):
    """The throttled log-in form of the pages, which audits each log-in."""

    request: HttpRequest

    @sensitive_variables()
    def clean(self) -> dict[str, Any]:
        username = self.cleaned_data.get("username")
        if username is None or not self.cleaned_data.get("password"):
            return super().clean()
        cleaned = self.look(self.request, username, super().clean)
        user = self.get_user()
        address = self.request.META.get("REMOTE_ADDR", "")
        AuditEntry.write(
            f"user {user}", "user.log-in", str(user), None, address=address
        )
        return cleaned


class AdminLoginForm(LoginForm, AdminAuthenticationForm):
    """The throttled log-in form of the administration, which admits staff only."""


class PasswordForm(ThrottledForm, PasswordChangeForm):
    """The throttled form for a new password.

    It checks the old password, and an open session must not become a place to guess it.
    """

    request: HttpRequest

    @sensitive_variables("old")
    def clean_old_password(self) -> str:
        old = super().clean_old_password
        password: str = self.look(self.request, self.user.get_username(), old)
        return password


def answering_delays(
    view: Callable[..., HttpResponseBase],
) -> Callable[..., HttpResponseBase]:
    """Wrap a view with a throttled form.

    The response is a 429 with ``Retry-After`` within a delay. After a right password it sets the
    cookie of a known browser.
    """

    @wraps(view)
    def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        response = view(request, *args, **kwargs)
        if wait := request.META.get(WAIT, 0):
            response.status_code = 429
            response["Retry-After"] = str(wait)
        elif attempt := request.META.get(ATTEMPT):
            _remember_browser(response, attempt)
        return response

    return answer


def _remember_browser(response: HttpResponseBase, attempt: Attempt) -> None:
    value = {
        "user": _digest(_fold(attempt.username)),
        "browser": attempt.browser or secrets.token_urlsafe(16),
    }
    response.set_cookie(
        COOKIE,
        signing.dumps(value, salt=COOKIE_SALT),
        COOKIE_SECONDS,
        httponly=True,
        samesite="Lax",
        secure=settings.SESSION_COOKIE_SECURE,
    )


def _known_browser(request: HttpRequest, username: str) -> str:
    """Return the id of the browser if this person has logged in with it, else ""."""
    cookie = request.COOKIES.get(COOKIE, "")
    try:
        value = signing.loads(cookie, salt=COOKIE_SALT, max_age=COOKIE_SECONDS)
    except signing.BadSignature:
        return ""
    return value["browser"] if value["user"] == _digest(_fold(username)) else ""


def _count(key: Key) -> None:
    kind, digest = key
    brake = BRAKES[kind]
    values: dict[str, Any] = {
        "kind": kind,
        "digest": digest,
        "free": brake.free,
        "longest": brake.longest,
        "forget": brake.forget,
    }
    with connection.cursor() as cursor:
        cursor.execute(COUNT, values)
        if cursor.fetchone() is None:
            raise TooSoon(0)


def _wait(key: Key) -> int:
    with connection.cursor() as cursor:
        cursor.execute(WAIT, key)
        found = cursor.fetchone()
    return max(1, math.ceil(found[0])) if found else 1


def _count_in_this_hour() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_char(statement_timestamp(), 'YYYY-MM-DD HH24')")
        hour = cursor.fetchone()[0]
        cursor.execute(COUNT_PLAINLY, [LoginFailures.Kind.AUDITED, _digest(hour)])
        count: int = cursor.fetchone()[0]
    return count


def _fold(username: str) -> str:
    return unicodedata.normalize("NFKC", username).casefold()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _spell(seconds: int) -> str:
    if seconds < 120:
        return "1 second" if seconds == 1 else f"{seconds} seconds"
    return f"{math.ceil(seconds / 60)} minutes"
