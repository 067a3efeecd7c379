"""The plots of the statistics page: each bin and row opens exactly what it counts."""

from __future__ import annotations

import html
import re
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest
from django.contrib.auth.models import User
from django.http import QueryDict
from django.test import Client
from django.urls import reverse

from inferences.search.filters import matching
from inferences.web.view_models.questions import Question
from istore.models import Membership, Role

pytestmark = pytest.mark.django_db
START = datetime(2025, 6, 1, tzinfo=UTC)
MARK = re.compile(r'<a class="mark" href="([^"]+)" aria-label="([^"]+)"')


@pytest.fixture
def client(project) -> Client:
    user = User.objects.create_user("maria")
    Membership.objects.create(user=user, project=project, role=Role.VIEWER)
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def fleet(make_inference):
    for number in range(24):
        make_inference(
            {
                "model_version": f"1.{number % 3}",
                "frame": number % 7,
                "gain": number / 4,
                "camera": ["north", "south, or so", ""][number % 3],
            },
            detections=[("ship", number / 24), ("tug", 1 - number / 24)][
                : 1 + number % 2
            ],
            created_at=START + timedelta(minutes=37 * number),
        )


def part(client, model, **asked: str) -> str:
    address = reverse("inferences:statistics", args=[model.project, model.model_id])
    response = client.get(address, asked)
    assert response.status_code == 200
    return response.content.decode()


def matches(model, address: str) -> int:
    query = QueryDict(urlsplit(html.unescape(address)).query)
    return matching(model, Question(query).filters).count()


def counts_of(shown: str) -> list[tuple[str, int]]:
    """The address and the count of each bin that opens something."""
    return [
        (address, int(re.search(r"\n(?:\w+: )?([\d,]+)", text)[1].replace(",", "")))
        for address, text in MARK.findall(shown)
    ]


@pytest.mark.parametrize("asked", [{}, {"text": "label:tug"}, {"text": "meta.gain<4"}])
def test_each_bin_of_the_volume_opens_what_it_counts(client, model, fleet, asked):
    bins = counts_of(part(client, model, part="volume", **asked))
    assert len(bins) > 5
    for address, count in bins:
        assert matches(model, address) == count


@pytest.mark.parametrize("of", ["frame:int", "gain:float"])
def test_each_bin_of_a_key_opens_what_it_counts(client, model, fleet, of):
    bins = counts_of(part(client, model, part="key", of=of))
    assert sum(count for _, count in bins) == 24
    for address, count in bins:
        assert matches(model, address) == count


def test_a_key_of_few_whole_numbers_has_a_bin_for_each(client, model, fleet):
    shown = part(client, model, part="key", of="frame:int")
    assert [text.split("\n")[0] for _, text in MARK.findall(shown)] == list("0123456")


def test_each_bin_of_scores_opens_the_inferences_with_such_a_score(
    client, model, fleet
):
    bins = counts_of(part(client, model, part="scores"))
    assert sum(count for _, count in bins) == 36
    # An inference may have two scores in one bin, and is listed once.
    assert all(1 <= matches(model, address) <= count for address, count in bins)


def test_each_row_of_labels_and_values_opens_what_it_counts(client, model, fleet):
    labels = part(client, model, part="labels")
    values = part(client, model, part="key", of="camera:string")
    for shown in (labels, values):
        rows = re.findall(
            r'<a href="([^"]+)">[^<]*</a>.*?number">\s*(\d+)', shown, re.DOTALL
        )
        assert len(rows) >= 2
        for address, count in rows:
            assert matches(model, address) == int(count)


@pytest.mark.parametrize(
    ("by", "names"), [("version", ["1.0", "1.1", "1.2"]), ("label", ["ship", "tug"])]
)
def test_the_volume_is_stacked_by_version_or_label(client, model, fleet, by, names):
    shown = part(client, model, part="volume", by=by)
    legend = re.search(r'class="graph-legend">(.*?)</ul>', shown, re.DOTALL)[1]
    assert sorted(re.findall(r"</span>\s*(\S+)\s*</li>", legend)) == names
    told = [text for _, text in MARK.findall(shown)]
    counts = [int(each) for each in re.findall(r": (\d+), ", "\n".join(told))]
    assert sum(counts) == (24 if by == "version" else 36)


def test_a_comparison_draws_both_sets_over_one_axis(client, model, fleet):
    asked = {"text": "version:1.0", "vs": "version:1.1"}
    shown = part(client, model, part="volume", **asked)
    assert shown.count('class="graph "') == 1
    assert "points" in shown
    assert matches(model, MARK.findall(shown)[0][0]) >= 1


def test_windows_apart_are_drawn_apart_on_one_scale(client, model, fleet):
    asked = {"text": "until:2025-06-01T03:00:00Z", "vs": "since:2025-06-01T08:00:00Z"}
    shown = part(client, model, part="volume", **asked)
    assert shown.count('class="graph "') == 2
    assert shown.count(">share</text>") == 2
    for address, count in counts_of(shown):
        assert matches(model, address) == count


def test_a_stretch_asks_for_the_same_of_both_sets(client, model, fleet):
    asked = {"text": "version:1.0 OR label:tug", "vs": "version:1.1", "of": "frame:int"}
    shown = part(client, model, part="scores", **asked)
    drag = html.unescape(re.search(r'data-drag="([^"]+)"', shown)[1])
    drag = drag.replace("__low__", "0.25").replace("__high__", "0.75")
    asked = QueryDict(drag.removeprefix("?"))
    assert asked["of"] == "frame:int"
    for name in ("text", "vs"):
        query = QueryDict(mutable=True)
        query["text"] = asked[name]
        question = Question(query)
        assert not question.errors
        assert matching(model, question.filters).count() >= 1


def test_a_set_of_one_moment_lies_on_the_axis_of_the_other(client, model, fleet):
    asked = {"text": "*", "vs": "meta.gain=3"}
    shown = part(client, model, part="volume", **asked)
    assert shown.count('class="graph "') == 1
    # The axis ends with the data, not a minute after the one inference.
    assert "2025-06-01 14:11" in MARK.findall(shown)[-1][1].split("\n")[0]


def test_a_set_without_a_query_has_a_name(client, model, fleet):
    address = reverse("inferences:statistics", args=[model.project, model.model_id])
    shown = client.get(address, {"text": "*", "vs": "version:1.1"}).content.decode()
    assert "<code>everything</code>" in shown
