"""The text form of filters: read, written, and wrong at a column."""

from __future__ import annotations

from datetime import UTC, datetime, time

import pytest
from django.http import QueryDict
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inferences.models import Inference, InferenceAction
from inferences.search.filters import (
    And,
    DetectionFilter,
    Filter,
    GeoCircle,
    GeoPoint,
    GeoRectangle,
    HasInput,
    HasKey,
    InDataset,
    InferenceFilter,
    InSession,
    InTrace,
    IsProtected,
    LocationFilter,
    MetadataFilter,
    NoDetections,
    Not,
    Or,
    StatusFilter,
    TimeWindow,
    TruthFilter,
    TruthLabelFilter,
)
from inferences.search.filters.existence import TYPES
from inferences.search.filters.metadata import OPERATORS
from inferences.search.filters.operands import write_list
from inferences.search.filters.tree import DEPTH_MAX, normal
from inferences.search.text import TextQueryError, parse, write
from inferences.search.url_parameters import InferenceFilterSet, parameters

LIST = "/api/v1/models/yolo-harbour/inferences"
DELETE = f"{LIST}/delete"
DAY = datetime(2026, 1, 1, tzinfo=UTC)
LAST = datetime.combine(DAY, time.max, UTC)
SHIP = DetectionFilter(("ship",))


def metadata(key: str, operator: str, value: str, type: str = "string") -> Filter:
    return MetadataFilter(key, type, operator, value)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("", And(())),
        ("  *  ", And(())),
        ("label:ship", SHIP),
        ('label:"two words"', DetectionFilter(("two words",))),
        ("label:[ship, boat]", DetectionFilter(("ship", "boat"))),
        ("label:ship score<0.4", DetectionFilter(("ship",), below_score=0.4)),
        ("score>=.5 score <= 0.9", DetectionFilter(None, 0.5, 0.9)),
        ("score=0.5", DetectionFilter(None, 0.5, 0.5)),
        ("score>0.1 score>0.3", DetectionFilter(above_score=0.3)),
        ("(label:ship) (label:boat)", And((SHIP, DetectionFilter(("boat",))))),
        ("label:ship -score>0.5", And((SHIP, Not(DetectionFilter(above_score=0.5))))),
        ("has:detections", DetectionFilter()),
        ("no:detections", NoDetections()),
        ("has:dataset", InDataset()),
        (f"trace:{'a1' * 16}", InTrace("a1" * 16)),
        ("no:dataset", Not(InDataset())),
        ('dataset:"hard cases"', InDataset("hard cases")),
        ("status:429", StatusFilter("429")),
        ("status:ok", Not(StatusFilter("failed"))),
        ("-status:5xx", Not(StatusFilter("5xx"))),
        ("split:test", InDataset(split="test")),
        ('dataset:"hard cases" split:test', InDataset("hard cases", "test")),
        ("dataset:a (split:test)", And((InDataset("a"), InDataset(split="test")))),
        ('has:"dataset"', HasKey("dataset")),
        ("truth:differs", TruthFilter("differs")),
        ("truth.label:truck", TruthLabelFilter("truck")),
        ('truth.label:"wet paint"', TruthLabelFilter("wet paint")),
        ("-truth:given", Not(TruthFilter("given"))),
        ('meta.camera="12"', metadata("camera", "=", "12")),
        ("meta.camera=12", metadata("camera", "=", "12", "number")),
        ("meta.gain >= 1.5", metadata("gain", ">=", "1.5", "number")),
        ("meta.camera=north", metadata("camera", "=", "north")),
        ("meta.camera:string=12", metadata("camera", "=", "12")),
        ("meta.camera != north", metadata("camera", "!=", "north")),
        (
            "meta.pose.angle:json.float>10",
            metadata("pose.angle", ">", "10.0", "json.float"),
        ),
        ('meta."odd key:"=1', metadata("odd key:", "=", "1", "number")),
        ("meta.frame in [1, 2]", metadata("frame", "in", "[1, 2]", "number")),
        ("meta.gain in [1, 2.5]", metadata("gain", "in", "[1, 2.5]", "number")),
        ('meta.camera not in ["a,b", c]', metadata("camera", "not in", r"[a\,b, c]")),
        ('meta.camera in [""]', metadata("camera", "=", "")),
        ("meta.note contains 12", metadata("note", "contains", "12")),
        ('meta.note startswith "a b"', metadata("note", "starts with", "a b")),
        ("has:camera", HasKey("camera")),
        ("has:meta.input", HasKey("input")),
        ('has:"input"', HasKey("input")),
        ("has:frame:int", HasKey("frame", "int")),
        ("has:input", HasInput()),
        ("no:input", Not(HasInput())),
        ("is:protected", IsProtected()),
        ("source:quay", InferenceFilter(data_source="quay")),
        ("action:detect", InferenceFilter(inference_action=InferenceAction.DETECT)),
        (f"hash:{'AB' * 32}", InferenceFilter(data_hash=b"\xab" * 32)),
        ("version:3", metadata("model_version", "=", "3")),
        ("env:production", metadata("environment", "=", "production")),
        ("conversation:c-1", InSession("c-1")),
        (
            "near:(51.95,4.14,5km)",
            LocationFilter(GeoCircle(GeoPoint(51.95, 4.14), 5000)),
        ),
        ("near:(0, 0, 20 m)", LocationFilter(GeoCircle(GeoPoint(0, 0), 20))),
        ("near:(0,0,1e-3km)", LocationFilter(GeoCircle(GeoPoint(0, 0), 1))),
        (
            "within:(1, 2, 3, -4)",
            LocationFilter(None, GeoRectangle(GeoPoint(1, 2), GeoPoint(3, -4))),
        ),
        ("until:2026-01-01", TimeWindow(end=LAST)),
        ("since:2026-01-01 until:2026-01-01", TimeWindow(DAY, LAST)),
        (
            "until:2026-01-01T02:00:00+02:00",
            TimeWindow(end=DAY),
        ),
        ("label:ship OR is:protected", Or((SHIP, IsProtected()))),
        ("label:ship AND is:protected", And((SHIP, IsProtected()))),
        (
            "is:protected has:input OR label:ship",
            Or((And((IsProtected(), HasInput())), SHIP)),
        ),
        (
            "is:protected (has:input OR label:ship)",
            And((IsProtected(), Or((HasInput(), SHIP)))),
        ),
        ("NOT is:protected", Not(IsProtected())),
        ("-(is:protected has:input)", Not(And((IsProtected(), HasInput())))),
        ("--is:protected", IsProtected()),
        ("NOT (NOT is:protected)", IsProtected()),
        ("((is:protected))", IsProtected()),
    ],
)
@pytest.mark.django_db
def test_a_query_says(query, said):
    assert parse(query) == said


