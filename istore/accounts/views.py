"""Pages of a person's own account, and of the tokens and members of a project."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta

from django import forms
from django.contrib import messages
from django.contrib.auth import SESSION_KEY, get_user_model, logout
from django.contrib.auth import views as auth_views
from django.contrib.auth.decorators import login_required
from django.contrib.auth.forms import PasswordChangeForm
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.auth.signals import user_logged_out
from django.contrib.sessions.models import Session
from django.db import IntegrityError, transaction
from django.dispatch import receiver
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from istore.accounts.access import caller_of, person_of
from istore.accounts.login_throttle import PasswordForm
from istore.accounts.token_makers import (
    Maker,
    find_makers,
    revoke_tokens_beyond_their_makers,
    valid_tokens,
)
from istore.accounts.tokens import create_token, revoke_token
from istore.db.clock import now
from istore.models import AuditEntry, Membership, Project, Role, Token
from istore.web.pages import (
    A_YEAR,
    THEME_COOKIE,
    THEMES,
    redirect_back,
    visible_project,
)

LIVES = {"30": "30 days", "90": "90 days", "365": "1 year", "": "no expiry"}


class PasswordView(auth_views.PasswordChangeView):
    template_name = "registration/password.html"
    form_class = PasswordForm

    def get_form(
        self, form_class: type[PasswordChangeForm] | None = None
    ) -> PasswordChangeForm:
        form = super().get_form(form_class)
        assert isinstance(form, PasswordForm)
        form.request = self.request
        return form

    @transaction.atomic
    def form_valid(self, form: PasswordChangeForm) -> HttpResponse:
        """Save the new password; Django then ends every other session of the person."""
        person = str(self.request.user)
        AuditEntry.write(caller_of(self.request), "user.change-password", person, None)
        messages.success(self.request, "Your password is changed.")
        return super().form_valid(form)


@receiver(user_logged_out)
def audit_log_out(sender: object, user: object, **_: object) -> None:
    """Audit a log-out, from the pages or the administration. An anonymous session has no user."""
    if user is not None:
        AuditEntry.write(f"user {user}", "user.log-out", str(user), None)


@login_required
@require_POST
def log_out_everywhere(request: HttpRequest) -> HttpResponse:
    """End every session of the person, including this one."""
    count = end_sessions(request.user)
    AuditEntry.write(
        caller_of(request),
        "user.log-out-everywhere",
        str(request.user),
        None,
        sessions=count,
    )
    logout(request)
    messages.success(request, "You are logged out everywhere.")
    return redirect("login")


def end_sessions(user: User | AnonymousUser) -> int:
    """End all sessions of the user, and return how many there were.

    Every live session is decoded for this: the user's id is inside it, and not in a column.
    """
    mine = [
        session.pk
        for session in Session.objects.filter(expire_date__gt=now()).iterator()
        if session.get_decoded().get(SESSION_KEY) == str(user.pk)
    ]
    return Session.objects.filter(pk__in=mine).delete()[0]


@require_POST
def choose_theme(request: HttpRequest) -> HttpResponse:
    """Set the cookie for light or dark, or delete it so that the system's theme applies."""
    response = redirect_back(request, request.POST.get("next", ""), "/")
    theme = request.POST.get("theme")
    if theme in THEMES:
        response.set_cookie(
            THEME_COOKIE, theme, A_YEAR, samesite="Lax", secure=request.is_secure()
        )
    else:
        response.delete_cookie(THEME_COOKIE, samesite="Lax")
    return response


class TokenForm(forms.Form):
    name = forms.CharField(
        max_length=255, help_text="What it is for, so that it can be told from others."
    )
    role = forms.ChoiceField(
        choices=Role.choices,
        initial=Role.EDITOR,
        help_text="Viewers read. Editors also send, change and delete, and say what "
        "retention removes. Administrators also restore and erase by value.",
    )
    life = forms.ChoiceField(
        label="Expires after", choices=list(LIVES.items()), required=False, initial="90"
    )


@login_required
@never_cache
@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
def tokens(request: HttpRequest, project_id: str) -> HttpResponse:
    """List the project's tokens. The secret of a new one is shown in this response only."""
    project = visible_project(request, project_id, Role.ADMINISTRATOR)
    form, secret, created = TokenForm(request.POST or None), "", None
    if request.method == "POST" and form.is_valid():
        fields = form.cleaned_data
        days = int(fields["life"] or 0)
        expires_at = now() + timedelta(days=days) if days else None
        created, secret = create_token(
            fields["name"],
            project,
            Role(fields["role"]),
            person_of(request),
            expires_at,
        )
        form = TokenForm()
    at = now()
    listed = list(project.tokens.select_related("created_by"))
    makers = find_makers(listed)
    rows = [_row(token, makers[token.pk], at) for token in listed]
    context = {
        "project": project,
        "form": form,
        "secret": secret,
        "created": created,
        "tokens": rows,
        "beyond": sum(bool(row["problem"]) for row in rows),
    }
    status = 400 if form.errors else 200
    return render(request, "accounts/tokens.html", context, status=status)


