"""Querysets that are compiled once, with other values at each call."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import AnonymousUser, User

from inferences.models import RegisteredModel
from istore.accounts.access import Caller
from istore.models import Membership, Project, Role

pytestmark = pytest.mark.django_db


@pytest.fixture
def people():
    """Two people and a project of each, both with a model of one id."""
    found = []
    for number, role in enumerate((Role.VIEWER, Role.EDITOR)):
        user = User.objects.create_user(f"person-{number}")
        project = Project.objects.create(project_id=f"project-{number}")
        Membership.objects.create(user=user, project=project, role=role)
        RegisteredModel.objects.create(model_id="a/b", project=project, task_type="x")
        found.append((user, project))
    return found


@pytest.mark.parametrize("is_named", [False, True])
def test_each_person_sees_the_models_of_their_own_projects(people, is_named):
    for user, project in people:
        for _, other in people:
            named = other.project_id if is_named else None
            found = RegisteredModel.objects.seen_by(Caller(user), "a/b", named)
            own = not is_named or other == project
            assert (found.project if found else None) == (project if own else None)


def test_roles_are_those_of_the_membership(people):
    (viewer, of_viewer), (editor, of_editor) = people
    assert not Caller(viewer).may(Role.EDITOR, of_viewer)
    assert Caller(editor).may(Role.EDITOR, of_editor)
    assert Caller(editor).may(Role.VIEWER, of_editor)
    assert not Caller(editor).may(Role.ADMINISTRATOR, of_editor)
    assert not Caller(editor).may(Role.VIEWER, of_viewer)
    assert not Caller(AnonymousUser()).may(Role.VIEWER, of_editor)


def test_a_person_who_left_sees_nothing_and_a_superuser_all(people):
    (user, project), _ = people
    user.is_active = False
    assert RegisteredModel.objects.seen_by(Caller(user), "a/b", "project-0") is None
    assert not Caller(user).may(Role.VIEWER, project)
    user.is_active = user.is_superuser = True
    assert RegisteredModel.objects.seen_by(Caller(user), "a/b", "project-1")
    assert Caller(user).may(Role.ADMINISTRATOR, project)


def test_a_revoked_membership_counts_at_once(people):
    (user, project), _ = people
    assert Caller(user).may(Role.VIEWER, project)
    Membership.objects.filter(user=user).delete()
    assert not Caller(user).may(Role.VIEWER, project)
    assert RegisteredModel.objects.seen_by(Caller(user), "a/b") is None
