"""The pages of a dataset: what they show, and what is done on them."""

from __future__ import annotations

import pytest
from django.urls import reverse

from datasets import lifecycle
from datasets.models import DatasetArchive, DatasetEntry
from datasets.splitting import Splitting
from exports.models import ExportTask
from exports.tests.conftest import png
from inferences.ground_truth.writes import Given, write
from istore.db.clock import now

BASE = "/projects/harbour/datasets/hard%20cases"
SHIP = {"label": "ship", "score": 0.9, "xmin": 1, "ymin": 2, "xmax": 30, "ymax": 40}
CAR = SHIP | {"label": "car", "score": 0.3}
BOX = {"label": "tug", "xmin": 2, "ymin": 2, "xmax": 20, "ymax": 30}


@pytest.fixture
def filled(make_stored, model, dataset, add):
    """A ship, another one of the same input, and a car with a ground truth; in two splits."""
    for name in ("a", "b"):
        make_stored(png(), [SHIP], inference_id=name)
    make_stored(png(30, 30), [CAR], inference_id="c")
    row = model.inferences.get(inference_id="c")
    write(model, {row.id: Given({"boxes": [BOX]}, "test", now())})
    add()
    dataset.refresh_from_db()
    splitting = Splitting("share", {"train": 0.5, "test": 0.5})
    return lifecycle.change("test", dataset, splitting=splitting)


def text_of(client, address: str, **more) -> str:
    answer = client.get(address, **more)
    assert answer.status_code == 200, (address, answer.status_code)
    return " ".join(answer.content.decode().split())


def keys(text: str) -> list[str]:
    return [part.split('"')[0] for part in text.split('data-id="')[1:]]


def test_the_gallery_draws_answers_and_ground_truth(person, filled):
    page = text_of(person(), BASE)
    assert keys(page) == [str(e.pk) for e in filled.entries.order_by("pk")]
    assert 'data-answer viewBox="0 0' in page
    assert 'data-truth class="truth"' in page
    assert 'data-class="ship"' in page
    for name in ("train", "test"):
        assert f"?q=split%3A{name}" in page


def test_a_query_narrows_the_gallery_and_says_what_it_cannot_ask(person, filled):
    client = person()
    entry = filled.entries.get(inference_id="c")
    for query in ("label:car", "truth:given", "score<0.5", "truth.label:tug"):
        assert keys(text_of(client, f"{BASE}?q={query}")) == [str(entry.pk)]
    assert "No entry matches" in text_of(client, f"{BASE}?label=none")
    assert "Entries do not know this" in text_of(client, f"{BASE}?q=is:protected")
    assert "cannot be read" in text_of(client, f"{BASE}?q=label:")
    assert "This page is gone" in text_of(client, f"{BASE}?cursor=x")
    typed = client.get(BASE, {"text": "label:car"})
    assert (typed.status_code, typed["Location"].split("?")[1]) == (302, "label=car")


def test_parts_of_the_gallery_come_alone(person, filled):
    client = person()
    assert "<strong>3</strong> entries" in text_of(client, f"{BASE}?part=count")
    assert "<strong>1</strong> entry" in text_of(client, f"{BASE}?label=car&part=count")
    legend = text_of(client, f"{BASE}?part=legend")
    assert 'aria-label="ship: 2"' in legend
    more = text_of(client, f"{BASE}?part=more")
    assert "<html" not in more and len(keys(more)) == 3


def test_pages_go_on_by_cursor(person, filled, monkeypatch):
    monkeypatch.setattr("datasets.web.entries.cards_at_once", lambda size: 2)
    client = person()
    first = text_of(client, BASE)
    assert len(keys(first)) == 2
    last = keys(first)[-1]
    assert f"cursor={last}" in first
    assert len(keys(text_of(client, f"{BASE}?cursor={last}"))) == 1


def test_addresses_of_versions_in_the_query_string_lead_to_their_path(person, filled):
    lifecycle.publish("test", filled)
    answer = person().get(f"{BASE}?version=1&label=car")
    assert answer["Location"] == f"{BASE}/versions/1?label=car"
    assert person().get(f"{BASE}?version=9").status_code == 404
    assert "version 1, fixed" in text_of(person(), f"{BASE}/versions/1")


