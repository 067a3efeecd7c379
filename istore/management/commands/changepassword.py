from __future__ import annotations

import getpass
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.management.commands import changepassword

from istore.accounts.login_throttle import forget_failures_of
from istore.models import AuditEntry


class Command(changepassword.Command):
    """Django's own, which leaves an audit row and ends the delay of wrong passwords."""

    def handle(self, *args: Any, **options: Any) -> Any:
        username = options["username"] or getpass.getuser()
        message = super().handle(*args, **options)
        user = get_user_model().objects.get_by_natural_key(username)
        AuditEntry.write("command", "user.set-password", str(user), None)
        forget_failures_of(username)
        return message