def _row(token: Token, maker: Maker, at: datetime) -> dict[str, object]:
    state = _state(token, at)
    problem = maker.problem(token) if state == "valid" else ""
    return {"token": token, "state": state, "maker": maker, "problem": problem}


def _state(token: Token, at: datetime) -> str:
    if token.revoked_at:
        return "revoked"
    return "expired" if token.expires_at and token.expires_at <= at else "valid"


@login_required
@require_POST
def revoke(request: HttpRequest, project_id: str, token: str) -> HttpResponse:
    """Revoke one token of the project."""
    project = visible_project(request, project_id, Role.ADMINISTRATOR)
    found = project.tokens.filter(pk=int(token), revoked_at=None).first()
    if found is None:
        raise Http404
    revoke_token(found, caller_of(request))
    messages.success(request, f"The token {found.name} opens nothing any more.")
    return redirect("tokens", project.project_id)


@login_required
@require_POST
def revoke_beyond_makers(request: HttpRequest, project_id: str) -> HttpResponse:
    """Revoke all tokens of the project that have more rights than their makers."""
    project = visible_project(request, project_id, Role.ADMINISTRATOR)
    revoked = revoke_tokens_beyond_their_makers(caller_of(request), project)
    messages.success(request, f"{_count_tokens(len(revoked))} revoked.")
    return redirect("tokens", project.project_id)


def _count_tokens(count: int) -> str:
    return "1 token" if count == 1 else f"{count} tokens"


class MemberForm(forms.Form):
    username = forms.CharField(
        max_length=150, help_text="Of a person who has an account in this store."
    )
    role = forms.ChoiceField(choices=Role.choices, initial=Role.VIEWER)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def members(request: HttpRequest, project_id: str) -> HttpResponse:
    """List the members of the project for every member; administrators may add one."""
    role = Role.ADMINISTRATOR if request.method == "POST" else Role.VIEWER
    project = visible_project(request, project_id, role)
    form = MemberForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        name, role = form.cleaned_data["username"], form.cleaned_data["role"]
        _add(request, project, name, Role(role))
        # The same message whether or not an account has this name.
        messages.success(request, f"Whoever is called {name} belongs to {project} now.")
        return redirect("members", project.project_id)
    context = {
        "project": project,
        "form": form,
        "roles": Role.choices,
        "may_administer": caller_of(request).may(Role.ADMINISTRATOR, project),
        "members": project.memberships.select_related("user").order_by(
            "user__username"
        ),
    }
    status = 400 if form.errors else 200
    return render(request, "accounts/members.html", context, status=status)


def _add(request: HttpRequest, project: Project, name: str, role: Role) -> None:
    """Add a member, and audit the attempt even if no account has the name.

    So trying many names leaves a trace in the audit log.
    """
    caller = caller_of(request)
    users = get_user_model().objects.filter(username=name, is_active=True)
    with suppress(IntegrityError), transaction.atomic():
        if user := users.first():
            Membership.objects.create(project=project, user=user, role=role)
            AuditEntry.write(caller, "member.add", name, project, role=role)
            return
    AuditEntry.write(caller, "member.add-nobody", "", project)


def _tokens_left_by(membership: Membership) -> int:
    tokens = valid_tokens(membership.project)
    return sum(token.created_by_id == membership.user_id for token in tokens)


@login_required
@require_POST
@transaction.atomic
def change_member(
    request: HttpRequest, project_id: str, membership: str
) -> HttpResponse:
    """Change the role of a member, or remove them. A project keeps one administrator."""
    project = visible_project(request, project_id, Role.ADMINISTRATOR)
    # Row locks: of two administrators who demote each other at once, the second waits here
    # and sees the change of the first, so one administrator is always left.
    locked = project.memberships.select_for_update().select_related("user")
    held = {each.pk: each for each in locked.order_by("pk")}
    found = held.get(int(membership))
    wanted = request.POST.get("role", "")
    if found is None or wanted not in ("", *Role.values):
        raise Http404
    others = [each for each in held.values() if each.pk != found.pk]
    is_last = not any(other.role == Role.ADMINISTRATOR for other in others)
    caller = caller_of(request)
    if found.role == Role.ADMINISTRATOR and wanted != Role.ADMINISTRATOR and is_last:
        messages.error(request, f"{project} needs an administrator.")
    elif wanted:
        found.role = wanted
        found.save(update_fields=["role"])
        subject = str(found.user)
        AuditEntry.write(caller, "member.change", subject, project, role=wanted)
        messages.success(request, f"{found.user} is {Role(wanted).label.lower()} now.")
    else:
        found.delete()
        AuditEntry.write(caller, "member.remove", str(found.user), project)
        messages.success(request, f"{found.user} has left {project}.")
        if theirs := _tokens_left_by(found):
            messages.warning(
                request,
                f"{_count_tokens(theirs)} of {found.user} still open it: see Tokens.",
            )
    return redirect("members", project.project_id)
