from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest
from django.contrib.auth.models import User
from django.http import QueryDict
from django.test import Client
from django.urls import reverse

from inferences.maintenance import storage_by_model
from inferences.models import RegisteredModel, TaskType
from inferences.store import removal
from inferences.web.view_models.colours import colours_of
from inferences.web.view_models.matches import detection_test
from inferences.web.view_models.questions import Question
from istore.models import AuditEntry, Membership, Project, Role, Token

ODD_IDS = [
    "a/b",
    "what?now",
    "part#2",
    "100%",
    "%2F",
    "quo\"te's",
    "<script>alert(1)</script>",
    "a b+c&d=e",
    "船 🚢",
    "ends/input",
    "back\\slash",
    "double//slash",
    "semi;colon,comma",
]
FOUND = (
    '{"object_detection": [{"label": "ship", "score": 0.9, '
    '"bounding_box": {"xmin": 1, "ymin": 2, "xmax": 30, "ymax": 40}}]}'
)


@pytest.fixture
def person(project):
    """``person(Role.VIEWER)`` is a client of somebody who is logged in."""

    def make(role: Role | None = Role.VIEWER, of: Project | None = None) -> Client:
        number = User.objects.count()
        user = User.objects.create_user(f"person-{number}", password="anchor-42")
        if role:
            Membership.objects.create(user=user, project=of or project, role=role)
        client = Client()
        client.force_login(user)
        client.user = user
        return client

    return make


def browse(client, model, **query):
    return client.get(reverse("inferences:browse", args=[model.model_id]), query)


def shown(response) -> list[str]:
    return re.findall(
        r'class="id mono">\s*<a href="[^"]*/inferences/([^"?]+)[?"]', text(response)
    )


def text(response) -> str:
    return response.content.decode()


def one_line(response) -> str:
    """The page with its white space as a browser shows it."""
    return " ".join(text(response).split())


PAGES = [
    ("inferences:models", []),
    ("inferences:browse", ["yolo-harbour"]),
    ("inferences:detail", ["yolo-harbour", "inference-1"]),
    ("inferences:media", ["yolo-harbour", "inference-1", "input"]),
    ("inferences:media", ["yolo-harbour", "inference-1", "preview"]),
    ("inferences:activity", ["yolo-harbour"]),
    ("inferences:settings", ["yolo-harbour"]),
    ("inferences:register", []),
    ("tokens", ["harbour"]),
    ("members", ["harbour"]),
    ("password", []),
]


@pytest.mark.parametrize(("name", "arguments"), PAGES)
def test_anonymous_people_log_in_and_come_back(client, make_inference, name, arguments):
    make_inference()
    address = reverse(name, args=arguments)
    response = client.get(address)
    assert response.status_code == 302
    assert response.url == f"/login?next={address}"


@pytest.mark.parametrize(("name", "arguments"), [page for page in PAGES if page[1]])
def test_what_belongs_to_others_is_not_there(person, make_inference, name, arguments):
    make_inference()
    other = Project.objects.create(project_id="airport")
    stranger = person(Role.ADMINISTRATOR, of=other)
    response = stranger.get(reverse(name, args=arguments))
    assert response.status_code == 404
    assert "There is nothing here." in text(response)


@pytest.mark.parametrize(
    ("role", "statuses"),
    [
        (Role.VIEWER, {"settings": 403, "register": 403, "tokens": 403}),
        (Role.EDITOR, {"settings": 200, "register": 200, "tokens": 403}),
        (Role.ADMINISTRATOR, {"settings": 200, "register": 200, "tokens": 200}),
    ],
)
def test_each_role_reaches_its_pages(person, model, role, statuses):
    client = person(role)
    assert {
        "settings": client.get(
            reverse("inferences:settings", args=[model.model_id])
        ).status_code,
        "register": client.get(reverse("inferences:register")).status_code,
        "tokens": client.get(reverse("tokens", args=["harbour"])).status_code,
    } == statuses
    assert browse(client, model).status_code == 200


def test_a_viewer_changes_nothing(person, model):
    client = person(Role.VIEWER)
    asked = [
        (reverse("inferences:storage", args=[model.model_id]), {"enable": "false"}),
        (reverse("inferences:settings", args=[model.model_id]), {}),
        (reverse("inferences:register"), {"model_id": "new"}),
        (reverse("tokens", args=["harbour"]), {"name": "mine", "role": "editor"}),
        (reverse("members", args=["harbour"]), {"username": "person-0"}),
    ]
    assert [client.post(url, said).status_code for url, said in asked] == [403] * 5
    model.refresh_from_db()
    assert model.enable_inference_storage