@pytest.mark.parametrize(
    ("query", "column", "told"),
    [
        ("car", 1, "label:car"),
        ("label:", 7, "missing"),
        ("label:ship label:boat", 18, "label:[a, b]"),
        ("label:ship color:red", 12, "There is no color:"),
        ("meta.frame:int>many", 16, "valid int"),
        ("meta.frame:whole>1", 12, "types are"),
        ("meta.frame 1", 11, "comparison"),
        ("meta.frame in 1", 15, "'['"),
        ("meta.frame in []", 16, "value is missing"),
        ("meta.frame in [1", 17, "']'"),
        ("meta.frame:int contains 1", 25, "strings alone"),
        ('source:"quay', 8, "never closed"),
        ("(label:ship", 1, "never closed"),
        ("label:ship)", 11, "never opened"),
        ("()", 2, "term is missing"),
        ("label:ship OR", 14, "term is missing"),
        ("OR label:ship", 1, "term is missing"),
        ("-", 2, "term is missing"),
        ("score>high", 7, "valid float"),
        ("score!=1", 1, "compared by"),
        ("score>=1 score<=0", 10, "above"),
        ("near:(91,0,5km)", 6, "latitude"),
        ("near:(1,0,5 miles)", 6, "distance"),
        ("near:(1,0)", 6, "latitude, longitude, radius"),
        ("within:(1,2,3)", 8, "corners"),
        ("since:yesterday", 7, "day or a moment"),
        ("since:2026-02-30", 7, ""),
        ("since:2026-01-02 until:2026-01-01", 24, "ends before"),
        ("since:2026-01-01 since:2026-01-02", 24, "twice"),
        ("action:dance", 8, "actions are"),
        ("hash:ab", 6, "64"),
        ("is:new", 4, "is:protected"),
        ("no:thing", 4, "no:detections"),
        ("truth:lies", 7, "given, missing, agrees, differs"),
        ("has:frame:whole", 5, "not one of"),
        ("is:protected \x00", 14, "NUL"),
        ("(" * 60, 51, "parentheses"),
        ("is:protected " * 40, 1, "conditions"),
    ],
)
@pytest.mark.django_db
def test_what_is_wrong_is_told_with_its_column(query, column, told):
    with pytest.raises(TextQueryError) as raised:
        parse(query)

    assert told in raised.value.message
    assert raised.value.column == column


