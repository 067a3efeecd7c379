"""The map of embeddings, for a person: point, draw an area, open what lies in it."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from inferences.models import RegisteredModel, TaskType
from inferences.tests.test_embedding_maps import lay_out
from inferences.tests.test_embedding_maps import store as store_heaps
from tests.conftest import shot

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def faces(project):
    faces = RegisteredModel.objects.create(
        model_id="faces",
        project=project,
        task_type=TaskType.IMAGE_EMBEDDING,
        embedding_size=8,
    )
    store_heaps(faces, 90)
    return faces


def test_an_area_drawn_on_the_map_opens_what_lies_in_it(
    store, faces, watched, live_server, log_in, findings
):
    page = watched
    log_in(page)
    page.goto(f"{live_server.url}/models/faces/embeddings?colour=heap:string")
    frame = page.locator("[data-embedding-map][data-ready]")
    expect(frame.get_by_role("status")).to_contain_text("90 inferences")
    expect(frame.locator(".map-legend button")).to_have_count(3)
    assert findings(page, "embeddings") == []
    shot(page, "embeddings")

    # Around everything.
    box = frame.locator("canvas").bounding_box()
    left, top = box["x"] + 4, box["y"] + 4
    right, bottom = left + box["width"] - 8, top + box["height"] - 8
    page.mouse.move(left, top)
    page.mouse.down()
    for x, y in ((right, top), (right, bottom), (left, bottom)):
        page.mouse.move(x, y, steps=4)
    page.mouse.up()
    opener = frame.get_by_role("link", name="Show these 90")
    expect(opener).to_be_visible()
    opener.click()
    expect(page).to_have_url(re.compile(r"/inferences\?q=map"))
    expect(page.get_by_role("status").filter(has_text="inference")).to_have_text(
        "90 inferences"
    )


def test_the_map_is_used_by_keys_alone(store, faces, watched, live_server, log_in):
    lay_out(faces)
    page = watched
    log_in(page)
    page.goto(f"{live_server.url}/models/faces/embeddings?layout=tsne")
    frame = page.locator("[data-embedding-map][data-ready]")
    expect(frame.get_by_role("status")).to_contain_text("90 inferences")
    view = frame.get_by_role("link", name="The inferences in view")
    whole = view.get_attribute("href")
    frame.locator("canvas").focus()
    page.keyboard.press("+")
    page.keyboard.press("ArrowLeft")
    assert view.get_attribute("href") != whole
    page.keyboard.press("0")
    view.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("status").filter(has_text="inference")).to_have_text(
        "90 inferences"
    )