def test_a_post_without_a_csrf_token_is_refused(person, model):
    client = Client(enforce_csrf_checks=True)
    client.force_login(person(Role.EDITOR).user)
    address = reverse("inferences:storage", args=[model.model_id])
    response = client.post(address, {"enable": "false"})
    assert response.status_code == 403
    assert "This form has expired." in text(response)


def test_models_are_listed_with_count_and_state(person, model, make_inference):
    make_inference()
    make_inference()
    page = text(person().get("/"))
    assert "yolo-harbour" in page
    assert ">2</p>" in page
    assert "storing" in page


def test_a_model_says_what_its_inputs_take_up(
    person, model, make_inference, monkeypatch
):
    kept = {"data_storage_key": "1/1/x/input", "data_size": 2000}
    make_inference(**kept)
    make_inference(data_size=9000)  # its input is gone
    hidden = make_inference(**kept)
    removal.hide(model, [hidden.id])
    client = person()
    address = reverse("inferences:activity", args=[model.model_id]) + "?part=storage"
    assert "4.0 KB of inputs." in one_line(client.get(address))

    monkeypatch.setattr("inferences.web.view_models.activity.COUNT_AT_ONCE", 1)
    assert "more than 2.0 KB of inputs." in one_line(client.get(address))
    storage_by_model.measure()
    assert "4.0 KB of inputs, measured" in one_line(client.get(address))


def test_a_model_that_was_emptied_does_not_wait_for_its_first(
    person, model, make_inference
):
    client, address = person(), reverse("inferences:activity", args=[model.model_id])
    assert "Waiting for the first inference" in text(client.get(address))
    gone = make_inference()
    removal.remove_one("test", model, gone.inference_id)
    assert "No inference is left" in text(client.get(address))


def test_an_empty_store_says_how_to_send_the_first_inference(person, model, settings):
    settings.ISTORE_PROXY_URL = "https://models.example.org"
    page = text(person(Role.ADMINISTRATOR).get("/"))
    assert "Send the first inference" in page
    assert "https://models.example.org/v2/models/yolo-harbour/infer" in page


def test_a_person_of_no_project_is_told_so(person):
    assert "You belong to no project yet" in text(person(None).get("/"))


def test_the_newest_inference_comes_first(person, model, make_inference):
    for day in (3, 1, 2):
        make_inference(
            inference_id=f"day-{day}", created_at=datetime(2025, 6, day, tzinfo=UTC)
        )
    assert shown(browse(person(), model)) == ["day-3", "day-2", "day-1"]


def test_pages_follow_one_another_by_cursor(person, model, make_inference, monkeypatch):
    from inferences.web import browsing

    monkeypatch.setitem(browsing.PAGE_SIZES, "gallery", 2)
    for day in range(1, 6):
        make_inference(
            inference_id=f"day-{day}", created_at=datetime(2025, 6, day, tzinfo=UTC)
        )
    client, seen = person(), []
    address = reverse("inferences:browse", args=[model.model_id])
    while address:
        response = client.get(address)
        seen += shown(response)
        following = re.search(r'rel="next" href="([^"]+)"', text(response))
        address = following and following[1].replace("&amp;", "&")
    assert seen == [f"day-{day}" for day in (5, 4, 3, 2, 1)]


def test_a_cursor_that_does_not_fit_leaves_the_page_usable(person, model):
    response = browse(person(), model, cursor="nonsense")
    assert response.status_code == 200
    assert "This page is not there" in text(response)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"metadata": "camera=north"}, ["a"]),
        ({"metadata": "frame:int>4"}, ["b"]),
        ({"metadata": ["camera:string=south", "frame:int=7"]}, ["b"]),
        ({"label": "ship"}, ["a"]),
        ({"min_score": "0.95"}, ["b"]),
        ({"source": "quay-1"}, ["a"]),
        ({"since": "2025-06-02"}, ["b"]),
        ({"until": "2025-06-01"}, ["a"]),
        ({"action": "embed"}, []),
        ({"key": "camera", "type": "string", "operator": "=", "value": "north"}, ["a"]),
    ],
)
def test_filters_are_in_the_address(person, model, make_inference, query, found):
    make_inference(
        {"camera": "north", "frame": 3},
        inference_id="a",
        detections=[("ship", 0.9)],
        data_source="quay-1",
    )
    make_inference(
        {"camera": "south", "frame": 7},
        inference_id="b",
        detections=[("crane", 0.97)],
        created_at=datetime(2025, 6, 2, tzinfo=UTC),
    )
    client = person()
    address = reverse("inferences:browse", args=[model.model_id])
    response = client.get(address, query, follow=True)
    assert shown(response) == found


