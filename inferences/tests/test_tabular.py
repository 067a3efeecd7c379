"""The table of inferences: its columns, sorts, groups, and values that change in their cells."""

from __future__ import annotations

import json
import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import uuid4

import pytest
from django.urls import reverse

from inferences.ground_truth.upsert import put_truth
from inferences.models import RegisteredModel, TaskType
from inferences.store import metadata_edits
from inferences.tests.builders import typed
from inferences.tests.pages import browse, one_line, text
from inferences.web.view_models.features import rank_features
from istore import blobs
from istore.errors import Conflict
from istore.models import Role

START = datetime(2025, 6, 1, tzinfo=UTC)


@pytest.fixture
def credit(project) -> RegisteredModel:
    return RegisteredModel.objects.create(
        model_id="credit",
        project=project,
        task_type=TaskType.TABULAR_CLASSIFICATION,
        enable_inference_storage=True,
    )


@pytest.fixture
def applications(credit, make_inference):
    """Six applications, whose age counts for more the later they come."""

    def make(count: int = 6) -> None:
        for number in range(count):
            collection = {
                "classification": [{"label": "good", "score": 0.5 + number / 100}],
                "inputs": {"age": 20 + number, "job": f"job {number % 3}"},
                "shap_values": {"job": 0.01, "age": (-1) ** number * number / 10},
            }
            make_inference(
                {"branch": "north" if number % 2 else "south", "amount": number * 100},
                to=credit,
                inference_id=f"a-{number}",
                created_at=START + timedelta(minutes=number),
                data=json.dumps(collection),
                detections=[("good" if number < 4 else "bad", 0.5 + number / 100)],
            )

    make()
    return make


def rows(response) -> list[str]:
    return re.findall(r'<tr data-id="([^"]+)"', text(response))


def heads(response) -> list[str]:
    return re.findall(r'data-column="([^"]+)"', text(response))


# -- columns


def test_a_tabular_model_shows_a_table_with_the_features_that_count_most(
    person, credit, applications
):
    page = browse(person(), credit)
    assert heads(page) == [
        "answer",
        "input.age",
        "shap.age",
        "input.job",
        "shap.job",
        "meta.amount",
        "meta.branch",
        "time",
    ]
    assert "mean of |SHAP| of the newest 6 inferences" in one_line(page)
    assert "-0.5</span>" in text(page)
    assert rows(browse(person(), credit, view="gallery")) == []


def test_other_models_show_a_gallery_first_and_the_table_they_had(
    person, model, make_inference
):
    make_inference({"camera": "north"})
    client = person()
    assert heads(browse(client, model)) == []
    table = browse(client, model, view="table")
    assert heads(table) == ["answer", "action", "source", "time", "meta.camera"]


def test_inputs_of_files_are_columns_by_the_names_of_the_page(
    person, credit, make_inference
):
    key = f"1/1/2025/06/01/00/{uuid4()}/input"
    blobs.put(key, b'{"alcohol": 13.5, "ash": 2.1}')
    make_inference(
        to=credit, data_storage_key=key, data_content_type="application/json"
    )
    page = browse(person(), credit)
    assert heads(page) == ["answer", "input.alcohol", "input.ash", "time"]
    assert "13.5" in text(page)
    assert "sort=-input.alcohol" not in text(page)  # no statement reads files
    assert "which no query sorts by" in one_line(page)


def test_the_address_names_columns_in_their_order(person, credit, applications):
    page = browse(person(), credit, columns=["shap.age", "meta.branch", "nonsense"])
    assert heads(page) == ["shap.age", "meta.branch"]


def test_columns_of_older_addresses_are_understood(person, model, make_inference):
    make_inference({"camera": "north"})
    page = browse(person(), model, view="table", col=["score", "time"], show="camera")
    assert heads(page) == ["score", "time", "meta.camera"]


@pytest.mark.parametrize(
    ("move", "after"),
    [
        ("left:time", ["time", "answer", "score"]),
        ("right:answer", ["time", "answer", "score"]),
        ("left:answer", ["answer", "time", "score"]),
        ("pin:score", ["score", "answer", "time"]),
        ("right:nonsense", ["answer", "time", "score"]),
    ],
)
def test_a_column_is_moved_and_pinned_without_scripts(
    person, credit, applications, move, after
):
    client, columns = person(), ["answer", "time", "score"]
    moved = browse(client, credit, columns=columns, move=move)
    assert moved.status_code == 302
    assert heads(client.get(moved["Location"])) == after