def test_a_tree_that_is_too_deep_or_too_wide_is_refused():
    deep = IsProtected()
    for _ in range(DEPTH_MAX):
        deep = Not(deep)
    with pytest.raises(ValueError, match="levels"):
        Not(deep)
    with pytest.raises(ValueError, match="conditions"):
        Or((IsProtected(),) * 33)


words = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=8
)
names = words.filter(bool) | st.sampled_from(
    [
        "input",
        "detections",
        "meta.x",
        "pose.angle",
        "model_version",
        "environment",
        "OR",
        "-",
    ]
)
numbers = st.floats(allow_nan=False, allow_infinity=False)
values = {
    "string": words,
    "int": st.integers(-(2**63), 2**63 - 1).map(str),
    "float": numbers.map(repr) | st.sampled_from(["007", "1.50", ".5", "+1e3"]),
}


@st.composite
def comparisons(draw):
    type_ = draw(st.sampled_from([*values, *(f"json.{name}" for name in values)]))
    texts = values[type_.removeprefix("json.")]
    operators = [o for o in OPERATORS if "string" in type_ or o not in OPERATORS[-2:]]
    operator = draw(st.sampled_from(operators))
    if operator in ("in", "not in"):
        items = draw(st.lists(texts, min_size=1, max_size=3))
        value = write_list(items) if items != [""] else "[,]"
    else:
        value = draw(texts)
    return MetadataFilter(draw(names), type_, operator, value)


