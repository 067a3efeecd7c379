"""A number that is written without a type asks int and float values alike."""

from __future__ import annotations

import pytest

from inferences.search import text
from inferences.search.filters import matching
from inferences.search.filters.numbers import of_decimal_numbers, of_whole_numbers

LIST = "/api/v1/models/yolo-harbour/inferences"
BEYOND = 2**53 + 1  # a whole number that no double is


@pytest.fixture
def gains(model, make_inference):
    """Inferences with whole and with decimal gains, named by them."""

    def store(*values):
        for value in values:
            make_inference(inference_id=repr(value), metadata={"gain": value})
        model.refresh_from_db()

    return store


def found(model, query: str) -> set[str]:
    rows = matching(model, text.parse(query))
    return set(rows.values_list("inference_id", flat=True))


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("meta.gain>0", {"1", "1.5", "2", "0.25"}),
        ("meta.gain<1", {"0.25"}),
        ("meta.gain<=1", {"0.25", "1"}),
        ("meta.gain<1.5", {"0.25", "1"}),
        ("meta.gain>1.25", {"1.5", "2"}),
        ("meta.gain=2", {"2"}),
        ("meta.gain=2.0", {"2"}),
        ("meta.gain=1.5", {"1.5"}),
        ("meta.gain!=2", {"1", "1.5", "0.25"}),
        ("meta.gain!=1.5", {"1", "2", "0.25"}),
        ("meta.gain in [2, 1.5, 7]", {"2", "1.5"}),
        ("meta.gain not in [2, 1.5]", {"1", "0.25"}),
        ("-meta.gain>=1", {"0.25", "'text'"}),
        ("meta.gain:float>=1", {"1.5"}),
        ("meta.gain:int>=1", {"1", "2"}),
        ('meta.gain="text"', {"'text'"}),
        ("meta.absent=1", set()),
    ],
)
@pytest.mark.django_db(transaction=True)
def test_whole_and_decimal_numbers_meet(model, gains, query, names):
    gains(1, 1.5, 2, 0.25, "text")

    assert found(model, query) == names


@pytest.mark.parametrize(
    ("query", "names"),
    [
        (f"meta.gain={BEYOND}", {str(BEYOND)}),
        (f"meta.gain>{BEYOND}", {repr(2.0**53 + 2), str(BEYOND + 1)}),
        (f"meta.gain<{BEYOND}", {str(2**53), repr(2.0**53)}),
        (
            f"meta.gain!={BEYOND}",
            {str(2**53), repr(2.0**53), repr(2.0**53 + 2), str(BEYOND + 1)},
        ),
        (f"meta.gain in [{BEYOND}, {2**53}]", {str(BEYOND), str(2**53), repr(2.0**53)}),
        (
            "meta.gain<99999999999999999999",
            {
                str(2**53),
                repr(2.0**53),
                str(BEYOND),
                str(BEYOND + 1),
                repr(2.0**53 + 2),
            },
        ),
    ],
)
@pytest.mark.django_db(transaction=True)
def test_no_number_passes_through_a_double(model, gains, query, names):
    gains(2**53, 2.0**53, BEYOND, BEYOND + 1, 2.0**53 + 2)

    assert found(model, query) == names


@pytest.mark.django_db(transaction=True)
def test_addresses_ask_the_same(model, gains, api):
    gains(1, 1.5, 2, 0.25)

    listed = api.get(LIST, {"metadata": "gain>=1.5"}).json()["results"]

    assert {each["inference_id"] for each in listed} == {"1.5", "2"}


@pytest.mark.django_db(transaction=True)
def test_digits_that_are_text_are_found_where_a_key_has_no_numbers(
    model, make_inference, api
):
    make_inference(inference_id="a", metadata={"zip": "0123", "pose": {"angle": 10.5}})
    model.refresh_from_db()

    assert found(model, "meta.zip=0123") == {"a"}
    assert found(model, "meta.zip=123") == set()
    assert found(model, "meta.pose.angle>10") == {"a"}
    listed = api.get(LIST, {"metadata": "zip=0123"}).json()["results"]
    assert [each["inference_id"] for each in listed] == ["a"]


@pytest.mark.django_db(transaction=True)
def test_statistics_of_a_number_take_both_types_together(model, gains, api):
    gains(1, 1.5, 2, 0.25)

    asked = {"key": "gain", "type": "number", "distribution_bin_width": 1}
    told = api.post(
        "/api/v1/models/yolo-harbour/metadata/statistics", asked, format="json"
    ).json()

    assert (told["count"], told["min"], told["max"]) == (4, 0.25, 2.0)
    assert list(told["distribution"].values()) == [2, 2]


@pytest.mark.parametrize("query", ["meta.gain>=2", "meta.gain in [1, 2.5]"])
def test_a_number_is_written_as_it_was_read(query):
    assert text.write(text.parse(query)) == query


def test_the_sides_of_a_question_say_every_or_none_where_they_can():
    assert of_whole_numbers("=", "2.5") == "none"
    assert of_whole_numbers("!=", "2.5") == "every"
    assert of_whole_numbers("<", "1e300") == "every"
    assert of_whole_numbers(">", "1e300") == "none"
    assert of_whole_numbers("in", "[1, 2.5, 3.0]") == ("in", "[1, 3]")
    assert of_decimal_numbers("=", str(BEYOND)) == "none"
    assert of_decimal_numbers("not in", f"[{BEYOND}]") == "every"
