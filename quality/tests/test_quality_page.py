from __future__ import annotations

import html
import re
from urllib.parse import urlsplit

import pytest
from django.db import connection
from django.http import QueryDict
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from inferences.ground_truth.upsert import put_truth
from inferences.models import TaskType
from inferences.search.filters import matching
from inferences.tests.pages import text
from inferences.web.view_models.questions import Question
from quality.tests.builders import classes, parts_of


def page(client: Client, model, **query):
    """The page with its figures, as browsers without scripts ask for it."""
    query = {"figures": "true", **query}
    return client.get(reverse("quality:page", args=[model.model_id]), query)


@pytest.fixture
def measured(model, stored):
    made = classes(rows=40)
    stored(
        TaskType.IMAGE_CLASSIFICATION,
        [
            (parts_of(scores), {"label": actual}, {"model_version": f"v{n % 2}"})
            for n, (scores, actual) in enumerate(made)
        ],
    )
    return made


def test_the_page_tells_figures_labels_and_confusion(person, model, measured):
    response = page(person(), model)

    assert response.status_code == 200
    content = text(response)
    right = sum(max(s, key=s.get) == actual for s, actual in measured) / 40
    assert f"{right:.3f}" in content
    for heading in (
        "Accuracy",
        "AUC",
        "Log loss",
        "Confusion",
        "Precision over recall",
    ):
        assert heading in content
    assert 'role="img"' in content
    assert "<caption" in content


def test_the_filter_and_the_groups_are_in_the_address(person, model, measured):
    content = text(page(person(), model, q="meta.model_version=v1", group="version"))

    assert "20 inferences" in content
    assert ">v1<" in content
    assert ">v0<" not in content


def test_the_tabs_keep_the_question(person, model, measured):
    browse = reverse("inferences:browse", args=[model.model_id])
    content = text(person().get(browse, {"label": "a"}))

    page_of = reverse("quality:page", args=[model.project, model.model_id])
    assert f'href="{page_of}?label=a"' in content
    assert "of a" in text(page(person(), model, label="a", curve="a"))


def test_a_filter_that_is_none_is_said(person, model):
    response = page(person(), model, q="label:")

    assert response.status_code == 400
    assert "A value is missing here" in text(response)


def test_without_ground_truth_the_page_says_how_to_send_some(person, model):
    response = page(person(), model)

    assert response.status_code == 200
    assert "No ground truth here" in text(response)


def test_rows_that_were_not_considered_are_said(person, model, measured, settings):
    settings.ISTORE_QUALITY_PAGE_ROWS = 10

    content = text(page(person(), model))
    assert "Only the newest 10" in content

    content = text(page(person(), model, rows="all"))
    assert "Only the newest" not in content


def test_strangers_get_the_page_of_what_is_not_there(client, person, model):
    assert page(client, model).status_code == 302
    assert page(person(None), model).status_code == 404


def test_an_inference_may_be_called_as_the_page_is(person, model, make_inference):
    make_inference(inference_id="x/quality")

    path = reverse("inferences:detail", args=[model.model_id, "x/quality"])
    assert person().get(path).status_code == 200


def test_a_detector_of_one_class_has_a_page(person, model, make_inference):
    make_inference(inference_id="a", detections=[("ship", 0.9)])
    put_truth("ann", model, "a", {"labels": ["ship"]})

    assert page(person(), model).status_code == 200


def test_the_frame_comes_before_anything_is_measured(person, model, measured):
    address = reverse("quality:page", args=[model.model_id])
    with CaptureQueriesContext(connection) as queries:
        frame = text(person().get(address, {"group": "version"}))
    assert not any('"inferences_inference"' in q["sql"] for q in queries)
    assert "Accuracy" not in frame
    assert "?group=version&amp;part=figures" in frame
    assert "?group=version&amp;figures=true" in frame  # without scripts
    figures = text(person().get(address, {"group": "version", "part": "figures"}))
    assert "Accuracy" in figures and "<html" not in figures
    assert "?group=version&amp;figures=true" not in figures


def test_a_bad_question_is_said_in_the_frame(person, model):
    address = reverse("quality:page", args=[model.model_id])
    response = person().get(address, {"q": "label:"})
    assert response.status_code == 400
    assert "part=figures" not in text(response)


def test_there_is_no_line_between_categories(person, model, measured):
    content = text(page(person(), model, group="version"))
    plot = _plot_of_groups(content)
    assert plot.count('class="bar-of-graph') == 2
    assert '<path class="line"' not in plot


def test_over_time_there_is_a_line(person, model, measured):
    content = text(page(person(), model, group="time", interval="hour"))
    plot = _plot_of_groups(content)
    assert 'class="bar-of-graph' not in plot and '<path class="line"' in plot


def _plot_of_groups(content: str) -> str:
    return content.split('id="groups"')[1].split("</figure>")[0]


@pytest.mark.parametrize("group", ["version", "time"])
def test_a_group_opens_the_inferences_it_measures(person, model, measured, group):
    plot = _plot_of_groups(
        text(page(person(), model, group=group, interval="hour", q="class:a prob>=0"))
    )
    marks = re.findall(r'<a class="mark" href="([^"]+)" aria-label="([^"]+)"', plot)
    assert len(marks) == (2 if group == "version" else 40)
    for address, told in marks:
        assert _matching(model, address) == int(re.search(r"(\d+) rows", told)[1])


def test_a_group_that_a_window_cuts_opens_what_is_within_the_window(
    person, model, measured
):
    q = "since:2025-06-01T10:00:00Z until:2025-06-02T09:00:00Z"
    plot = _plot_of_groups(text(page(person(), model, group="time", q=q)))
    marks = re.findall(r'<a class="mark" href="([^"]+)" aria-label="([^"]+)"', plot)
    told = [int(re.search(r"(\d+) rows", label)[1]) for _, label in marks]
    assert told == [14, 10]
    assert [_matching(model, address) for address, _ in marks] == told


def test_a_cell_of_the_confusion_opens_what_it_counts(person, model, measured):
    content = text(page(person(), model, q="version:v1"))
    table = content.split('class="confusion"')[1].split("</table>")[0]
    cells = re.findall(r'<a href="([^"]+)">(\d+)</a>', table)
    assert sum(int(count) for _, count in cells) == 20
    for address, count in cells:
        assert _matching(model, address) == int(count)


def _matching(model, address: str) -> int:
    query = QueryDict(urlsplit(html.unescape(address)).query)
    return matching(model, Question(query).filters).count()


def test_the_main_figure_is_a_line_over_time_unless_groups_are_chosen(
    person, model, measured
):
    trend = text(page(person(), model))
    assert '<h2 id="groups">Over time</h2>' in trend
    assert "accuracy by time" in trend.lower()
    assert "Over time" not in text(page(person(), model, group=""))
