"""A person reviews a list: one picture after another, by keyboard and by mouse, and loses nothing."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta

import pytest
from PIL import Image, ImageDraw
from playwright.sync_api import Page, expect

from datasets.models import AddingTask
from datasets.tasks import run_adding_task
from inferences.ground_truth.upsert import put_truth
from inferences.models import InferencePayload, RegisteredModel, TaskType
from inferences.models.ground_truth import GroundTruth
from tests.conftest import box, picture, shot, stored

pytestmark = pytest.mark.django_db(transaction=True)
MODEL = "/projects/harbour/models/yolo-harbour"
LIST, REVIEW = f"{MODEL}/inferences", f"{MODEL}/review"
SIDES = ("xmin", "ymin", "xmax", "ymax")


@pytest.fixture
def nights(store, make_inference):
    """Six pictures of the night, in each a ship that may as well be none, the newest first."""
    store.class_labels = ["ship", "crane", "buoy"]
    store.save()
    for number in range(6):
        found = [{"label": "ship", "score": 0.3, "bounding_box": box(20, 20, 90, 70)}]
        make_inference(
            {"light": "night"},
            inference_id=f"night/{number}",
            created_at=datetime(2025, 7, 1, tzinfo=UTC) + timedelta(hours=number),
            data=json.dumps({"object_detection": found}),
            detections=[("ship", 0.3)],
            data_storage_key=stored(picture()),
            data_content_type="image/png",
        )
    return store


def truth_of(model, inference_id: str) -> dict | None:
    row = model.inferences.get(inference_id=inference_id)
    found = GroundTruth.objects.beside(model).filter(id=row.id).first()
    return found.truth if found else None


def under_review(page: Page, name: str) -> None:
    expect(page.locator("#inference-id")).to_have_text(name)


def test_the_doubtful_are_corrected_and_the_rest_becomes_a_dataset(
    nights, watched, live_server, log_in
):
    """Fourteen acts: what a person types, clicks or presses, each counted."""
    page, acts = watched, 0
    log_in(page)
    page.goto(live_server.url + LIST)

    def act(step) -> None:
        nonlocal acts
        acts += 1
        step()

    def ask(text: str) -> None:
        page.get_by_role("searchbox", name="Query").fill(text)
        page.get_by_role("searchbox", name="Query").press("Enter")

    act(lambda: ask("meta.light=night score<0.5"))
    expect(page.locator(".card")).to_have_count(6)
    expect(page.locator(".card .shape:not(.other)")).to_have_count(6)
    act(lambda: page.get_by_role("link", name="Review").click())

    under_review(page, "night/5")
    expect(page.locator(".review-place")).to_contain_text("1 of 6")
    shot(page, "review-begin")
    act(lambda: page.keyboard.press("a"))
    under_review(page, "night/4")
    act(lambda: page.keyboard.press("3"))
    expect(page.locator(".correction-names text")).to_have_text("buoy")
    act(lambda: page.keyboard.press("s"))
    under_review(page, "night/3")
    act(lambda: page.keyboard.press("Delete"))
    act(lambda: page.keyboard.press("s"))
    under_review(page, "night/2")
    expect(page.locator(".review-place")).to_contain_text("4 of 6")
    act(lambda: page.keyboard.press("u"))

    expect(page.locator(".card")).to_have_count(6)
    act(lambda: ask("meta.light=night score<0.5 truth:missing"))
    expect(page.locator(".card")).to_have_count(3)
    act(lambda: page.get_by_role("button", name="Select all 3").click())
    act(lambda: page.get_by_role("button", name="Add to dataset").click())
    act(lambda: page.get_by_label("Or a new one, named").fill("doubtful nights"))
    act(lambda: page.get_by_role("button", name="Add 3 inferences").click())
    expect(page.get_by_role("heading", name="doubtful nights")).to_be_visible()
    run_adding_task(str(AddingTask.objects.get().pk))
    expect(page.locator(".card")).to_have_count(3)

    assert acts <= 15
    (ship,) = truth_of(nights, "night/5")["boxes"]
    assert (ship["label"], *(ship[side] for side in SIDES)) == ("ship", 20, 20, 90, 70)
    assert [each["label"] for each in truth_of(nights, "night/4")["boxes"]] == ["buoy"]
    assert truth_of(nights, "night/3") == {"boxes": []}
    assert truth_of(nights, "night/2") is None


def at(page: Page, x: float, y: float) -> tuple[float, float]:
    """Where a pixel of the picture of 160 by 120 is on the screen."""
    layer = page.locator(".correction").bounding_box()
    return (
        layer["x"] + x * layer["width"] / 160,
        layer["y"] + y * layer["height"] / 120,
    )


def drag(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    page.mouse.move(*at(page, *start))
    page.mouse.down()
    page.mouse.move(*at(page, *end), steps=4)
    page.mouse.up()


def test_boxes_are_drawn_moved_undone_and_done_again(
    nights, watched, live_server, log_in
):
    page = watched
    log_in(page)
    page.goto(f"{live_server.url}{REVIEW}?at=night/5")
    boxes = page.get_by_label("Boxes", exact=True).get_by_role("button")
    expect(boxes).to_have_count(1)
    page.keyboard.press("2")
    expect(boxes.first).to_have_text("1. crane")
    drag(page, (100, 10), (150, 110))
    expect(boxes).to_have_count(2)
    drag(page, (120, 60), (110, 60))  # moved by ten to the left
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    expect(boxes).to_have_count(1)
    page.keyboard.press("Control+z")
    expect(boxes.first).to_have_text("1. ship")
    expect(page.get_by_role("button", name="Undo")).to_be_disabled()
    for _ in range(3):
        page.keyboard.press("Control+Shift+z")
    expect(boxes).to_have_text(["1. crane", "2. crane"])
    shot(page, "review-drawn")
    page.keyboard.press("s")
    under_review(page, "night/4")
    first, second = truth_of(nights, "night/5")["boxes"]
    assert [first[side] for side in SIDES] == [20, 20, 90, 70]  # as the answer has it
    assert second["xmin"] == pytest.approx(90, abs=1)
    assert second["xmax"] == pytest.approx(140, abs=1)


def test_polygons_are_drawn_by_mouse_and_by_keyboard(
    store, make_inference, watched, live_server, log_in
):
    areas = RegisteredModel.objects.create(
        model_id="areas",
        project=store.project,
        task_type=TaskType.IMAGE_SEGMENTATION,
        class_labels=["quay", "water"],
    )
    make_inference(
        to=areas,
        inference_id="a",
        data='{"image_segmentation": []}',
        data_storage_key=stored(picture()),
        data_content_type="image/png",
    )
    page = watched
    log_in(page)
    page.goto(f"{live_server.url}/projects/harbour/models/areas/review")
    polygons = page.get_by_label("Polygons", exact=True).get_by_role("button")
    page.keyboard.press("2")
    for point in ((20, 20), (90, 20), (90, 70)):
        page.mouse.click(*at(page, *point))
    page.mouse.click(*at(page, 20, 70))
    page.keyboard.press("Enter")
    expect(polygons).to_have_text(["1. water"])
    # One of its points is dragged, another one inserted and removed by keys.
    drag(page, (90, 70), (100, 80))
    page.keyboard.press("]")
    page.keyboard.press("i")
    expect(page.locator(".drawn [data-point]")).to_have_count(5)
    page.keyboard.press("Delete")
    expect(page.locator(".drawn [data-point]")).to_have_count(4)
    page.keyboard.press("n")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("1")
    expect(polygons).to_have_text(["1. water", "2. quay"])
    shot(page, "review-polygons")
    page.keyboard.press("s")
    expect(page.locator("[data-toast]")).to_contain_text("saved")
    water, quay = truth_of(areas, "a")["polygons"]
    (contour,) = water["contours"]
    assert contour == [
        pytest.approx(point, abs=1)
        for point in ([20, 20], [90, 20], [100, 80], [20, 70])
    ]
    assert quay["contours"][0][0] == pytest.approx([64 + 1.6, 48], abs=0.2)


def test_right_wrong_and_missed_are_told_apart(
    nights, watched, live_server, log_in, findings
):
    found = [
        {"label": "ship", "score": 0.9, "bounding_box": box(20, 20, 90, 70)},
        {"label": "crane", "score": 0.8, "bounding_box": box(5, 80, 40, 110)},
    ]
    row = nights.inferences.get(inference_id="night/5")
    InferencePayload.objects.beside(nights).filter(id=row.id).update(
        data=json.dumps({"object_detection": found})
    )
    truth = [
        {"label": "ship", **box(22, 20, 90, 70)},
        {"label": "buoy", **box(100, 10, 150, 110)},
    ]
    put_truth("test", nights, "night/5", {"boxes": truth})
    page = watched
    page.emulate_media(reduced_motion="reduce")
    log_in(page)
    for address in (f"{LIST}/night/5", f"{REVIEW}?at=night/5"):
        page.goto(live_server.url + address)
        expect(page.locator(".judged .shape.right .line").first).to_have_css(
            "stroke", "rgb(63, 224, 138)"
        )
        expect(page.locator("[data-answer] .shape.wrong")).to_have_count(1)
        expect(page.locator(".truth .shape.missed")).to_have_count(1)
        expect(page.locator(".tally")).to_contain_text("1 right")
        expect(page.locator(".tally")).to_contain_text("1 wrong")
        expect(page.locator(".tally")).to_contain_text("1 missed")
        expect(page.locator("tr", has_text="ship").locator(".verdict")).to_contain_text(
            "IoU 0.97"
        )
        page.wait_for_load_state("networkidle")
        layer = page.locator(".frame > img").bounding_box()
        page.mouse.move(
            layer["x"] + layer["width"] * 20 / 160, layer["y"] + layer["height"] * 0.4
        )
        expect(page.locator("[data-hover-said]")).to_have_text(
            "ship 0.90: right, IoU 0.97"
        )
        shot(page, f"verdicts-{'review' if 'review' in address else 'detail'}")
        assert not findings(page, address)
    # In the drawer, too.
    page.goto(live_server.url + LIST)
    page.get_by_role("link", name="night/5").click()
    expect(page.locator("#drawer .judged .shape.wrong")).to_have_count(1)
    page.locator("#drawer").get_by_label("Verdicts").uncheck()
    expect(page.locator("#drawer .judged")).to_have_count(0)


def test_what_is_not_saved_is_asked_about_and_comes_back(
    nights, watched, live_server, log_in
):
    page, ask = watched, watched.locator("#ask")
    log_in(page)
    page.goto(f"{live_server.url}{REVIEW}?at=night/5")
    page.keyboard.press("2")
    page.keyboard.press("j")
    expect(ask).to_contain_text("not saved")
    ask.get_by_role("button", name="Leave without saving").click()
    under_review(page, "night/4")
    page.keyboard.press("k")
    under_review(page, "night/5")
    expect(page.locator(".draft")).to_contain_text("was not saved")
    expect(page.locator(".correction-names text")).to_have_text("crane")
    page.on("dialog", lambda dialog: dialog.accept())
    page.reload()
    expect(page.locator(".correction-names text")).to_have_text("crane")
    page.get_by_role("button", name="Discard it").click()
    expect(page.locator(".correction-names text")).to_have_text("ship")
    page.keyboard.press("2")
    page.keyboard.press("j")
    ask.get_by_role("button", name="Save them").click()
    under_review(page, "night/4")
    page.keyboard.press("k")
    under_review(page, "night/5")
    expect(page.locator(".draft")).to_be_hidden()
    assert [each["label"] for each in truth_of(nights, "night/5")["boxes"]] == ["crane"]


def test_a_class_is_set_by_its_number(
    store, make_inference, watched, live_server, log_in
):
    digits = RegisteredModel.objects.create(
        model_id="digits",
        project=store.project,
        task_type=TaskType.IMAGE_CLASSIFICATION,
        class_labels=["zero", "one", "two"],
    )
    for number in range(2):
        make_inference(
            to=digits,
            inference_id=f"digit-{number}",
            created_at=datetime(2025, 7, 1, number, tzinfo=UTC),
            data='{"image_classification": [{"label": "one", "score": 0.6}]}',
            detections=[("one", 0.6)],
            data_storage_key=stored(picture()),
            data_content_type="image/png",
        )
    page = watched
    log_in(page)
    page.goto(f"{live_server.url}/projects/harbour/models/digits/review")
    under_review(page, "digit-1")
    page.keyboard.press("3")
    expect(page.get_by_label("What it is")).to_have_value("two")
    shot(page, "review-classes")
    page.keyboard.press("j")
    expect(page.locator("#ask")).to_contain_text("not saved")
    page.keyboard.press("Escape")
    page.keyboard.press("s")
    under_review(page, "digit-0")
    page.keyboard.press("a")
    expect(page.get_by_text("the answer agrees")).to_be_visible()
    assert truth_of(digits, "digit-1") == {"labels": ["two"]}
    assert truth_of(digits, "digit-0") == {"labels": ["one"]}


def test_a_turned_picture_is_drawn_as_it_is_seen(
    nights, make_inference, watched, live_server, log_in
):
    image = Image.new("RGB", (160, 120), "#27506e")
    ImageDraw.Draw(image).rectangle((20, 20, 90, 70), fill="#e8e2d0")
    made, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6  # a quarter turn: it is seen as 120 by 160
    image.save(made, "JPEG", exif=exif)
    make_inference(
        inference_id="turned",
        data='{"object_detection": []}',
        data_storage_key=stored(made.getvalue()),
        data_content_type="image/jpeg",
    )
    page = watched
    log_in(page)
    page.goto(f"{live_server.url}{REVIEW}?at=turned")
    layer = page.locator(".correction").bounding_box()
    assert layer["height"] > layer["width"]

    def seen(x: float, y: float) -> tuple[float, float]:
        return (
            layer["x"] + x * layer["width"] / 120,
            layer["y"] + y * layer["height"] / 160,
        )

    # The light rectangle, where it is seen: (120 - y, x).
    page.mouse.move(*seen(50, 20))
    page.mouse.down()
    page.mouse.move(*seen(100, 90), steps=4)
    page.mouse.up()
    shot(page, "review-turned")
    page.keyboard.press("s")
    expect(page.locator("[data-toast]")).to_contain_text("saved")
    (kept,) = truth_of(nights, "turned")["boxes"]
    assert [kept[side] for side in SIDES] == pytest.approx([20, 20, 90, 70], abs=1)


def test_a_selection_is_reviewed_alone(nights, watched, live_server, log_in):
    page = watched
    log_in(page)
    page.goto(live_server.url + LIST)
    for name in ("night/4", "night/1"):
        page.locator(".card", has_text=name).hover()
        page.get_by_role("checkbox", name=f"Select {name}").check()
    page.locator("#selection").get_by_role("button", name="Review").click()
    under_review(page, "night/4")
    expect(page.locator(".review-place")).to_contain_text("1 of 2")
    expect(page.locator(".review-bar .film a")).to_have_count(2)
    page.keyboard.press("j")
    under_review(page, "night/1")
    assert "at=night%2F1" in page.url
    page.reload()
    under_review(page, "night/1")
    expect(page.get_by_text("Next", exact=True)).to_have_attribute(
        "aria-disabled", "true"
    )


def test_it_works_without_scripts(nights, browser, live_server, log_in):
    page = browser.new_page(java_script_enabled=False)
    log_in(page)
    page.goto(f"{live_server.url}{REVIEW}?at=night/5")
    expect(page.locator(".review-place")).to_contain_text("1 of 9")
    page.get_by_role("link", name="Next").click()
    under_review(page, "night/4")
    page.get_by_label("Boxes as JSON").fill(
        json.dumps([{"label": "buoy", **box(1, 2, 3, 4)}])
    )
    page.get_by_role("button", name="Save and go on").click()
    under_review(page, "night/3")
    page.get_by_role("button", name="Accept the answer").click()
    under_review(page, "night/2")
    assert truth_of(nights, "night/4")["boxes"][0]["label"] == "buoy"
    assert truth_of(nights, "night/3")["boxes"][0]["label"] == "ship"
    page.close()


def test_patches_are_selected_and_acted_on(
    nights, watched, live_server, log_in, findings
):
    truth = [{"label": "ship", **box(24, 20, 90, 70)}]
    put_truth("test", nights, "night/5", {"boxes": truth})
    page = watched
    page.emulate_media(reduced_motion="reduce")
    log_in(page)
    page.goto(live_server.url + LIST)
    page.get_by_role("link", name="Patches").click()
    patches = page.locator(".patch")
    expect(patches).to_have_count(12)
    page.wait_for_load_state("networkidle")
    shown = "all => all.every((one) => one.complete && one.naturalWidth > 0)"
    assert page.locator(".patch img").evaluate_all(shown)
    shot(page, "patches")
    assert not findings(page, "patches")

    page.locator("summary", has_text="Newest first").click()
    page.get_by_role("link", name="Lowest IoU first").click()
    expect(patches).to_have_count(1)
    expect(patches.locator(".verdict-mark")).to_contain_text("0.94")
    page.go_back()
    expect(patches).to_have_count(12)
    # Both patches of an inference are selected with it.
    patches.filter(has_text="harbour/2").first.hover()
    page.get_by_role("checkbox", name="Select harbour/2, ship").check()
    expect(page.get_by_role("checkbox", name="Select harbour/2, crane")).to_be_checked()
    expect(page.locator("[data-selected-count]")).to_have_text("1 selected")
    page.get_by_role("button", name="Protect").click()
    page.get_by_role("button", name="Protect this inference").or_(
        page.get_by_role("button", name="Protect 1")
    ).first.click()
    expect(page.locator("[data-toast]")).to_contain_text("1 protected")
    expect(page.locator(".patch")).to_have_count(12)
    # A patch opens its inference.
    patches.filter(has_text="night/5").first.locator(".id a").click()
    expect(page.locator("#drawer .judged")).to_be_visible()
