"""Whatever is sent to the address of a page, somebody who looks is told something."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import pytest
from django.urls import NoReverseMatch, get_resolver, reverse
from django.urls.resolvers import URLPattern, URLResolver

from istore.models import Role

pytestmark = pytest.mark.django_db

OTHERS = ("api/", "admin/", "health/", "blobs", "uploads", "favicon.ico")
# What the parts of an address may be; nothing has to be there.
PARTS = ("0" * 8 + "-0000-4000-8000-" + "0" * 12, "1", "input", "0" * 32)


def _patterns(
    resolver: URLResolver, spaces: tuple[str, ...] = ()
) -> Iterator[tuple[str, URLPattern]]:
    for each in resolver.url_patterns:
        if str(each.pattern).startswith(OTHERS):
            continue
        if isinstance(each, URLResolver):
            inner = (*spaces, each.namespace) if each.namespace else spaces
            yield from _patterns(each, inner)
        elif each.name:
            yield ":".join((*spaces, each.name)), each


PAGES = dict(_patterns(get_resolver()))


def address(name: str) -> str:
    pattern = PAGES[name].pattern
    names = sorted({*pattern.regex.groupindex, *pattern.converters})
    for parts in product(PARTS, repeat=len(names)):
        try:
            return reverse(name, kwargs=dict(zip(names, parts, strict=True)))
        except NoReverseMatch:
            continue
    raise LookupError(name)


@pytest.fixture
def person(client, django_user_model, project):
    user = django_user_model.objects.create_user("ann", is_staff=True)
    project.memberships.create(user=user, role=Role.ADMINISTRATOR)
    client.force_login(user)
    return client


def test_there_are_pages():
    assert {"inferences:models", "retention:policy", "services:services"} <= {*PAGES}
    assert len(PAGES) > 60


EMPTY = {204, 302, 304}


@pytest.mark.parametrize("name", PAGES)
def test_no_answer_is_empty(person, name):
    response = person.get(address(name))
    assert response.streaming or response.content or response.status_code in EMPTY


TAKE_PUT = {"login", "password"}  # forms of Django read it as they read POST


@pytest.mark.parametrize("name", [name for name in PAGES if name not in TAKE_PUT])
def test_a_method_that_an_address_has_not_is_refused_on_a_page(person, name):
    response = person.put(address(name))
    assert response.status_code == 405
    assert response["Allow"]
    page = response.content.decode()
    assert "This address " in page and "</html>" in page


def test_who_looks_at_the_switch_of_storage_finds_the_storage_page(person, model):
    response = person.get("/models/yolo-harbour/storage")
    assert response["Location"] == "/projects/harbour/models/yolo-harbour/retention"
    assert person.get(response["Location"]).status_code == 200
    model.refresh_from_db()
    assert model.enable_inference_storage


def test_the_api_says_it_in_its_own_form(client):
    response = client.put("/api/v1/models")
    assert response.status_code in (401, 405)
    assert response["Content-Type"] == "application/problem+json"
