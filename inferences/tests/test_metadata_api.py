from __future__ import annotations

import pytest

from inferences.models import InferencePayload, MetadataChange
from inferences.search.statistics import StatisticsQuery, bin_edges, bin_names
from istore.models import Role

MODEL = "/api/v1/models/yolo-harbour"
CAMERA = {"key": "camera", "type": "string", "value": "north"}


def found(api, key, value, type_="string"):
    asked = {"key": key, "type": type_, "operator": "=", "value": value}
    body = {"filters": {"metadata_filter": [asked]}}
    return api.post(f"{MODEL}/inferences/count", body).json()["count"]


def counts(api):
    return api.get(f"{MODEL}/metadata/counts").json()["counts"]


def test_a_value_is_added_and_found(api, make_inference):
    make_inference(inference_id="a")

    created = api.post(f"{MODEL}/inferences/a/metadata", CAMERA)

    assert created.status_code == 201
    assert api.get(f"{MODEL}/inferences/a/metadata").json()["results"] == [CAMERA]
    assert found(api, "camera", "north") == 1
    assert counts(api) == {"camera": {"string": 1}}


def test_a_key_that_is_there_is_a_conflict_and_put_replaces_it(api, make_inference):
    make_inference({"camera": {"side": {"n": 1}}}, inference_id="a")

    again = api.post(f"{MODEL}/inferences/a/metadata", CAMERA)
    replaced = api.put(f"{MODEL}/inferences/a/metadata/camera", CAMERA)

    assert (again.status_code, again.json()["code"]) == (409, "metadata-exists")
    assert replaced.status_code == 200
    assert found(api, "camera", "north") == 1
    assert found(api, "camera.side.n", "1", "json.int") == 0
    assert counts(api) == {"camera": {"string": 1}}


def test_a_deleted_key_is_gone_and_its_history_stays(api, make_inference):
    make_inference({"camera": "south"}, inference_id="a")
    api.put(f"{MODEL}/inferences/a/metadata/camera", CAMERA)

    gone = api.delete(f"{MODEL}/inferences/a/metadata/camera")
    again = api.delete(f"{MODEL}/inferences/a/metadata/camera")

    assert (gone.status_code, again.status_code) == (200, 404)
    assert found(api, "camera", "north") == 0
    assert counts(api) == {}
    history = api.get(f"{MODEL}/inferences/a/metadata-history").json()["results"]
    assert [(each["before"], each["after"]) for each in history] == [
        (["string", "south"], ["string", "north"]),
        (["string", "north"], None),
    ]


def test_keys_without_a_slot_come_and_go_too(api, make_inference):
    make_inference({f"key_{n}": n for n in range(8)}, inference_id="a")
    more = {"key": "one_more", "type": "int", "value": "7"}

    api.post(f"{MODEL}/inferences/a/metadata", more)
    assert found(api, "one_more", "7", "int") == 1

    api.delete(f"{MODEL}/inferences/a/metadata/one_more")
    assert found(api, "one_more", "7", "int") == 0


@pytest.mark.parametrize(
    "bad",
    [
        {"key": "a", "type": "int", "value": "1.5"},
        {"key": "a", "type": "int", "value": str(2**63)},
        {"key": "a", "type": "float", "value": "nan"},
        {"key": "a", "type": "json", "value": "{"},
        {"key": "", "type": "string", "value": "x"},
        {"key": "latitude", "type": "float", "value": "1"},
        {"key": "k" * 257, "type": "string", "value": "x"},
        {"key": "a", "type": "bool", "value": "true"},
    ],
)
def test_what_is_no_value_of_its_type_is_refused(api, make_inference, bad):
    make_inference(inference_id="a")

    assert api.post(f"{MODEL}/inferences/a/metadata", bad).status_code == 400
    assert not MetadataChange.objects.exists()


def test_a_value_for_all_that_match(api, make_inference, settings):
    settings.ISTORE_REMOVAL_BATCH = 2
    for number in range(5):
        make_inference({"split": "a" if number else "b"}, inference_id=f"{number}")
    asked = {"key": "split", "type": "string", "operator": "=", "value": "a"}
    body = {
        "filters": {"metadata_filter": [asked]},
        "metadata": [{"key": "split", "type": "string", "value": "c"}, CAMERA],
        "replace": True,
    }

    answer = api.post(f"{MODEL}/metadata/bulk", body)

    assert answer.json() == {"changed": {"split": 4, "camera": 4}}
    assert found(api, "camera", "north") == 4
    assert found(api, "split", "a") == 0


def test_bulk_calls_need_their_filter(api, make_inference):
    make_inference()

    assert api.post(f"{MODEL}/metadata/bulk", {"metadata": [CAMERA]}).status_code == 400
    assert api.post(f"{MODEL}/inferences/delete", {}).status_code == 400
    wrong = {"filters": {"metadata_filters": []}}
    assert api.post(f"{MODEL}/inferences/delete", wrong).status_code == 400
    assert InferencePayload.objects.count() == 1