def test_the_parts_of_a_comparison_become_one_address(person, model):
    said = {"key": ["pose.angle", ""], "type": ["json.float", "string"]}
    said |= {"operator": ["<=", "="], "value": ["0.5", ""], "since": "", "source": ""}
    response = browse(person(), model, **said)
    assert response.status_code == 302
    assert unquote(response.url).endswith("?metadata=pose.angle:json.float<=0.5")


def test_htmx_gets_the_list_alone_and_the_address_to_show(
    person, model, make_inference
):
    make_inference({"camera": "north"})
    said = {"key": "camera", "type": "string", "operator": "=", "value": "north"}
    address = reverse("inferences:browse", args=[model.model_id])
    response = person().get(address, said, headers={"HX-Request": "true"})
    assert text(response).lstrip().startswith('<section id="results"')
    assert unquote(response["HX-Push-Url"]).endswith("?metadata=camera:string=north")
    assert "HX-Request" in response["Vary"]


def test_each_filter_can_be_taken_away(person, model, make_inference):
    make_inference({"camera": "north"}, data_source="quay-1")
    query = {"metadata": "camera=north", "source": "quay-1"}
    chips = re.findall(
        r'class="chip" href="([^"]+)"', text(browse(person(), model, **query))
    )
    assert chips == ["?metadata=camera%3Dnorth", "?source=quay-1"]


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ({"metadata": "frame:int=abc"}, "is not a valid int."),
        ({"since": "yesterday"}, "A day or a moment"),
        ({"min_score": "high"}, "Enter a number."),
        ({"since": "2025-06-02", "until": "2025-06-01"}, "ends before it starts"),
        ({"hash": "123"}, "64 hexadecimal digits"),
    ],
)
def test_a_filter_that_cannot_be_read_is_told_beside_its_field(
    person, model, query, complaint
):
    response = browse(person(), model, **query)
    assert response.status_code == 200
    assert complaint in text(response)


@pytest.mark.parametrize("name", ["source", "label"])
def test_a_nul_in_an_address_is_refused(person, model, name):
    assert browse(person(), model, **{name: "a\0b"}).status_code == 400


def test_the_count_comes_beside_the_list(person, model, make_inference):
    make_inference({"camera": "north"})
    make_inference({"camera": "south"})
    response = browse(person(), model, part="count", metadata="camera=north")
    assert "<strong>1</strong> inference" in text(response)


def test_the_table_shows_the_chosen_metadata(person, model, make_inference):
    make_inference({"camera": "north", "frame": 31})
    page = text(browse(person(), model, view="table", show="frame"))
    assert '<th scope="col">frame</th>' in page
    assert '<th scope="col">camera</th>' not in page
    assert re.search(r">\s*31\s*</td>", page)


def test_a_page_of_the_list_costs_few_queries(
    person, model, make_inference, django_assert_max_num_queries
):
    for _ in range(10):
        make_inference({"camera": "north"}, data_source="quay-1", data=FOUND)
    client = person()
    browse(client, model)
    with django_assert_max_num_queries(15):  # four of them set the deadline and end it
        browse(client, model)


@pytest.mark.parametrize("model_id", ODD_IDS)
@pytest.mark.parametrize("inference_id", ["plain", "a/b?c#d%", "ends/input"])
def test_ids_with_odd_characters_have_addresses(
    person, project, make_inference, model_id, inference_id
):
    model = RegisteredModel.objects.create(
        model_id=model_id, project=project, task_type=TaskType.OBJECT_DETECTION
    )
    make_inference(to=model, inference_id=inference_id)
    client = person(Role.EDITOR)
    listed = browse(client, model)
    (address,) = re.findall(r'class="id mono">\s*<a href="([^"]+)"', text(listed))
    response = client.get(address.replace("&amp;", "&").replace("&#x27;", "'"))
    assert response.status_code == 200
    assert response.context["inference"].inference_id == inference_id
    assert (
        client.get(reverse("inferences:settings", args=[model_id])).status_code == 200
    )