moments = st.datetimes(
    datetime(1970, 1, 1), datetime(2026, 1, 1), timezones=st.just(UTC)
).map(lambda moment: moment.replace(fold=0))
windows = st.tuples(moments, moments).map(lambda pair: TimeWindow(*sorted(pair)))
points = st.builds(GeoPoint, st.floats(-90, 90), st.floats(-180, 180))
radii = st.floats(0, 1e300) | st.integers(0, 9).map(lambda n: n * 1000.0)
bound = st.none() | numbers
detections = st.builds(
    DetectionFilter,
    st.none() | st.lists(words, min_size=1, max_size=3),
    bound,
    st.none(),
    bound,
    bound,
)
single = {
    "inference_action": st.sampled_from(InferenceAction),
    "data_hash": st.binary(min_size=32, max_size=32),
    "data_source": words,
}
leaves = st.one_of(
    comparisons(),
    comparisons(),
    detections,
    windows | moments.map(lambda end: TimeWindow(end=end)) | moments.map(TimeWindow),
    st.builds(LocationFilter, st.builds(GeoCircle, points, radii)),
    st.builds(LocationFilter, st.none(), st.builds(GeoRectangle, points, points)),
    st.builds(HasKey, names, st.none() | st.sampled_from(TYPES)),
    st.sampled_from([HasInput(), IsProtected(), NoDetections(), And(())]),
    st.builds(
        InferenceFilter,
        **{name: st.none() | each for name, each in single.items()},
        time_window=st.none() | windows,
        metadata=st.lists(comparisons(), max_size=2),
        detections=st.none() | detections,
    ),
)
parts = lambda inner: st.lists(inner, min_size=1, max_size=4).map(tuple)  # noqa: E731
trees = st.recursive(
    leaves,
    lambda inner: (
        st.builds(And, parts(inner))
        | st.builds(Or, parts(inner))
        | st.builds(Not, inner)
    ),
    max_leaves=6,
)
many = settings(
    max_examples=500,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@many
@given(trees)
@pytest.mark.django_db
def test_what_is_written_reads_as_the_same(tree):
    query = write(tree)

    assert parse(query) == normal(tree)
    assert write(parse(query)) == query
    assert normal(normal(tree)) == normal(tree)


@many
@given(trees)
@pytest.mark.django_db
def test_the_parameters_of_a_filter_say_it_again(tree):
    query = QueryDict(mutable=True)
    for name, given_values in parameters(tree).items():
        query.setlist(name, given_values)
    filterset = InferenceFilterSet(
        QueryDict(query.urlencode()), Inference.objects.none()
    )

    assert filterset.is_valid(), filterset.errors
    assert _unordered(normal(filterset.inference_filter)) == _unordered(normal(tree))


def _unordered(filters: Filter) -> list[str]:
    parts = filters.parts if isinstance(filters, And) else [filters]
    return sorted(map(repr, parts))


PIECES = (
    'label:|score|<|>=|meta.|a|"|(|)|[|]| |,|-|OR |NOT |AND |in |not in |:int|1|0.5|*|\\|'
    ":json.float|1e999|near:(|within:(|5km|since:|until:|2026-01-01|T00:00Z|has:|no:|=|!|"
    "is:protected|contains |startswith |hash:|version:|\ud800"
)
fragments = st.sampled_from(PIECES.split("|"))


@many
@given(st.text() | st.lists(fragments, max_size=14).map("".join))
@pytest.mark.django_db
def test_any_text_is_read_or_refused_with_a_column(query):
    try:
        found = parse(query)
    except TextQueryError as error:
        assert 1 <= error.column <= len(query) + 1
    else:
        assert parse(write(found)) == found


def found(answer) -> list[str]:
    assert answer.status_code == 200, answer.content
    return sorted(each["inference_id"] for each in answer.json()["results"])


@pytest.fixture
def three(make_inference):
    make_inference({"camera": "north"}, detections=[("ship", 0.3)], inference_id="a")
    make_inference({"camera": "south"}, detections=[("ship", 0.9)], inference_id="b")
    make_inference({"frame": 1}, detections=(), inference_id="c")


def test_the_query_is_asked_by_post_by_get_and_beside_other_filters(api, three):
    query = "label:ship score<0.4 OR no:detections"
    camera = {"key": "camera", "type": "string", "operator": "=", "value": "north"}
    both = {"query": query, "filters": {"metadata_filter": [camera]}}

    assert found(api.post(f"{LIST}/filter", {"query": query})) == ["a", "c"]
    assert found(api.get(LIST, {"q": query})) == ["a", "c"]
    assert found(api.post(f"{LIST}/filter", both)) == ["a"]
    assert found(api.get(LIST, {"q": query, "metadata": "camera=north"})) == ["a"]
    assert api.post(f"{LIST}/count", {"query": query}).json() == {"count": 2}


def test_statistics_and_bulk_metadata_take_trees_and_queries(api, three):
    asked = {"key": "camera", "type": "string", "filter": {"no_detections": False}}
    answer = api.post("/api/v1/models/yolo-harbour/metadata/statistics", asked)
    bulk = {
        "query": "has:camera",
        "metadata": [{"key": "k", "type": "int", "value": "1"}],
    }
    changed = api.post("/api/v1/models/yolo-harbour/metadata/bulk", bulk)

    assert answer.json()["distribution"] == {"north": 1, "south": 1}
    assert changed.json() == {"changed": {"k": 2}}


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/filters"),
        ({"filters": None, "filter": None, "query": None}, "/filters"),
        ({"query": ""}, "/query"),
        ({"query": " \n"}, "/query"),
        ({"filters": {}, "query": ""}, "/query"),
        ({"filter": {}}, "/filter"),
        ({"filter": {"location_filter": {}}}, "/filter/location_filter"),
        ({"filter": {"metadata_filter": []}}, "/filter/metadata_filter"),
        ({"filter": {"and": []}}, "/filter/and"),
        ({"filter": {"not": {}}}, "/filter/not"),
        (
            {"filter": {"and": [{"metadata_filters": []}]}},
            "/filter/and/0/metadata_filters",
        ),
        ({"filter": {"and": [{"is_protected": True}], "or": []}}, "/filter"),
        ({"filter": {"not": {"or": [{"has_input": 1}]}}}, "/filter/not/or/0/has_input"),
        ({"filter": []}, "/filter"),
        ({"filter": {"or": [{"has_input": True}] * 33}}, "/filter"),
        ({"query": "label:ship colour:red"}, "/query"),
        ({"query": 5}, "/query"),
        ({"q": "label:ship"}, "/q"),
    ],
)
def test_a_delete_that_does_not_say_what_deletes_nothing(api, three, body, pointer):
    answer = api.post(DELETE, body)

    assert answer.status_code == 400, answer.content
    assert answer.json()["errors"][0]["pointer"] == pointer
    assert api.post(f"{LIST}/count", {}).json() == {"count": 3}


def test_a_tree_too_deep_is_refused_at_its_place(api, three):
    tree: dict = {"is_protected": True}
    for _ in range(DEPTH_MAX + 1):
        tree = {"not": tree}

    answer = api.post(f"{LIST}/count", {"filter": tree})

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["pointer"] == "/filter" + "/not" * DEPTH_MAX


def test_a_delete_by_tree_takes_what_matches(api, three):
    body = {"filter": {"not": {"has_key": {"key": "camera"}}}}

    answer = api.post(DELETE, body)

    assert answer.json()["deleted_inference_ids"] == ["c"]


@pytest.mark.parametrize("where", ["q", "query"])
def test_an_error_names_the_column(api, three, where):
    query = "label:ship colour:red"
    answer = (
        api.get(LIST, {"q": query})
        if where == "q"
        else api.post(f"{LIST}/filter", {"query": query})
    )

    problem = answer.json()
    assert answer.status_code == 400
    assert problem["errors"][0]["pointer"] == f"/{where}"
    assert "Column 12" in problem["detail"]