def test_bulk_delete_counts_first_and_then_deletes(
    api, make_inference, django_capture_on_commit_callbacks
):
    for number in range(3):
        make_inference({"split": "a" if number else "b"}, inference_id=f"{number}")
    asked = {"key": "split", "type": "string", "operator": "=", "value": "a"}
    body = {"filters": {"metadata_filter": [asked]}}

    tried = api.post(f"{MODEL}/inferences/delete", body | {"dry_run": True}).json()
    done = api.post(f"{MODEL}/inferences/delete", body).json()

    assert tried == {"count": 2, "dry_run": True, "deleted_inference_ids": []}
    assert sorted(done["deleted_inference_ids"]) == ["1", "2"]
    assert api.post(f"{MODEL}/inferences/count", {}).json() == {"count": 1}
    assert counts(api) == {"split": {"string": 1}}


def test_one_is_deleted_by_an_editor_alone(api, api_as, make_inference):
    make_inference(inference_id="a")

    assert api_as(Role.VIEWER).delete(f"{MODEL}/inferences/a").status_code == 403
    assert api.delete(f"{MODEL}/inferences/a").json() == {"inference_id": "a"}
    assert api.delete(f"{MODEL}/inferences/a").status_code == 404
    assert api.get(f"{MODEL}/inferences/a").status_code == 404


def statistics(api, key, type_, **options):
    body = {"key": key, "type": type_, **options}
    answer = api.post(f"{MODEL}/metadata/statistics", body)
    assert answer.status_code == 200, answer.content
    return answer.json()


@pytest.mark.parametrize("slots", ["free", "taken"])
def test_numbers_are_binned(api, make_inference, slots):
    if slots == "taken":
        make_inference({f"key_{n}": n for n in range(8)})
    for number in (0, 1, 1, 4, 10):
        make_inference({"frame": number})

    got = statistics(api, "frame", "int", distribution_bin_count=5)

    assert (got["count"], got["min"], got["max"]) == (5, 0, 10)
    assert got["distribution"] == {
        "[0.0, 2.0)": 3,
        "[2.0, 4.0)": 0,
        "[4.0, 6.0)": 1,
        "[6.0, 8.0)": 0,
        "[8.0, 10.0]": 1,
    }


def test_limits_leave_values_out_of_the_bins_alone(api, make_inference):
    for number in (0.0, 1.0, 2.5, 9.0):
        make_inference({"gain": number})

    got = statistics(
        api,
        "gain",
        "float",
        distribution_bin_width=1,
        distribution_minimum_value=1,
        distribution_maximum_value=3,
    )

    assert (got["count"], got["min"], got["max"]) == (4, 0, 9)
    assert got["distribution"] == {"[1.0, 2.0)": 1, "[2.0, 3.0]": 1}


def test_strings_are_counted_whole_however_long(api, make_inference):
    make_inference({"note": "ä" * 400 + "1"})
    make_inference({"note": "ä" * 400 + "2"})
    make_inference({"note": "short"})
    make_inference({"other": "x"})

    got = statistics(api, "note", "string")

    assert got["distribution"] == {"ä" * 400 + "1": 1, "ä" * 400 + "2": 1, "short": 1}


def test_statistics_hold_for_a_filter(api, make_inference):
    make_inference({"camera": "n", "frame": 1})
    make_inference({"camera": "s", "frame": 5})
    asked = {"key": "camera", "type": "string", "operator": "=", "value": "s"}

    got = statistics(api, "frame", "int", filters={"metadata_filter": [asked]})

    assert got["distribution"] == {"[5.0, 5.0]": 1}


@pytest.mark.parametrize(
    "options",
    [
        {"distribution_bin_count": 3, "distribution_bin_width": 1},
        {"distribution_bin_count": 0},
        {"distribution_bin_width": -1},
        {"distribution_bin_width": 1e-300},
        {"distribution_minimum_value": 3, "distribution_maximum_value": 1},
    ],
)
def test_bins_that_cannot_be_are_refused(api, make_inference, options):
    make_inference({"frame": 1})
    make_inference({"frame": 2})

    body = {"key": "frame", "type": "int", **options}
    assert api.post(f"{MODEL}/metadata/statistics", body).status_code == 400


def test_edges_reach_over_the_whole_range_of_doubles():
    edges = bin_edges(StatisticsQuery("k", "float"), -1.7e308, 1.7e308)

    assert edges[0] == -1.7e308
    assert edges[-1] == 1.7e308
    assert edges == sorted(edges)
    wide = StatisticsQuery("k", "float", distribution_bin_width=1e305)
    edges = bin_edges(wide, -1.7e308, 1.7e308)
    assert edges[-1] < float("inf")
    assert edges == sorted(edges)
    assert bin_names([0.0, 1.0, 2.0]) == ["[0.0, 1.0)", "[1.0, 2.0]"]