def test_columns_are_remembered_for_the_model_until_the_usual_ones_are_asked_for(
    person, credit, applications
):
    client = person()
    first = browse(client, credit, columns=["time", "shap.age"], pinned="time")
    # Of this model alone: browsers send it to its list and nowhere else.
    assert first.cookies["columns"]["path"] == "/models/credit/inferences"
    again = browse(client, credit)
    assert again.status_code == 302
    assert again["Location"].endswith("?columns=time&columns=shap.age&pinned=time")
    usual = browse(client, credit, columns="usual")
    assert "input.age" in heads(usual)
    assert browse(client, credit).status_code == 200


def test_further_rows_have_the_columns_of_the_first(
    person, credit, applications, monkeypatch
):
    from inferences.web import browsing

    monkeypatch.setitem(browsing.PAGE_SIZES, "table", 2)
    page = browse(person(), credit)
    following = re.search(r'rel="next" href="([^"]+)"', text(page))[1]
    assert "columns=input.age&amp;columns=shap.age" in following


def test_features_are_ordered_by_the_mean_of_what_they_contribute():
    found = rank_features(
        [
            '{"shap_values": {"a": 1, "b": -3, "c": "x"}, "inputs": {"d": 1}}',
            '{"shap_values": {"a": 1.5}}',
            "[]",
            '{"shap_values": [1]}',
        ]
    )
    assert [(each.name, each.importance) for each in found.features] == [
        ("b", 0.75),
        ("a", 0.625),
        ("d", None),
    ]
    assert (found.sampled, found.most) == (4, 3.0)


# -- sorts


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("shap.age", [5, 3, 1, 0, 2, 4]),
        ("-shap.age", [4, 2, 0, 1, 3, 5]),
        ("-input.age", [5, 4, 3, 2, 1, 0]),
        ("input.job", [0, 3, 1, 4, 2, 5]),
        ("meta.amount", [0, 1, 2, 3, 4, 5]),
        ("-meta.amount", [5, 4, 3, 2, 1, 0]),
        ("meta.branch", [1, 3, 5, 0, 2, 4]),
        ("shap.nothing", [5, 4, 3, 2, 1, 0]),
    ],
)
@pytest.mark.parametrize("limit", [2, 30])
def test_a_list_is_sorted_by_any_column_over_all_pages(
    person, credit, applications, monkeypatch, sort, order, limit
):
    from inferences.web import browsing

    monkeypatch.setitem(browsing.PAGE_SIZES, "table", limit)
    client, seen = person(), []
    page = browse(client, credit, sort=sort)
    while True:
        seen += rows(page)
        following = re.search(r'rel="next" href="([^"]+)"', text(page))
        if not following:
            break
        page = client.get(following[1].replace("&amp;", "&"))
    assert seen == [f"a-{number}" for number in order]


def test_rows_without_a_value_come_last_and_what_comes_meanwhile_is_not_among_them(
    person, credit, applications, make_inference, monkeypatch
):
    from inferences.web import browsing

    monkeypatch.setitem(browsing.PAGE_SIZES, "table", 4)
    make_inference(to=credit, inference_id="odd", data="no JSON", created_at=START)
    client = person()
    first = browse(client, credit, sort="-shap.age")
    following = re.search(r'rel="next" href="([^"]+)"', text(first))[1]
    make_inference(
        to=credit,
        inference_id="late",
        data='{"shap_values": {"age": 0.0}}',
        created_at=START + timedelta(days=1),
    )
    second = client.get(following.replace("&amp;", "&"))
    assert rows(first) + rows(second) == [
        "a-4",
        "a-2",
        "a-0",
        "a-1",
        "a-3",
        "a-5",
        "odd",
    ]


def test_a_sort_within_the_newest_says_so(person, credit, applications, monkeypatch):
    from inferences.search import window_sort

    monkeypatch.setattr(window_sort.NamedValue, "window", 3)
    page = browse(person(), credit, sort="-shap.age")
    assert rows(page) == ["a-4", "a-3", "a-5"]
    assert "sorted within the newest 3" in one_line(page)


@pytest.mark.parametrize("sort", ["-shap.age", "meta.amount", "input.job"])
def test_one_inference_goes_on_as_the_sorted_table_does(
    person, credit, applications, sort
):
    client = person()
    names = rows(browse(client, credit, sort=sort))
    for before, after in pairwise(names):
        one = client.get(
            reverse("inferences:detail", args=["credit", before]), {"sort": sort}
        )
        found = re.search(
            r'href="[^"]*/inferences/([^"?]+)[^"]*"[^>]*rel="next"', one_line(one)
        )
        found = found or re.search(
            r'rel="next"[^>]*href="[^"]*/inferences/([^"?]+)', one_line(one)
        )
        assert found and found[1] == after