@pytest.mark.parametrize("inference_id", ODD_IDS)
def test_inference_ids_with_odd_characters_have_addresses(
    person, model, make_inference, inference_id
):
    make_inference(inference_id=inference_id)
    address = reverse("inferences:detail", args=[model.model_id, inference_id])
    response = person().get(address)
    assert response.status_code == 200
    assert response.context["inference"].inference_id == inference_id


SCRIPT = "<script>alert(1)</script>"
HANDLER = "\"'><img src=x onerror=alert(1)>"


@pytest.mark.parametrize("evil", [SCRIPT, HANDLER])
def test_nothing_that_was_sent_becomes_markup(person, project, make_inference, evil):
    model = RegisteredModel.objects.create(
        model_id=f"m{evil}",
        project=project,
        task_type=TaskType.OBJECT_DETECTION,
        class_labels=[evil],
    )
    answer = f'[{{"label": {_json(evil)}, "score": 0.5, "bbox": [1, 2, 3, 4], {_json(evil)}: 1}}]'
    inference = make_inference(
        {evil: evil, "plain": evil, "json": {evil: evil}},
        to=model,
        inference_id=f"i{evil}",
        data=answer,
        data_source=evil,
        detections=[(evil, 0.5)],
        notes={"warnings": [evil], "input": {"name": evil}},
    )
    client = person(Role.ADMINISTRATOR)
    pages = [
        client.get("/"),
        browse(client, model),
        browse(client, model, view="table", source=evil, metadata=f"{evil}={evil}"),
        browse(client, model, metadata=evil, since=evil),
        client.get(
            reverse("inferences:detail", args=[model.model_id, inference.inference_id])
        ),
        client.get(reverse("inferences:settings", args=[model.model_id])),
    ]
    for response in pages:
        assert response.status_code == 200
        page = text(response)
        assert "<script>alert" not in page
        assert not [
            (tag, name)
            for tag, attributes in elements(page)
            for name in attributes
            if name.startswith("on") or "<" in name
        ]
        assert "x" not in [given.get("src") for _, given in elements(page)]


def elements(page: str) -> list[tuple[str, dict[str, str | None]]]:
    """The elements as a browser reads them."""
    found = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attributes):
            found.append((tag, dict(attributes)))

    Reader().feed(page)
    return found


def _json(value: str) -> str:
    import json

    return json.dumps(value)


@pytest.mark.parametrize("view", ["gallery", "table"])
def test_pages_hold_no_inline_script_and_no_style(person, model, make_inference, view):
    make_inference({"camera": "north"}, data=FOUND)
    client = person(Role.ADMINISTRATOR)
    detail = reverse("inferences:detail", args=[model.model_id, "inference-1"])
    for response in (
        client.get("/"),
        browse(client, model, view=view),
        client.get(detail),
    ):
        page = text(response)
        assert not re.search(r"<script(?![^>]*(\bsrc=|application/json))", page)
        assert not re.search(r"<[a-z][^>]*\sstyle=", page)
        assert "<style" not in page
        assert "default-src 'self'" in response["Content-Security-Policy"]


def test_a_model_that_found_nothing_says_so(person, model, make_inference):
    make_inference(data='{"object_detection": []}', detections=[])
    assert "Ran and found nothing" in text(browse(person(), model))


def test_an_answer_of_no_known_form_is_shown_as_it_is(person, model, make_inference):
    make_inference(data='{"weather": "fog"}')
    assert "{&quot;weather&quot;: &quot;fog&quot;}" in text(browse(person(), model))


def test_the_detail_shows_five_moments_and_what_lies_between(
    person, model, make_inference
):
    times = {
        "received": "2025-06-01T00:00:00.000000Z",
        "forwarded": "2025-06-01T00:00:00.001200Z",
        "responded": "2025-06-01T00:00:00.061200Z",
        "published": "2025-06-01T00:00:00.081200Z",
        "indexed": "2025-06-01T00:00:03.081200Z",
    }
    make_inference(notes={"times": times, "warnings": ["gain was set aside"]})
    address = reverse("inferences:detail", args=[model.model_id, "inference-1"])
    page = text(person().get(address))
    for word in ("Received", "1.2 ms", "60 ms", "20 ms", "3 s", "gain was set aside"):
        assert word in page


