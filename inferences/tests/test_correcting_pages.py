"""One inference is corrected on its page, and a model is tried from its own."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from inferences.models import InferencePayload, RegisteredModel, TaskType
from inferences.models.ground_truth import GroundTruth
from istore.models import Membership, Role, Token

pytestmark = pytest.mark.django_db


@pytest.fixture
def person(project):
    def make(role: Role = Role.EDITOR) -> Client:
        user = User.objects.create_user(f"person-{User.objects.count()}")
        Membership.objects.create(user=user, project=project, role=role)
        client = Client()
        client.force_login(user)
        return client

    return make


def address(name: str, model, *rest: str) -> str:
    return reverse(f"inferences:{name}", args=[model.model_id, *rest])


def body(response) -> str:
    return response.content.decode()


def test_metadata_is_changed_added_and_removed(person, model, make_inference):
    made = make_inference({"camera": "north"}, inference_id="a")
    client, here = person(), address("change-metadata", model, "a")
    for posted in (
        {"key": "camera", "type": "string", "value": "south", "replace": "true"},
        {"key": "frame", "type": "int", "value": "7", "replace": "true"},
    ):
        assert client.post(here, posted).status_code == 302
    payload = InferencePayload.objects.beside(model).get(id=made.id)
    assert payload.metadata == {"camera": ["string", "south"], "frame": ["int", "7"]}
    client.post(here, {"key": "frame", "remove": "true"})
    payload.refresh_from_db()
    assert payload.metadata == {"camera": ["string", "south"]}
    shown = body(client.get(address("detail", model, "a")))
    assert "camera: north → south" in " ".join(shown.split())


def test_a_value_of_the_wrong_type_changes_nothing(person, model, make_inference):
    make_inference(inference_id="a")
    client = person()
    posted = {"key": "frame", "type": "int", "value": "seven", "replace": "true"}
    told = client.post(address("change-metadata", model, "a"), posted, follow=True)
    assert "seven" in body(told)
    assert InferencePayload.objects.beside(model).get().metadata == {}


@pytest.mark.parametrize("type_", ["", "colour"])
def test_a_type_that_there_is_not_changes_nothing(person, model, make_inference, type_):
    make_inference(inference_id="a")
    posted = {"key": "frame", "type": type_, "value": "7", "replace": "true"}
    page = person().post(address("change-metadata", model, "a"), posted, follow=True)
    assert "A type is one of string, int, float, json." in body(page)
    assert InferencePayload.objects.beside(model).get().metadata == {}


BOXES = [{"label": "ship", "xmin": 1, "ymin": 2, "xmax": 30, "ymax": 40}]


def test_boxes_are_corrected_and_what_was_there_is_kept(person, model, make_inference):
    make_inference(inference_id="a")
    client, here = person(), address("change-truth", model, "a")
    client.post(here, {"form": "boxes", "boxes": json.dumps(BOXES)})
    client.post(here, {"form": "boxes", "boxes": "[]"})
    assert GroundTruth.objects.get().truth == {"boxes": []}
    shown = body(client.get(address("detail", model, "a")))
    assert "1 box: ship" in shown
    client.post(here, {"remove": "true"})
    assert not GroundTruth.objects.exists()


@pytest.mark.parametrize(
    "posted",
    [
        {"form": "boxes", "boxes": "[{"},
        {"form": "boxes", "boxes": '[{"label": "x"}]'},
        {"form": "boxes", "boxes": "[" * 5000},
        {"form": "value", "value": "much"},
        {"form": "value", "value": "nan"},
        {"form": "json", "json": "[]"},
        {"form": "labels", "labels": ", ,"},
        {},
    ],
)
def test_what_is_no_ground_truth_is_told(person, model, make_inference, posted):
    make_inference(inference_id="a")
    client = person()
    told = client.post(address("change-truth", model, "a"), posted, follow=True)
    assert told.status_code == 200
    assert "Not saved" in body(told)
    assert not GroundTruth.objects.exists()


def test_a_label_is_said_with_one_click(person, project, make_inference):
    digits = RegisteredModel.objects.create(
        model_id="digits", project=project, task_type=TaskType.IMAGE_CLASSIFICATION
    )
    answer = '{"image_classification": [{"label": "seven", "score": 0.8}]}'
    found = [("seven", 0.8)]
    make_inference(to=digits, inference_id="a", data=answer, detections=found)
    client = person()
    assert "seven is right" in body(client.get(address("detail", digits, "a")))
    posted = {"form": "labels", "labels": "seven"}
    client.post(address("change-truth", digits, "a"), posted)
    assert GroundTruth.objects.get().agrees is True


def test_an_id_that_ends_like_an_address_is_an_inference(person, model, make_inference):
    client = person()
    for name in ("change-truth", "change-metadata", "change-protection", "similar"):
        make_inference(inference_id=f"a/{name}")
        found = client.get(address("detail", model, f"a/{name}"))
        assert found.context["inference"].inference_id == f"a/{name}"


def test_the_neighbours_are_those_of_the_result(person, model, make_inference):
    for day, camera in enumerate(("north", "south", "north", "north"), 1):
        make_inference(
            {"camera": camera},
            inference_id=f"day-{day}",
            created_at=datetime(2025, 6, day, tzinfo=UTC),
        )
    within = {"metadata": "camera:string=north"}
    context = person().get(address("detail", model, "day-3"), within).context
    assert (context["neighbours"].previous, context["neighbours"].next) == (
        "day-4",
        "day-1",
    )


@pytest.mark.parametrize(
    "name", ["change-truth", "change-metadata", "change-protection"]
)
def test_a_viewer_corrects_nothing(person, model, make_inference, name):
    make_inference(inference_id="a")
    client = person(Role.VIEWER)
    assert client.post(address(name, model, "a"), {"key": "k"}).status_code == 403
    shown = body(client.get(address("detail", model, "a")))
    assert "change-" not in shown


# -- trying


class Upstream(BaseHTTPRequestHandler):
    """Answers in the place of the proxy, and keeps what it was asked."""

    asked: list[tuple[str, dict, str]] = []
    header = "recorded"

    def do_POST(self) -> None:
        sent = self.rfile.read(int(self.headers["Content-Length"]))
        token = self.headers["Authorization"].removeprefix("Bearer ")
        self.asked.append((self.path, json.loads(sent), token))
        self.send_response(200)
        self.send_header("Inference-Store", self.header)
        self.send_header("Inference-Id", "try-1")
        self.end_headers()
        self.wfile.write(b'{"object_detection": [{"label": "ship", "score": 0.9}]}')

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def proxy(settings):
    Upstream.asked = []
    server = HTTPServer(("127.0.0.1", 0), Upstream)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    settings.ISTORE_PROXY_INTERNAL_URL = f"http://127.0.0.1:{server.server_port}"
    yield Upstream
    server.shutdown()
    server.server_close()


def test_a_picture_goes_through_the_proxy(person, model, make_inference, proxy):
    picture = SimpleUploadedFile("a.png", b"\x89PNG", content_type="image/png")
    client = person()
    posted = {"form": "file", "file": picture, "name": "image"}
    said = body(client.post(address("try", model), posted))
    (path, request, secret), *_ = proxy.asked
    assert path == "/v2/models/yolo-harbour/infer"
    assert request["inputs"][0]["data"] == ["iVBORw=="]
    assert request["parameters"] == {"inference_action": "detect"}
    assert "try-1" in said
    assert "ship" in said
    # What opened the proxy opens nothing any more.
    token = Token.objects.get()
    assert token.revoked_at
    assert secret.startswith(token.prefix)
    waiting = client.get(address("tried", model), {"id": "try-1"})
    assert "on its way" in body(waiting)
    make_inference(inference_id="try-1")
    stored = client.get(address("tried", model), {"id": "try-1"})
    assert "Stored as" in body(stored)


def test_what_was_not_stored_says_why(person, model, proxy, monkeypatch):
    monkeypatch.setattr(Upstream, "header", "not-recorded; reason=disabled")
    posted = {"form": "text", "text": "a ship", "name": "text"}
    assert "reason=disabled" in body(person().post(address("try", model), posted))


def test_without_a_proxy_the_page_says_so(person, model, settings):
    settings.ISTORE_PROXY_INTERNAL_URL = "http://127.0.0.1:1"
    posted = {"form": "text", "text": "a ship", "name": "text"}
    response = person().post(address("try", model), posted)
    assert response.status_code == 503
    assert "The proxy does not answer" in body(response)
    assert Token.objects.get().revoked_at


@pytest.mark.parametrize("posted", [{"form": "file"}, {"form": "text"}])
def test_an_empty_try_asks_nobody(person, model, proxy, posted):
    assert person().post(address("try", model), posted).status_code == 400
    assert proxy.asked == []
