"""The list and its filters: panel, text and address say one thing; what is done with it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.http import QueryDict
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st

from inferences.models import MetadataChange, SavedView, TaskType
from inferences.search import text as queries
from inferences.search.filters.tree import normal
from inferences.web.view_models import facets as facets_module
from inferences.web.view_models import histograms
from inferences.web.view_models.columns import COLUMNS
from inferences.web.view_models.questions import Question
from istore.models import Membership, Role

pytestmark = pytest.mark.django_db


@pytest.fixture
def person(project):
    def make(role: Role = Role.EDITOR, name: str = "maria") -> Client:
        user = User.objects.create_user(name)
        Membership.objects.create(user=user, project=project, role=role)
        client = Client()
        client.force_login(user)
        return client

    return make


def address(name: str, model, *rest: str) -> str:
    return reverse(f"inferences:{name}", args=[model.model_id, *rest])


def listed(response) -> list[str]:
    return re.findall(r'<li class="card panel[^"]*" data-id="([^"]+)"', body(response))


def body(response) -> str:
    return response.content.decode()


def asked(query: str) -> Question:
    return Question(QueryDict(query), now=datetime(2026, 1, 31, 12, tzinfo=UTC))


# -- the question


def test_a_text_becomes_what_the_panel_can_show():
    question = asked('text=label:car score>=0.4 meta.camera in ["a", "b"] source:quay')
    assert question.labels == ["car"]
    assert question.query["min_score"] == "0.4"
    assert question.query["source"] == "quay"
    assert question.picked("camera") == ["a", "b"]
    assert "q" not in question.query


def test_what_the_panel_cannot_show_stays_a_query():
    question = asked("text=label:car (label:truck OR label:bus)")
    assert question.labels == ["car"]
    assert question.query["q"] == "label:truck OR label:bus"
    assert "label:car" in question.written


WORDS = st.sampled_from(
    [
        "label:car",
        "score<0.4",
        'meta.camera="12"',
        "meta.frame>987",
        "meta.gain<=0.5",
        'meta.camera in ["a", "b"]',
        "near:(51.95,4.14,5km)",
        "within:(51.9,4.1,52.0,4.2)",
        "since:2026-01-01",
        "source:quay",
        "action:detect",
        "truth:differs",
        "no:detections",
        "(label:a OR label:b)",
        "-source:x",
        "env:production",
    ]
)


@given(st.lists(WORDS, max_size=6, unique=True))
def test_text_parameters_and_text_again_ask_the_same(words):
    written = " ".join(words)
    question = Question(query_of(text=written))
    again = Question(QueryDict(question.link().removeprefix("?")))
    assert set(parts(again.filters)) == set(parts(queries.parse(written)))
    assert again.link() == question.link()


def query_of(**parameters: str) -> QueryDict:
    query = QueryDict(mutable=True)
    query.update(parameters)
    return query


def parts(filters) -> list[str]:
    found = normal(filters)
    return [repr(each) for each in getattr(found, "parts", (found,))]


def test_values_that_are_picked_become_one_comparison():
    question = asked("pick=camera:string=north&pick=camera:string=so,uth&key=&value=")
    assert question.query.getlist("metadata") == [r"camera:string in [north, so\,uth]"]
    assert question.picked("camera") == ["north", "so,uth"]


def test_a_range_becomes_two_comparisons_and_a_range_again():
    question = asked("from:frame:int=3&to:frame:int=7&to:gain:float=")
    assert question.query.getlist("metadata") == ["frame:int>=3", "frame:int<=7"]
    assert question.range("frame", "int") == ("3", "7")
    assert question.other_rows([("frame", "int")]) == []


def test_a_window_up_to_now_stays_one_in_the_address():
    question = asked("since=24h&label=car")
    assert question.filterset.is_valid()
    assert question.values["since"] == datetime(2026, 1, 30, 12, tzinfo=UTC)
    assert question.link() == "?since=24h&label=car"
    assert "since=2026-01-30" in question.pinned
    in_words = asked(f"since=24h&text={question.written}")
    assert in_words.query["since"] == "24h"


def test_a_moment_counts_before_a_preset():
    assert asked("since=24h&since=2026-01-01").query.getlist("since") == ["2026-01-01"]


# -- the list


def test_the_link_of_the_next_page_holds_the_moment_it_began(
    person, model, make_inference, monkeypatch
):
    from inferences.web import browsing

    monkeypatch.setitem(browsing.PAGE_SIZES, "gallery", 1)
    for number in range(3):
        moment = datetime.now(UTC) - timedelta(minutes=10 + number)
        make_inference(inference_id=f"i-{number}", created_at=moment)
    client, seen = person(), []
    here = address("browse", model) + "?since=1h"
    while here:
        response = client.get(here)
        seen += listed(response)
        following = re.search(r'rel="next" href="([^"]+)"', body(response))
        here = following and following[1].replace("&amp;", "&")
    assert seen == ["i-0", "i-1", "i-2"]


def test_more_of_the_list_is_items_alone(person, model, make_inference):
    make_inference(inference_id="a")
    said = body(person().get(address("browse", model), {"part": "more"}))
    assert said.lstrip().startswith("<li")
    assert "<html" not in said


def test_the_tail_finds_what_began_earlier_and_was_stored_later(
    person, model, make_inference
):
    first = make_inference(
        inference_id="quick", created_at=datetime(2025, 6, 1, 12, tzinfo=UTC)
    )
    make_inference(
        inference_id="slow", created_at=datetime(2025, 6, 1, 11, 59, 58, tzinfo=UTC)
    )
    found = person().get(address("browse", model), {"part": "new", "after": first.id})
    assert listed(found) == ["quick", "slow"]


@pytest.mark.parametrize("after", ["", "x", "9" * 40])
def test_a_tail_of_nothing_is_not_there(person, model, after):
    asked_for = {"part": "new", "after": after}
    assert person().get(address("browse", model), asked_for).status_code == 404


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"within": "51.9,4.1,52.0,4.2"}, ["a"]),
        ({"near": "53.5,10,5km"}, ["b"]),
        ({"sort": "oldest"}, ["b", "a"]),
        ({"sort": "score"}, ["b", "a"]),
        ({"sort": "uncertain"}, ["a", "b"]),
        ({"sort": "doubt"}, ["a", "b"]),  # its former name, in saved views and links
    ],
)
def test_places_and_orders_are_in_the_address(
    person, model, make_inference, query, found
):
    make_inference(
        inference_id="a",
        latitude=51.95,
        longitude=4.14,
        detections=[("ship", 0.2)],
        created_at=datetime(2025, 6, 2, tzinfo=UTC),
    )
    make_inference(
        inference_id="b", latitude=53.5, longitude=10, detections=[("ship", 0.9)]
    )
    assert listed(person().get(address("browse", model), query)) == found


@pytest.mark.parametrize("query", [{"within": "1,2,3"}, {"within": "95,0,0,0"}])
def test_a_rectangle_that_cannot_be_read_is_told(person, model, query):
    said = body(person().get(address("browse", model), query))
    assert "A filter cannot be read" in said


def test_similarity_without_embeddings_is_told(person, model, make_inference):
    make_inference(inference_id="a")
    said = body(person().get(address("browse", model), {"similar": "a"}))
    assert "registered without embeddings" in said


def test_the_nearest_to_a_text_come_first(person, model, make_inference, monkeypatch):
    from inferences.search.vectors import text_embedding
    from istore.errors import Conflict

    model.embedding_size, model.text_embedding_service = 2, "texts"
    model.save()
    make_inference(inference_id="far", embedding=[1.0, 0.0])
    make_inference(inference_id="near", embedding=[0.0, 1.0])
    monkeypatch.setitem(text_embedding.embedders, "services", lambda *_: [0.0, 1.0])
    client, asked_for = person(), {"like": "a ship in fog"}
    response = client.get(address("browse", model), asked_for)
    assert listed(response) == ["near", "far"]
    assert 'value="a ship in fog"' in body(response)

    # The list from which an inference was opened has its order to both sides.
    near = reverse("inferences:detail", args=[model.model_id, "near"])
    assert re.search(r'rel="next"[^>]*/far\?', body(client.get(near, asked_for)))
    other = client.get(near, {"like": "what nobody asked for"})
    assert 'rel="next"' not in body(other)

    def silent(*_: object) -> None:
        raise Conflict("text-embedding-not-ready", "No session is ready.")

    monkeypatch.setitem(text_embedding.embedders, "services", silent)
    assert listed(client.get(address("browse", model), asked_for)) == ["near", "far"]
    said = body(client.get(address("browse", model), {"like": "another text"}))
    assert "No session is ready." in said


# -- what each filter would leave


def counts(response, name: str) -> dict[str, str]:
    part = body(response).partition(f'id="facet-{name}"')[2].partition("</div>")[0]
    found = re.findall(
        r'class="name" title="([^"]+)">[^<]*</span>\s*<span class="number faint">([^<]+)<',
        part,
    )
    return dict(found)


@pytest.fixture
def fleet(make_inference):
    for number in range(6):
        make_inference(
            {"camera": ("north", "south")[number % 2], "frame": number},
            detections=[("ship", 0.1 * number)] + [("tug", 0.9)] * (number > 3),
            data_source=("quay-1", "quay-2")[number > 2],
            latitude=50 + number,
            longitude=4,
        )


def test_a_choice_is_counted_over_what_the_other_filters_leave(person, model, fleet):
    asked_for = {"label": "tug", "source": "quay-2"}
    response = person().get(address("facets", model), asked_for)
    assert counts(response, "labels") == {"ship": "3", "tug": "2"}
    assert counts(response, "sources") == {"quay-2": "2"}
    assert counts(response, "actions") == {"detect": "2"}
    assert 'data-placed="2"' in body(response)


def test_the_states_of_ground_truth_are_counted(person, model, fleet):
    from inferences.ground_truth.upsert import put_truth

    first = model.inferences.oldest_first().first()
    put_truth("test", model, first.inference_id, {"boxes": []})
    response = person().get(address("facets", model), {"truth": "missing"})
    found = counts(response, "truths")
    assert (found["given"], found["missing"]) == ("1", "5")


@pytest.mark.parametrize(
    ("low", "high"), [(-1.7e308, 1.7e308), (5e-324, 1e-323), (3.0, 3.0), (1e16, 1e16)]
)
def test_a_histogram_holds_every_value_whatever_the_span(low, high):
    found = histograms.histogram([low, (low + high) / 2, high], low, high, 7, True)
    assert found.total == 3


def test_counts_of_a_part_say_so(person, model, fleet, monkeypatch):
    monkeypatch.setattr(facets_module, "sample", small_sample)
    said = body(person().get(address("facets", model)))
    assert "of the newest 3 matches" in said


def small_sample(model, filters):
    from inferences.web.view_models.sampling import sample

    return sample(model, filters, most=3)


def test_the_values_of_a_key_are_counted(person, model, fleet):
    where = {"of": "camera", "of_type": "string", "pick": "camera:string=north"}
    said = body(person().get(address("one-key", model), where))
    assert re.search(r'value="camera:string=north"\s+checked.*?faint">3<', said, re.S)
    assert re.search(r'value="camera:string=south"\s*>.*?faint">3<', said, re.S)


def test_the_numbers_of_a_key_are_a_histogram_to_drag_on(person, model, fleet):
    said = body(
        person().get(address("one-key", model), {"of": "frame", "of_type": "int"})
    )
    assert re.search(r'data-low="0.0"\s+data-high="5.0"', said)
    assert re.search(r'data-from="from:frame:int"\s+data-to="to:frame:int"', said)
    assert 'name="from:frame:int"' in said


def test_facets_are_for_who_may_see_the_model(client, model, project, person):
    stranger = User.objects.create_user("igor")
    client.force_login(stranger)
    for name in ("facets", "one-key", "statistics", "browse"):
        assert client.get(address(name, model)).status_code == 404


# -- what is done with a selection


def test_a_selection_is_protected_and_the_protection_undone(
    person, model, make_inference
):
    first, other = make_inference(), make_inference()
    client, here = person(), address("protect", model)
    shown = client.post(here, {"inference_id": first.inference_id})
    assert "Protect this inference?" in body(shown)
    sure = {"inference_id": first.inference_id, "sure": "true", "reason": "audit"}
    told = client.post(here, sure, follow=True)
    assert "1 protected." in body(told)
    assert "/selection/unprotect" in body(told)
    first.refresh_from_db()
    other.refresh_from_db()
    assert (first.is_protected, other.is_protected) == (True, False)
    client.post(address("unprotect", model), sure)
    first.refresh_from_db()
    assert not first.is_protected


def test_all_that_match_are_removed_for_good_when_their_number_is_typed(
    person, model, make_inference
):
    for camera in ("north", "north", "south"):
        make_inference({"camera": camera})
    client, here = person(), address("remove", model)
    chosen = {"everything": "true", "query": "?metadata=camera:string=north"}
    chosen |= {"how": "hard"}
    assert "type <strong" in body(client.post(here, chosen))
    wrong = client.post(here, {**chosen, "sure": "true", "number": "3"})
    assert wrong.status_code == 400
    assert model.inferences.live().count() == 3
    client.post(here, {**chosen, "sure": "true", "number": "2"})
    assert model.inferences.live().count() == 1


def test_what_arrives_meanwhile_is_not_part_of_a_selection(
    person, model, make_inference
):
    make_inference(inference_id="seen")
    client, here = person(), address("remove", model)
    asked_for = {"everything": "true", "query": "?label=", "back": "?view=table"}
    shown = body(client.post(here, asked_for))
    pinned = re.search(r'name="query" value="([^"]+)"', shown)[1].replace("&amp;", "&")
    make_inference(inference_id="late", created_at=datetime.now(UTC))
    sure = {**asked_for, "query": pinned, "sure": "true", "number": "1"}
    done = client.post(here, sure)
    assert done.url.endswith("/inferences?view=table")
    left = model.inferences.live().values_list("inference_id", flat=True)
    assert list(left) == ["late"]


@pytest.mark.parametrize(
    "query", ["?label=", "?sorce=quay-3", "?q=%20", "?label=car&since=", "?text="]
)
@pytest.mark.parametrize("act", ["protect", "tag", "remove"])
def test_an_act_does_not_take_a_filter_that_says_nothing_for_none(
    person, model, make_inference, act, query
):
    made = make_inference(detections=[("car", 0.9)])
    given = {"everything": "true", "query": query, "sure": "true", "number": "1"}
    given |= {"key": "reviewed", "type": "int", "value": "1"}

    person().post(address(act, model), given)

    made.refresh_from_db()
    assert not made.is_protected
    assert not MetadataChange.objects.exists()
    assert model.inferences.live().count() == 1


def test_a_selection_is_tagged(person, model, make_inference):
    made = make_inference(inference_id="a")
    given_value = {"key": "reviewed", "type": "int", "value": "1", "sure": "true"}
    client = person()
    client.post(address("tag", model), {"inference_id": "a", **given_value})
    found = client.get(address("browse", model), {"metadata": "reviewed:int=1"})
    assert listed(found) == [made.inference_id]
    wrong = {"inference_id": "a", **given_value, "value": "one"}
    assert client.post(address("tag", model), wrong).status_code == 400


@pytest.mark.parametrize(
    ("query", "status", "location"),
    [
        ("?min_score=high", 302, "/projects/harbour/models/yolo-harbour/inferences"),
        ("?x\r\nSet-Cookie: a=b", 200, ""),
        ("//evil", 200, ""),
    ],
)
def test_a_query_that_is_nonsense_changes_nothing(
    person, model, make_inference, query, status, location
):
    made = make_inference()
    given_form = {"everything": "true", "query": query}
    response = person().post(address("protect", model), given_form)
    assert (response.status_code, response.get("Location", "")) == (status, location)
    made.refresh_from_db()
    assert not made.is_protected


ACTS = ("protect", "unprotect", "tag", "remove", "unremove", "saved-views", "try")


@pytest.mark.parametrize("name", ACTS)
def test_a_viewer_cannot_act(person, model, make_inference, name):
    make_inference(inference_id="a")
    client = person(Role.VIEWER)
    sure = {"inference_id": "a", "sure": "true", "number": "1", "name": "x"}
    assert client.post(address(name, model), sure).status_code == 403
    assert model.inferences.live().filter(is_protected=False).count() == 1


def test_a_viewer_is_offered_no_action(person, model, make_inference):
    make_inference()
    said = body(person(Role.VIEWER).get(address("browse", model)))
    assert "formaction" not in said
    assert "Save this view" not in said


# -- views


def test_a_view_is_saved_shown_first_and_removed(person, model):
    client = person()
    kept = {"name": "Doubtful", "query": "?max_score=0.5&view=table", "default": "true"}
    client.post(address("saved-views", model), kept)
    view = SavedView.objects.get()
    opened = client.get(address("browse", model))
    assert opened.status_code == 302
    assert opened.url.endswith("?view=table&max_score=0.5")
    everything = client.get(address("browse", model), {"view": "gallery"})
    assert everything.status_code == 200
    one = reverse("inferences:saved-view", args=[model.model_id, view.pk])
    client.post(one, {"default": "false"})
    assert client.get(address("browse", model)).status_code == 200
    client.post(one, {"remove": "true"})
    assert not SavedView.objects.exists()


def test_one_view_is_shown_first(person, model):
    client = person()
    for name in ("a", "b"):
        kept = {"name": name, "query": "?label=x", "default": "true"}
        client.post(address("saved-views", model), kept)
    assert [view.name for view in SavedView.objects.filter(is_default=True)] == ["b"]


@pytest.mark.parametrize("name", ["", " ", "x" * 81, "a\0b"])
def test_a_view_without_a_name_is_not_saved(person, model, name):
    person().post(address("saved-views", model), {"name": name, "query": ""})
    assert not SavedView.objects.exists()


# -- statistics


def test_the_statistics_of_two_questions_stand_beside_each_other(person, model, fleet):
    asked_for = {"text": "source:quay-1", "vs": "source:quay-2", "of": "frame:int"}
    client = person(Role.VIEWER)
    frame = client.get(address("statistics", model), asked_for)
    assert frame.status_code == 200
    labels = body(
        client.get(address("statistics", model), {**asked_for, "part": "labels"})
    )
    row = re.search(r">tug</a>(.*?)</tr>", labels, re.DOTALL)[1]
    assert re.findall(r'number">\s*(?:<a [^>]*>)?(\d+)', row) == ["0", "2"]
    key = body(client.get(address("statistics", model), {**asked_for, "part": "key"}))
    assert "mean 1" in key
    assert "mean 4" in key
    for part in ("volume", "scores", "latency"):
        said = client.get(address("statistics", model), {**asked_for, "part": part})
        assert said.status_code == 200


def test_statistics_of_what_cannot_be_read_say_so(person, model):
    said = person().get(address("statistics", model), {"vs": "color:red"})
    assert "There is no color" in body(said)
    assert (
        person(name="b").get(address("statistics", model), {"part": "x"}).status_code
        == 404
    )


def test_no_column_of_the_table_costs_a_statement_a_row(person, model, make_inference):
    client = person()
    columns = "".join(f"&columns={name}" for name in COLUMNS)

    def statements() -> int:
        with CaptureQueriesContext(connection) as seen:
            shown = client.get(address("browse", model) + f"?view=table{columns}")
        assert "0.875" in body(shown)
        return len(seen)

    make_inference(detections=[("ship", 0.875)])
    statements()  # what is remembered of the model
    alone = statements()
    for _ in range(10):
        make_inference(detections=[("ship", 0.875)])

    assert statements() == alone


@pytest.mark.parametrize(
    "task",
    [TaskType.OBJECT_DETECTION, TaskType.IMAGE_EMBEDDING, TaskType.TEXT_GENERATION],
)
def test_a_part_renews_only_what_the_page_has(person, model, make_inference, task):
    """htmx reports what it is told to swap and does not find."""
    make_inference({}, inference_id="a")
    model.task_type = task
    model.save()
    client = person()
    page = body(client.get(address("browse", model), {"label": "a"}))
    part = body(
        client.get(address("browse", model), {"label": "a"}, HTTP_HX_REQUEST="true")
    )
    renewed = re.findall(r'id="([^"]+)" hx-swap-oob', part)
    assert "error-since" in renewed
    assert [name for name in renewed if f'id="{name}"' not in page] == []


def test_groups_that_are_not_counted_tell_no_number(person, model, make_inference):
    make_inference({"camera": "12"}, inference_id="a")
    grouped = {"view": "table", "group": "meta.camera"}
    page = body(person().get(address("browse", model), grouped))
    assert "Count the groups" in page
    assert "<strong>0</strong>" not in page