def test_the_detail_leads_to_its_neighbours(person, model, make_inference):
    for day in (1, 2, 3):
        make_inference(
            inference_id=f"day-{day}", created_at=datetime(2025, 6, day, tzinfo=UTC)
        )
    client = person()
    address = reverse("inferences:detail", args=[model.model_id, "day-2"])
    context = client.get(address).context
    assert context["neighbours"].previous == "day-3"
    assert context["neighbours"].next == "day-1"


def test_a_removed_inference_is_not_there(person, model, make_inference):
    from inferences.store.removal import remove_one

    make_inference()
    remove_one("test", model, "inference-1")
    address = reverse("inferences:detail", args=[model.model_id, "inference-1"])
    assert person().get(address).status_code == 404


def test_an_editor_registers_a_model(person, project):
    said = {
        "model_id": "fog/horn",
        "project": "harbour",
        "task_type": "Object Detection",
        "class_labels": "ship\ncrane\n",
        "box_format": "xyxy",
        "upstream_url": "https://models.example.org",
        "enable_inference_storage": "on",
    }
    response = person(Role.EDITOR).post(reverse("inferences:register"), said)
    assert response.status_code == 302
    model = RegisteredModel.objects.get(model_id="fog/horn")
    assert model.class_labels == ["ship", "crane"]
    assert model.enable_inference_storage
    assert AuditEntry.objects.filter(action="model.register").exists()


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "ftp://x", "http://u:p@x.org"])
def test_an_upstream_that_is_not_allowed_is_refused(person, model, settings, url):
    settings.ISTORE_UPSTREAM_ALLOW = []
    address = reverse("inferences:settings", args=[model.model_id])
    response = person(Role.EDITOR).post(
        address, {"upstream_url": url, "box_format": "yxyx"}
    )
    assert response.status_code == 400
    assert "pstream URL" in text(response)
    model.refresh_from_db()
    assert model.upstream_url == ""


def test_a_taken_id_is_told_at_its_field(person, model):
    said = {"model_id": "yolo-harbour", "project": "harbour"}
    said |= {"task_type": "Text Generation", "box_format": "yxyx"}
    response = person(Role.EDITOR).post(reverse("inferences:register"), said)
    assert response.status_code == 400
    assert "This id is taken." in text(response)


def test_an_id_that_another_project_has_is_free(person, model):
    airport = Project.objects.create(project_id="airport")
    said = {"model_id": "yolo-harbour", "project": "airport"}
    said |= {"task_type": "Text Generation", "box_format": "yxyx"}
    client = person(Role.EDITOR, of=airport)
    response = client.post(reverse("inferences:register"), said)
    assert response["Location"] == "/projects/airport/models/yolo-harbour/inferences"
    assert client.get(response["Location"]).status_code == 200


def test_storing_is_switched_by_one_click(person, model):
    client = person(Role.EDITOR)
    address = reverse("inferences:storage", args=[model.model_id])
    client.post(address, {"enable": "false"})
    model.refresh_from_db()
    assert not model.enable_inference_storage
    client.post(address, {"enable": "true"})
    model.refresh_from_db()
    assert model.enable_inference_storage


def test_a_token_is_shown_once_and_can_be_revoked(person, project):
    client = person(Role.ADMINISTRATOR)
    address = reverse("tokens", args=["harbour"])
    made = text(
        client.post(address, {"name": "camera", "role": "editor", "life": "30"})
    )
    (secret,) = re.findall(r">(ist_[\w-]{40,})<", made)
    assert secret not in text(client.get(address))
    token = Token.objects.get(name="camera")
    assert token.expires_at
    client.post(reverse("revoke", args=["harbour", token.pk]))
    token.refresh_from_db()
    assert token.revoked_at


def test_a_project_keeps_an_administrator(person, project):
    client = person(Role.ADMINISTRATOR)
    own = Membership.objects.get(user=client.user)
    client.post(reverse("change-member", args=["harbour", own.pk]), {"role": ""})
    client.post(reverse("change-member", args=["harbour", own.pk]), {"role": "viewer"})
    own.refresh_from_db()
    assert own.role == Role.ADMINISTRATOR


def test_members_come_change_and_go(person, project):
    client = person(Role.ADMINISTRATOR)
    User.objects.create_user("maria")
    address = reverse("members", args=["harbour"])
    client.post(address, {"username": "maria", "role": "viewer"})
    member = Membership.objects.get(user__username="maria")
    change = reverse("change-member", args=["harbour", member.pk])
    client.post(change, {"role": "editor"})
    member.refresh_from_db()
    assert member.role == Role.EDITOR
    client.post(change, {"role": ""})
    assert not Membership.objects.filter(user__username="maria").exists()