def test_an_entry_shows_what_it_is_a_copy_of_and_its_neighbours(person, filled):
    client = person()
    a, b, c = filled.entries.order_by("pk")
    page = text_of(client, f"{BASE}/entries/{b.pk}")
    assert f"/entries/{a.pk}" in page and f"/entries/{c.pk}" in page
    assert "/models/yolo-harbour/inferences/b" in page
    assert "<html" not in text_of(
        client, f"{BASE}/entries/{b.pk}", headers={"HX-Request": "true"}
    )
    within = text_of(client, f"{BASE}/entries/{b.pk}?label=ship")
    assert f"/entries/{c.pk}" not in within
    assert "1 box: tug" in text_of(client, f"{BASE}/entries/{c.pk}")
    assert client.get(f"{BASE}/entries/{c.pk + 99}").status_code == 404


def test_labels_and_splits_are_counted_and_open_what_they_count(person, filled):
    client = person()
    page = text_of(client, f"{BASE}/distribution")
    assert "What the model said, by split" in page and "Ground truth, by split" in page
    assert f"{BASE}?q=label%3Aship" in page
    assert f"{BASE}?q=truth.label%3Atug" in page
    assert "split%3Atrain" in page
    lifecycle.publish("test", filled)
    filled.refresh_from_db()
    assert filled.versions.get().summary["distribution"]["truths"]["tug"]
    assert f"{BASE}/versions/1?q=label%3Aship" in text_of(
        client, f"{BASE}/versions/1/distribution"
    )
    narrowed = text_of(client, f"{BASE}/distribution?q=truth:given")
    assert "label%3Acar" in narrowed and "label%3Aship" not in narrowed
    assert "cannot be asked for" in text_of(
        client, f"{BASE}/distribution?q=is:protected"
    )


def test_entries_are_moved_and_taken_out(person, filled):
    client = person("editor")
    entry = filled.entries.get(inference_id="c")
    splitting = filled.splitting_of(1)
    first = splitting.split_of(entry.data_hash, entry.metadata)
    (other,) = {"train", "test"} - {first}
    fields = {"entry": entry.pk, "split": other, "next": f"{BASE}?label=car"}
    assert client.post(f"{BASE}/move", fields)["Location"] == f"{BASE}?label=car"
    filled.refresh_from_db()
    assert filled.splitting_of(1).split_of(entry.data_hash, entry.metadata) == other
    assert "1 input or groups moved" in text_of(client, f"{BASE}/distribution")
    client.post(f"{BASE}/remove", {"entry": entry.pk, "next": "https://elsewhere/"})
    assert filled.entries.count() == 2


def test_the_timeline_tells_what_each_version_changed(person, filled, make_stored, add):
    lifecycle.publish("test", filled, "the first")
    filled.refresh_from_db()
    make_stored(png(40, 40), [SHIP], inference_id="d")
    add({"query": "label:ship"})
    lifecycle.remove_entries("t", filled, [filled.entries.get(inference_id="c").pk])
    page = text_of(person("editor"), f"{BASE}/versions")
    assert "the first" in page and "+3 added" in page
    assert "+1 added" in page and "\u22121 taken out" in page
    assert "compare?before=1&amp;after=2" in page
    assert "Publish version 2" in page
    compared = text_of(person(), f"{BASE}/compare?before=1&after=working")
    assert "taken out" in compared and "Splits" in compared


def test_one_click_publishes_what_changed_and_downloads_it(person, filled):
    client = person("editor")
    assert "Publishes version 1 first" in text_of(client, BASE)
    answer = client.post(f"{BASE}/download", {"format": "coco"})
    assert answer["Location"] == f"{BASE}/downloads"
    task = DatasetArchive.objects.get()
    assert (task.version, task.format, task.container) == (1, "coco", "zip")
    assert "archive-row" in text_of(client, f"{BASE}/downloads")
    filled.refresh_from_db()
    assert filled.published == 1
    client.post(f"{BASE}/download", {"format": "yolo"})  # nothing changed
    assert set(DatasetArchive.objects.values_list("version", flat=True)) == {1}
    client.post(f"{BASE}/download", {"format": "none"})
    assert DatasetArchive.objects.count() == 2


def test_one_click_exports_a_list_or_a_selection(person, filled, model):
    client = person("editor")
    model_page = "/projects/harbour/models/yolo-harbour"
    listed = text_of(client, f"{model_page}/inferences?label=ship")
    assert "Download as COCO" in listed
    asked = {"format": "coco", "everything": "true", "query": "label=ship"}
    answer = client.post(f"{model_page}/exports/start", asked)
    task = ExportTask.objects.get()
    assert answer["Location"] == f"{model_page}/exports/{task.pk}"
    assert (task.format, task.expected_count) == ("coco", 2)
    client.post(
        f"{model_page}/exports/start", {"format": "coco", "inference_id": ["a"]}
    )
    assert ExportTask.objects.order_by("created_at").last().expected_count == 1
    refused = client.post(f"{model_page}/exports/start", {"everything": ""})
    assert refused["Location"] == f"{model_page}/exports"
    assert person().post(f"{model_page}/exports/start", asked).status_code == 403
    assert "Download as COCO" not in text_of(person(), f"{model_page}/inferences")


