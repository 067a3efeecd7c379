"""Every page: nothing serious for axe in either theme, no complaint, no sideways scroll.

A page that is not in ``pages_of_the_store`` fails the first test.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.test import Client
from django.urls import URLPattern, get_resolver
from playwright.sync_api import Page

from datasets import lifecycle
from datasets.adding import carry_out as add
from datasets.models import AddingTask, Dataset
from exports.archive_writer import carry_out
from exports.models import ExportTask
from exports.schedules import lifecycle as schedules
from inferences.erasure.matching_records import Carried
from inferences.erasure.running import erase, open_erasure
from inferences.ground_truth.upsert import put_truth
from inferences.models import RegisteredModel, TaskType
from inferences.store import soft_deletion
from inferences.tests.conversation_builders import (
    answer_of,
    chat_model,
    said,
    store_chat,
)
from inferences.tests.test_embedding_maps import store as store_heaps
from retention import policies
from retention.sweeping import sweep
from services import sessions
from services.models import Runner
from tests.conftest import box, shot
from tests.pages_of_the_store import NO_PAGES, PAGES
from traces.tests.builders import TRACE, request_of
from traces.tests.conftest import secret, send

__all__ = ["secret", "send"]  # fixtures of another app

WIDTHS = (320, 390, 768, 1440, 2560, 3840)
ADDRESSES = [address for addresses in PAGES.values() for address in addresses]


def named_routes(patterns, namespace: str = "", path: str = "") -> Iterator[str]:
    for each in patterns:
        here = path + str(each.pattern)
        if isinstance(each, URLPattern):
            if each.name:
                yield f"{namespace}:{each.name}" if namespace else each.name
        elif not here.startswith(("api/v1/", "admin/")):
            yield from named_routes(
                each.url_patterns, each.namespace or namespace, here
            )


def test_every_page_is_in_the_table():
    routes = set(named_routes(get_resolver().url_patterns))
    assert routes - NO_PAGES == set(PAGES)
    assert not NO_PAGES - routes


@pytest.fixture
def full_store(store, project, make_inference, send) -> dict[str, str]:
    """A store in which every page has something to show; the ids that addresses name."""
    User.objects.filter(username="maria").update(is_staff=True, is_superuser=True)
    faces = RegisteredModel.objects.create(
        model_id="faces",
        project=project,
        task_type=TaskType.IMAGE_EMBEDDING,
        embedding_size=8,
    )
    store_heaps(faces, 40)
    crane = {**box(100, 10, 150, 110), "label": "crane"}
    put_truth("test", store, "harbour/0", {"boxes": [crane]})
    make_inference({"camera": "west"}, inference_id="to erase")
    make_inference(inference_id="hidden")
    soft_deletion.hide_all(
        "test", store, lambda: store.inferences.live().filter(inference_id="hidden")
    )
    export = ExportTask.objects.create(
        model=store, created_by="maria", format="coco", selection={}
    )
    carry_out(export)
    schedule = schedules.create(
        "maria",
        store,
        from_beginning=True,
        name="nightly",
        interval_hours=24,
    )
    dataset = Dataset.objects.create(project=project, name="ships")
    adding = AddingTask.objects.create(
        dataset=dataset, model=store, selection={}, created_by="maria"
    )
    add(adding)
    policy = policies.create_policy(
        "test",
        store,
        maximum_record_age=-1,
        maximum_blob_age=10**6,
        delete_action="soft",
        automated_interval=0,
    )
    task = policies.open_task("maria", policy)
    sweep(task)
    erasure = open_erasure(
        "maria", project, Carried("camera", "string", "west"), why="", dry_run=False
    )
    erase(erasure)
    service = sessions.create_service(
        "maria",
        project,
        account="harbour",
        name="captions",
        runner=Runner.MOCK,
        configuration={"mock": "TextCompletion"},
        endpoint="generate",
    )
    dataset.refresh_from_db()
    lifecycle.publish("maria", dataset)
    support = chat_model(project, "support")
    for name in "ab":
        asked = {"model": "gpt", "messages": [said("user", "When is the **tide**?")]}
        answer = answer_of(f"At {name}.\n\n```\n14:05\n```")
        session = {"session": "s-1"}
        store_chat(make_inference, support, asked, answer, session, inference_id=name)
    kinds = "openinference.span.kind"
    spans = request_of(
        {"attributes": {kinds: "AGENT"}, "name": "answer"},
        {"parent": 1, "attributes": {kinds: "TOOL"}, "name": "tide", "error": "No."},
    )
    send(spans)
    return {
        "entry": str(dataset.entries.first().pk),
        "trace": TRACE.hex(),
        "export": str(export.pk),
        "schedule": str(schedule.pk),
        "erasure": str(erasure.pk),
        "retention": str(task.pk),
        "service": str(service.pk),
    }


def come_in(page: Page, server: str) -> None:
    """Log in without the form, which takes a second of each test."""
    client = Client()
    client.force_login(User.objects.get(username="maria"))
    name = django_settings.SESSION_COOKIE_NAME
    value = client.cookies[name].value
    page.context.add_cookies([{"name": name, "value": value, "url": server}])


@pytest.fixture
def look(findings):
    """Look at a page in both themes and at all widths; returns what is wrong with it."""

    def at(page: Page, address: str) -> list[str]:
        page.wait_for_load_state("networkidle")
        found = []
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            found += findings(page, f"{scheme} {address}")
        name = "".join(c if c.isalnum() else "-" for c in address).strip("-")
        shot(page, f"page-{name[:80] or 'models'}")
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            wide = page.evaluate("document.documentElement.scrollWidth")
            if wide > width:
                found.append(f"{address} is {wide} pixels wide at {width}")
        return found

    return at


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("address", ADDRESSES)
def test_every_page_can_be_used_by_everyone(
    full_store, watched, live_server, look, address
):
    page = watched
    if address != "/login":
        come_in(page, live_server.url)
    answer = page.goto(live_server.url + address.format(**full_store))
    assert answer.status == 200
    found = look(page, address)
    assert not found, "\n".join(found)


@pytest.mark.django_db(transaction=True)
def test_an_error_can_be_used_by_everyone(store, page, live_server, look):
    come_in(page, live_server.url)
    assert page.goto(f"{live_server.url}/nothing-is-here").status == 404
    found = look(page, "an error")
    assert not found, "\n".join(found)
