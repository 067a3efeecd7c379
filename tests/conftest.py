"""What the tests of pages share: a store with pictures, a browser that complains."""

from __future__ import annotations

import io
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.auth.models import User
from PIL import Image, ImageDraw
from playwright.sync_api import Page, expect

from inferences.models import RegisteredModel, TaskType
from istore import blobs
from istore.models import Membership, Role

PASSWORD = "anchor-42"
SHOTS = os.environ.get("SCREENSHOTS")
FORMS = {"wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"}


@pytest.fixture
def store(transactional_db, make_inference, model, project):
    """Three pictures with ships in them, newest first from camera north."""
    user = User.objects.create_user("maria", password=PASSWORD)
    Membership.objects.create(user=user, project=project, role=Role.ADMINISTRATOR)
    viewer = User.objects.create_user("viktor", password=PASSWORD)
    Membership.objects.create(user=viewer, project=project, role=Role.VIEWER)
    for number, camera in enumerate(("north", "south", "north")):
        make_inference(
            {"camera": camera, "frame": number},
            inference_id=f"harbour/{number}",
            created_at=datetime(2025, 6, 1, tzinfo=UTC) + timedelta(hours=number),
            data=answer(2),
            detections=[("ship", 0.9), ("crane", 0.4)],
            data_storage_key=stored(picture()),
            data_content_type="image/png",
            notes={"times": moments(), "warnings": ["gain was set aside"]},
        )
    wine = RegisteredModel.objects.create(
        model_id="wine", project=project, task_type=TaskType.TABULAR_CLASSIFICATION
    )
    make_inference(
        to=wine,
        inference_id="bottle",
        data='{"image_classification": [{"label": "red", "score": 0.8}]}',
        data_storage_key=stored(b'{"alcohol": 13.5, "ash": 2.1}'),
        data_content_type="application/json",
    )
    return model


def answer(ships: int) -> str:
    found = [
        {"label": "ship", "score": 0.9, "bounding_box": box(20, 20, 90, 70)},
        {"label": "crane", "score": 0.4, "bounding_box": box(100, 10, 150, 110)},
    ]
    return json.dumps({"object_detection": found[:ships]})


def box(xmin, ymin, xmax, ymax) -> dict[str, int]:
    return {"xmin": xmin, "ymin": ymin, "xmax": xmax, "ymax": ymax}


def picture() -> bytes:
    image = Image.new("RGB", (160, 120), "#27506e")
    draw = ImageDraw.Draw(image)
    draw.rectangle((20, 20, 90, 70), fill="#e8e2d0")
    draw.rectangle((100, 10, 150, 110), fill="#c46a1c")
    made = io.BytesIO()
    image.save(made, "PNG")
    return made.getvalue()


def stored(content: bytes) -> str:
    key = f"1/1/2025/06/01/00/{uuid4()}/input"
    blobs.put(key, content)
    return key


def moments() -> dict[str, str]:
    words = ("received", "forwarded", "responded", "published", "indexed")
    return {
        word: f"2025-06-01T00:00:00.{number}00000Z" for number, word in enumerate(words)
    }


@pytest.fixture
def watched(page: Page, live_server):
    """The page; whatever it complains of, and whoever else it asks, fails the test."""
    complaints: list[str] = []
    page.on(
        "console",
        lambda message: (
            complaints.append(message.text)
            if message.type in ("error", "warning")
            else None
        ),
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "request",
        lambda request: (
            complaints.append(request.url)
            if not request.url.startswith((live_server.url, "data:", "blob:"))
            else None
        ),
    )
    page.on(
        "response",
        lambda response: (
            complaints.append(f"{response.status} {response.url}")
            if response.status >= 400
            else None
        ),
    )
    page.set_default_timeout(20_000)
    page.set_default_navigation_timeout(30_000)
    yield page
    page.close()
    assert not complaints


@pytest.fixture
def log_in(live_server):
    def at(page: Page, name: str = "maria") -> None:
        page.goto(f"{live_server.url}/login")
        page.get_by_label("User name").fill(name)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("heading", name="Models")).to_be_visible()

    return at


def shot(page: Page, name: str) -> None:
    """Pictures for people, where somebody asks for them: light, dark, on a phone."""
    if not SHOTS:
        return
    size = page.viewport_size
    for kind in ("light", "dark", "phone"):
        page.emulate_media(color_scheme="dark" if kind == "dark" else "light")
        if kind == "phone":
            page.set_viewport_size({"width": 390, "height": 844})
        # Hiding the caret would be an inline style, which the policy of the pages forbids.
        page.screenshot(path=Path(SHOTS) / f"{name}-{kind}.png", caret="initial")
    page.set_viewport_size(size)


def shot_as_it_is(page: Page, name: str) -> None:
    """A picture of the page as it stands, where somebody asks for pictures."""
    if SHOTS:
        page.screenshot(path=Path(SHOTS) / f"{name}.png", caret="initial")


def settle(page: Page) -> None:
    """Wait until nothing on the page loads or fades: half a fade has half the contrast."""
    expect(page.locator(".htmx-request")).to_have_count(0)
    page.evaluate(
        """Promise.all(document.getAnimations()
            .filter(one => Number.isFinite(one.effect.getComputedTiming().endTime))
            .map(one => one.finished.catch(() => {})))"""
    )


@pytest.fixture
def findings():
    """What axe finds serious or critical on the page as it stands."""
    axe = Axe()

    def found(page: Page, where: str) -> list[str]:
        settle(page)
        options = {"resultTypes": ["violations"], "runOnly": sorted(FORMS)}
        violations = axe.run(page, options=options).response["violations"]
        return [
            f"{where}: {each['id']} {node['html'][:160]}"
            for each in violations
            if each["impact"] in ("serious", "critical")
            for node in each["nodes"]
        ]

    return found