def test_the_form_tells_how_many_are_left_out(person, filled, model):
    client = person("editor")
    address = reverse("datasets:add", args=[model.project, model.model_id])
    given = {"everything": "true", "query": "label=ship", "exclude_inference_id": ["a"]}
    page = text_of(client, address, data=given)
    assert "All that match" in page
    assert "Without 1 that was taken out." in page
    assert "Add 1 inference" in page


def test_equal_inputs_are_shown_and_one_is_kept(person, filled):
    client = person("editor")
    page = text_of(client, f"{BASE}/duplicates")
    a, b = filled.entries.filter(inference_id__in="ab").order_by("pk")
    assert f'name="keep-0" value="{a.pk}" checked' in page
    client.post(
        f"{BASE}/duplicates/keep", {"keep-0": b.pk, "group": "0", "keep-1": a.pk}
    )
    assert set(filled.entries.values_list("inference_id", flat=True)) == {"b", "c"}
    assert "No duplicates" in text_of(client, f"{BASE}/duplicates")


def test_inputs_of_other_datasets_are_shown(person, filled, project, add):
    other = lifecycle.create("test", project, "other")
    add({"query": "label:car"}, to=other)
    client = person("editor")
    page = text_of(client, f"{BASE}/duplicates?kind=across")
    entry = filled.entries.get(inference_id="c")
    assert f'value="{entry.pk}"' in page and "Also in" in page
    assert "/projects/harbour/datasets/other/entries/" in page
    assert ">other</a>" in text_of(client, f"{BASE}/entries/{entry.pk}")
    client.post(f"{BASE}/remove?group=0", {"entry-0": entry.pk})
    assert not filled.entries.filter(pk=entry.pk).exists()
    assert "No other dataset" in text_of(client, f"{BASE}/duplicates?kind=across")


def test_the_model_and_its_inferences_know_their_datasets(person, filled):
    client = person()
    page = text_of(client, "/projects/harbour/models/yolo-harbour/datasets")
    assert "hard cases" in page and "q=dataset%3A%22hard+cases%22" in page
    shown = text_of(client, "/projects/harbour/models/yolo-harbour/inferences/c")
    entry = filled.entries.get(inference_id="c")
    assert f"{BASE}/entries/{entry.pk}" in shown and "In datasets" in shown
    lifecycle.remove_entries("t", filled, [entry.pk])
    shown = text_of(client, "/projects/harbour/models/yolo-harbour/inferences/c")
    assert "In datasets" not in shown


def test_settings_rename_and_delete(person, filled):
    client = person("editor")
    changed = client.post(
        f"{BASE}/settings", {"name": "easy", "description": "calm sea"}
    )
    assert changed["Location"] == "/projects/harbour/datasets/easy/settings"
    page = changed["Location"]
    assert "calm sea" in text_of(client, page)
    assert person().get(page).status_code == 403
    client.post(page.replace("settings", "delete"), {"name": "wrong"})
    client.post(page.replace("settings", "delete"), {"name": "easy"})
    assert client.get(page).status_code == 404


def test_an_empty_dataset_says_what_to_do(person, dataset):
    client = person("editor")
    assert "Add to dataset" in text_of(client, BASE)
    for page in ("distribution", "versions", "duplicates", "downloads", "settings"):
        text_of(client, f"{BASE}/{page}")
    assert DatasetEntry.objects.count() == 0
    assert reverse("datasets:dataset", args=["harbour", "hard cases"]) == BASE


def test_the_card_of_a_dataset_shows_pictures_alone(
    person, make_stored, model, dataset, add
):
    """A preview that is not there would be the browser's mark of a broken picture."""
    make_stored(b'{"numbers": [1, 2]}', [], inference_id="numbers")
    make_stored(png(), [SHIP], inference_id="picture")
    add()
    entry = dataset.entries.get(inference_id="numbers")
    type(entry.blob).objects.filter(pk=entry.blob_id).update(
        content_type="application/json"
    )
    page = text_of(person(), "/projects/harbour/datasets")
    shown = dataset.entries.get(inference_id="picture")
    assert page.count("/picture?size=160") == 1
    assert f"/entries/{shown.pk}/picture?size=160" in page
