"""Routes of a person's own pages, and of the tokens and members of a project."""

from django.contrib.auth import views as auth_views
from django.urls import path, re_path, reverse_lazy

from istore.accounts import projects, views
from istore.accounts.login_throttle import LoginForm, answering_delays
from istore.addresses import PROJECT

urlpatterns = [
    path(
        "login",
        answering_delays(
            auth_views.LoginView.as_view(
                redirect_authenticated_user=True, authentication_form=LoginForm
            )
        ),
        name="login",
    ),
    path("logout", auth_views.LogoutView.as_view(), name="logout"),
    path("logout/everywhere", views.log_out_everywhere, name="logout-everywhere"),
    path(
        "password",
        answering_delays(
            views.PasswordView.as_view(success_url=reverse_lazy("inferences:models"))
        ),
        name="password",
    ),
    path("projects", projects.projects, name="projects"),
    path("projects/new", projects.new_project, name="new-project"),
    path("theme", views.choose_theme, name="theme"),
    re_path(rf"^{PROJECT}/tokens$", views.tokens, name="tokens"),
    re_path(
        rf"^{PROJECT}/tokens/revoke-left$",
        views.revoke_beyond_makers,
        name="revoke-left",
    ),
    re_path(
        rf"^{PROJECT}/tokens/(?P<token>[0-9]+)/revoke$", views.revoke, name="revoke"
    ),
    re_path(rf"^{PROJECT}/members$", views.members, name="members"),
    re_path(
        rf"^{PROJECT}/members/(?P<membership>[0-9]+)$",
        views.change_member,
        name="change-member",
    ),
]