def test_a_cursor_with_a_rank_that_no_slot_holds_is_refused(credit):
    from inferences.search import cursors
    from inferences.search.pagination import BadCursor

    for rank in (10**400, True, [1]):
        made = cursors.write(
            cursors.Position(cursors.PagePosition(rank, 1), 1), "question"
        )
        with pytest.raises(BadCursor):
            cursors.read(made, "question")


# -- groups


def groups(client, credit, by: str, **query) -> dict[str, list[str]]:
    page = browse(client, credit, group=by, part="groups", **query)
    assert page.status_code == 200
    found = {}
    for row in re.findall(r"<tr>(.*?)</tr>", one_line(page), re.DOTALL)[1:]:
        name = re.search(r'<th scope="row"[^>]*>(.*?)</th>', row)[1]
        cells = [
            re.sub(r"<[^>]+>", "", each).strip()
            for each in re.findall(r"<td[^>]*>(.*?)</td>", row)
        ]
        found[re.sub(r"<[^>]+>", "", name).strip()] = cells
    return found


def opened(client, credit, by: str, **query) -> dict[str, int]:
    """The number of inferences that the link of each group opens."""
    page = browse(client, credit, group=by, part="groups", **query)
    links = re.findall(
        r'<th scope="row"[^>]*>\s*<a href="([^"]+)">([^<]+)</a>', text(page)
    )
    return {
        name: len(rows(client.get(address.replace("&amp;", "&"))))
        for address, name in links
    }


@pytest.mark.parametrize("by", ["label", "action", "meta.branch", "meta.amount"])
def test_each_group_opens_what_it_counts(person, credit, applications, by):
    client = person()
    found = groups(client, credit, by)
    assert found
    assert opened(client, credit, by) == {
        name: int(cells[0]) for name, cells in found.items()
    }


def test_a_group_says_how_many_answers_agree_and_their_mean_score(
    person, credit, applications
):
    for number, label in enumerate(["good", "bad", "good"]):
        put_truth("test", credit, f"a-{number}", {"labels": [label]})
    found = groups(person(), credit, "meta.branch")
    assert found["south"][:2] + found["south"][3:] == [
        "3", "50.0 %", "100.0 %", "0.0 %", "2", "0.520",
    ]  # fmt: skip
    assert found["north"][3:6] == ["0.0 %", "100.0 %", "1"]


def test_inferences_without_a_value_are_a_group_of_their_own(
    person, credit, applications, make_inference
):
    make_inference(to=credit, inference_id="bare", detections=[])
    client = person()
    assert groups(client, credit, "meta.branch")["none"][0] == "1"
    assert opened(client, credit, "meta.branch")["none"] == 1
    assert opened(client, credit, "label")["none"] == 1


def test_many_numbers_are_grouped_by_ranges(person, credit, make_inference):
    for number in range(30):
        make_inference(
            {"gain": number / 10, "frame": number},
            to=credit,
            inference_id=f"n-{number}",
        )
    client = person()
    for key in ("gain", "frame"):
        found = groups(client, credit, f"meta.{key}")
        assert 3 <= len(found) <= 12
        counts = {name: int(cells[0]) for name, cells in found.items()}
        assert sum(counts.values()) == 30
        assert opened(client, credit, f"meta.{key}") == counts


def test_groups_of_the_newest_say_so_and_open_these_alone(
    person, credit, applications, monkeypatch
):
    from inferences.web.view_models import groups as module

    monkeypatch.setattr(module, "_aggregate", lambda *given: None)
    monkeypatch.setattr(module, "SAMPLE", 4)
    client = person()
    page = browse(client, credit, group="meta.branch", part="groups")
    assert "of the newest 4 matches" in one_line(page)
    assert opened(client, credit, "meta.branch") == {"north": 2, "south": 2}


def test_counts_that_summaries_tell_are_of_all_matches(
    person, credit, applications, monkeypatch
):
    from inferences.web.view_models import groups as module

    counts = Counter({"north": 30, "south": 10})
    monkeypatch.setattr(module.counting, "values_of", lambda *given: counts)
    monkeypatch.setattr(module.counting, "count_by_segments", lambda *given: 40)
    monkeypatch.setattr(module, "SAMPLE", 4)
    client = person()
    page = browse(client, credit, group="meta.branch", part="groups")
    assert (
        "Counts are of all matches, figures beside them of the newest 4."
        in one_line(page)
    )
    found = groups(client, credit, "meta.branch")
    assert {name: cells[:2] for name, cells in found.items()} == {
        "north": ["30", "75.0 %"],
        "south": ["10", "25.0 %"],
    }


