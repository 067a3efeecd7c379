from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.urls import reverse

from istore.models import Membership, Role


@pytest.fixture
def person(project):
    """``person(Role.VIEWER)`` makes a client of somebody who is logged in."""

    def make(role: Role | None = Role.VIEWER, name: str = ""):
        from django.test import Client

        user = User.objects.create_user(name or f"{role}-person", password="anchor-42")
        if role:
            Membership.objects.create(user=user, project=project, role=role)
        client = Client()
        client.force_login(user)
        return client

    return make


def test_browsing_shows_inferences(person, model, make_inference):
    make_inference({"camera": "north"})
    response = person().get(reverse("inferences:browse", args=[model.model_id]))
    assert response.status_code == 200
    assert b"inference-1" in response.content