def test_the_theme_is_remembered(person):
    client = person()
    client.post(reverse("theme"), {"theme": "dark", "next": "//evil.example"})
    assert 'data-theme="dark"' in text(client.get("/"))
    client.post(reverse("theme"), {"theme": ""})
    assert "data-theme" not in re.search("<html[^>]*>", text(client.get("/")))[0]


def test_the_admin_site_reads_and_does_not_remove(admin_client, model, make_inference):
    make_inference()
    token = Token.objects.create(
        name="t", project=model.project, role=Role.VIEWER, prefix="p", digest=b"d"
    )
    for address in (
        "/admin/",
        "/admin/istore/project/",
        "/admin/istore/membership/",
        f"/admin/istore/token/{token.pk}/change/",
        "/admin/istore/auditentry/",
        "/admin/ingest/deadletter/",
        "/admin/inferences/inference/",
        f"/admin/inferences/registeredmodel/{model.pk}/change/",
    ):
        assert admin_client.get(address).status_code == 200, address
    listed = admin_client.get(
        "/admin/inferences/inference/", {"registered_model__id__exact": model.pk}
    )
    assert "inference-1" in text(listed)
    assert admin_client.get("/admin/istore/token/add/").status_code == 403
    chosen = {"action": "revoke", "_selected_action": token.pk}
    admin_client.post("/admin/istore/token/", chosen)
    token.refresh_from_db()
    assert token.revoked_at


def test_a_query_as_people_type_it_narrows_the_page(person, model, make_inference):
    make_inference({"camera": "north"}, inference_id="north-1")
    make_inference({"camera": "south"}, inference_id="south-1")
    viewer = person()

    assert shown(browse(viewer, model, q='meta.camera="north"')) == ["north-1"]
    assert "Column 21" in text(browse(viewer, model, q="meta.camera=north OR"))


def test_unknown_parameters_of_statistics_are_told(person, model, make_inference):
    make_inference({"camera": "north"})
    address = reverse("inferences:statistics", args=[model.model_id])
    told = text(person().get(address, {"lable": "ship", "label": "ship"}))
    assert "<code>lable</code>" in told and "no such parameter" in told
    known = {"vs": "label:x", "of": "camera:string", "since": "24h", "figures": "true"}
    assert "no such parameter" not in text(person().get(address, known))


def test_two_labels_never_share_a_colour(model, make_inference):
    names = ["car", "bus", "person", "truck", *(f"class {n}" for n in range(44))]
    for name in names:
        make_inference(detections=[(name, 0.5)])
    colours = colours_of(model)
    assert [colours(name) for name in names] == list(range(48))
    assert colours("never said") == colours_of(type(model).objects.get())("never said")
    assert 36 <= colours("never said") < 48
    assert colours("\ud800") < 48


@pytest.mark.parametrize(
    ("query", "marked"),
    [
        ("label=ship", {("ship", 0.9), ("ship", 0.3)}),
        ("max_score=0.5", {("ship", 0.3), ("crane", 0.4)}),
        ("label=ship&max_score=0.5", {("ship", 0.3)}),
        ("q=label:crane OR score>=0.9", {("crane", 0.4), ("ship", 0.9)}),
        ("q=NOT label:ship", None),
        ("q=label:crane NOT label:tug", {("crane", 0.4)}),
        ("metadata=camera=north", None),
        ("source=quay", None),
        ("q=label:", None),
    ],
)
def test_what_a_question_asked_for_is_known(model, query, marked):
    test = detection_test(Question(QueryDict(query)))
    found = {("ship", 0.9), ("ship", 0.3), ("crane", 0.4)}
    got = None if test is None else {each for each in found if test(*each)}
    assert got == marked


def test_a_card_names_what_was_asked_for(person, model, make_inference):
    boxes = [
        {"label": "face", "score": score, "bounding_box": BOX} for score in (0.94, 0.42)
    ]
    make_inference(
        data=json.dumps({"object_detection": boxes}),
        detections=[("face", 0.94), ("face", 0.42)],
    )
    told = text(browse(person(), model, max_score="0.6"))
    assert ">0.42<" in told and "+1 other<" in told
    assert ">0.94<" not in told


BOX = {"xmin": 1, "ymin": 1, "xmax": 9, "ymax": 9}