def test_groups_are_on_the_page_for_browsers_without_scripts(
    person, credit, applications
):
    client = person()
    assert "Count the groups" in text(browse(client, credit, group="label"))
    page = browse(client, credit, group="label", counts="true")
    assert "Of all 6 matches" in one_line(page)


def test_what_a_model_does_not_have_is_no_group(person, credit, applications):
    for by in ("meta.nothing", "nonsense", "meta."):
        page = browse(person(), credit, group=by, part="groups")
        assert "nothing to group by" in text(page)


# -- values that change in their cells


def edit(client, credit, htmx=True, **fields):
    headers = {"HX-Request": "true"} if htmx else {}
    given = {"inference_id": "a-1", "key": "branch", "type": "string"} | fields
    address = reverse("inferences:edit-value", args=["credit"])
    return client.post(address, given, headers=headers)


def value(credit, key="branch", name="a-1"):
    from inferences.store.reading import find_inference

    return find_inference(credit, name).payload.metadata.get(key)


def test_a_value_is_changed_in_its_cell_and_taken_back(person, credit, applications):
    client = person(Role.EDITOR)
    seen = json.dumps(["string", "north"])
    saved = edit(client, credit, value="west", expected=seen)
    assert value(credit) == ["string", "west"]
    assert 'class="cell"' in text(saved) and "branch is west now." in text(saved)

    fields = dict(
        re.findall(
            r'name="(key|expected|type|value|undo)" value="([^"]*)"', text(saved)
        )
    )
    fields["expected"] = fields["expected"].replace("&quot;", '"')
    undone = edit(client, credit, **fields)
    assert value(credit) == ["string", "north"]
    assert "hx-swap-oob" in text(undone) and "Undo</button>" not in text(undone)


def test_who_was_second_is_told_what_the_value_is_now(person, credit, applications):
    client = person(Role.EDITOR)
    seen = json.dumps(["string", "north"])
    edit(client, credit, value="west", expected=seen)
    second = edit(client, credit, value="east", expected=seen)
    assert value(credit) == ["string", "west"]
    assert "Somebody else was first: branch is &#x27;west&#x27; now." in text(second)
    # What was typed is still there; sent again, it replaces the value that is told.
    assert 'name="value" value="east"' in text(second)
    assert "&quot;west&quot;" in text(second)


def test_a_value_that_its_type_does_not_take_is_not_saved(person, credit, applications):
    client = person(Role.EDITOR)
    said = edit(client, credit, key="amount", type="int", value="many")
    assert "is not a valid int" in text(said)
    assert value(credit, "amount") == ["int", "100"]
    without = edit(client, credit, False, key="amount", type="int", value="many")
    assert without.status_code == 400


def test_a_new_value_is_removed_by_its_undo(person, credit, applications):
    client = person(Role.EDITOR)
    saved = edit(client, credit, key="note", value="x", expected="null")
    assert 'name="remove" value="true"' in text(saved)
    edit(client, credit, key="note", remove="true", undo="true")
    assert value(credit, "note") is None


def test_without_scripts_the_form_is_a_page_that_leads_back(
    person, credit, applications
):
    client = person(Role.EDITOR)
    here = reverse("inferences:edit-value", args=["credit"])
    listed = reverse("inferences:browse", args=["credit"]) + "?sort=-shap.age"
    form = client.get(
        here, {"inference_id": "a-1", "key": "branch"}, headers={"Referer": listed}
    )
    assert "<!doctype html>" in text(form).lower()
    saved = edit(client, credit, False, value="west", back=listed)
    assert (saved.status_code, saved["Location"]) == (302, listed)


def test_viewers_see_values_and_cannot_change_them(person, credit, applications):
    client = person(Role.VIEWER)
    assert 'class="edit"' not in text(browse(client, credit))
    assert edit(client, credit, value="west").status_code == 403
    assert 'class="edit"' in text(browse(person(Role.EDITOR), credit))


@pytest.mark.parametrize(
    "fields", [{"inference_id": "nobody"}, {"key": ""}, {"key": "latitude"}]
)
def test_what_is_not_there_cannot_be_changed(person, credit, applications, fields):
    assert edit(person(Role.EDITOR), credit, value="x", **fields).status_code == 404


def test_a_removal_that_somebody_was_before_is_a_conflict(credit, applications):
    with pytest.raises(Conflict):
        metadata_edits.remove_value("me", credit, "a-1", "branch", ["string", "south"])
    assert value(credit) == ["string", "north"]
    metadata_edits.put_value(
        "me",
        credit,
        "a-1",
        typed("branch", "x"),
        replace=True,
        expected=["string", "north"],
    )
    assert value(credit) == ["string", "x"]
