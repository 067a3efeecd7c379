"""One class is the answer of a classifier; its distribution is kept, and asked for.

Records of before that was so are brought along beside readers and writers: every question
has the same answer before, in between and after.
"""

from __future__ import annotations

import json
import random
import threading
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from django.db.migrations.executor import MigrationExecutor
from django.db.models.functions import Now
from django.http import QueryDict

from inferences.maintenance import consistency_checks
from inferences.models import (
    ClassProbability,
    Detection,
    Inference,
    InferenceAction,
    InferencePayload,
    RegisteredModel,
    TaskType,
)
from inferences.search import rare_label_scan, text
from inferences.search.access_paths import CLASSES
from inferences.search.conditions import conditions_of
from inferences.search.counting import count_matching
from inferences.search.filters import (
    And,
    ClassFilter,
    DetectionFilter,
    InferenceFilter,
    Or,
)
from inferences.search.pagination import Pagination
from inferences.search.query import InferenceQuery
from inferences.search.rare_label_scan import all_matching
from inferences.store import class_migration, removal
from inferences.store.partitions import TABLES, partitions_of
from inferences.store.recording import NewInference, record
from inferences.tasks import tell_classes_apart
from inferences.tests.builders import as_before
from inferences.web.view_models import summaries
from inferences.web.view_models.answers import answer_of_text
from inferences.web.view_models.facets import count_facets
from inferences.web.view_models.questions import Question
from inferences.web.view_models.sampling import sample
from istore import failpoints
from istore.checks.verification import Scope
from istore.db.clock import now

pytestmark = pytest.mark.django_db

DIGITS = [str(digit) for digit in range(10)]
START = datetime(2025, 6, 1, tzinfo=UTC)
ADDRESS = "/api/v1/models/digit-classifier"


@pytest.fixture
def digits(project) -> RegisteredModel:
    return RegisteredModel.objects.create(
        model_id="digit-classifier",
        project=project,
        task_type=TaskType.IMAGE_CLASSIFICATION,
        class_labels=DIGITS,
        enable_inference_storage=True,
    )


@pytest.fixture
def armed():
    yield failpoints.arm
    failpoints.arm("")


def answer(number: int) -> list[tuple[str, float]]:
    """Best is the last digit of the number; the next digit has what is left of most."""
    best = number % 10
    scores = [0.01] * 10
    scores[best] = 0.5 + (number % 40) / 100
    scores[(best + 1) % 10] = round(1 - scores[best] - 0.08, 4)
    return list(zip(DIGITS, scores, strict=True))


def store(model, numbers, detections=answer, prefix="picture"):
    found = [
        NewInference(
            inference_id=f"{prefix}-{number}",
            inference_action=InferenceAction.PREDICT_PROBA,
            data_hash=bytes(32),
            created_at=START + timedelta(minutes=number),
            detections=detections(number),
        )
        for number in numbers
    ]
    record(model, found)


def names(model, filters, **page) -> list[str]:
    query = InferenceQuery(filters, Pagination(limit=1000, **page))
    return [each.inference_id for each in query.page(model).inferences]


def best(number: int) -> str:
    return str(number % 10)


# -- fifty pictures


def test_a_label_finds_what_has_it_as_its_best_class(digits):
    store(digits, range(50))

    for filters in (DetectionFilter(["3"]), text.parse("label:3")):
        assert names(digits, filters) == [f"picture-{n}" for n in range(3, 50, 10)]
        assert count_matching(digits, filters).number == 5
    assert count_matching(digits, text.parse("label:3 score<0.1")).number == 0
    assert count_matching(digits, text.parse("label:[3, 4]")).number == 10
    assert count_matching(digits, text.parse("score<0.5")).number == 0
    assert count_matching(digits, text.parse("(label:3) (label:4)")).number == 0


def test_a_class_is_asked_for_with_its_probability(digits):
    store(digits, range(50))
    expected = [
        f"picture-{number}" for number in range(50) if answer(number)[3][1] >= 0.2
    ]
    assert len(expected) > 5

    for filters in (
        ClassFilter("3", minimum_score=0.2),
        text.parse("class:3 prob>=0.2"),
    ):
        assert names(digits, filters) == expected
        assert count_matching(digits, filters).number == len(expected)
        assert all_matching(digits, filters).count() == len(expected)
    assert count_matching(digits, text.parse("class:3")).number == 50
    assert count_matching(digits, text.parse("class:3 prob<0.2")).number == 50 - len(
        expected
    )
    assert count_matching(digits, text.parse("class:nothing")).number == 0


def test_both_tests_are_of_the_same_class(digits):
    store(digits, [0], lambda _: [("a", 0.9), ("b", 0.1)])

    assert count_matching(digits, text.parse("class:a prob>=0.5")).number == 1
    assert count_matching(digits, text.parse("class:b prob>=0.5")).number == 0
    assert count_matching(digits, text.parse("class:a prob>=0.5 prob<=0.8")).number == 0
    # Each class has the bounds that follow it.
    both = text.parse("class:a prob>=0.5 class:b prob<=0.2")
    assert both == And(
        (ClassFilter("a", minimum_score=0.5), ClassFilter("b", maximum_score=0.2))
    )
    assert text.parse(text.write(both)) == both
    assert count_matching(digits, both).number == 1


@pytest.mark.parametrize("query", ["prob>=0.2", "label:a prob>=0.2", "class:a prob!=1"])
def test_a_probability_without_its_class_is_told(query):
    with pytest.raises(text.TextQueryError, match=r"class:truck|compared"):
        text.parse(query)


def test_statistics_and_facets_speak_of_the_best_class(digits):
    store(digits, range(50))

    counted = summaries.labels(digits, InferenceFilter())
    assert (dict(counted.counts), counted.of) == (dict.fromkeys(DIGITS, 5), 50)
    sides = summaries.compare(digits, [counted], 20)
    assert sum(each.shares[0] for each in sides) == pytest.approx(100)
    drawn = summaries.scores(digits, InferenceFilter())
    assert drawn.total == 50
    assert sum(each.count for each in drawn.bins if each.low < 0.45) == 0
    assert {choice.count for choice in count_facets(digits, question()).labels} == {5}


def question() -> Question:
    return Question(QueryDict(""))


def test_sorts_go_by_the_best_class(digits):
    store(digits, range(50))
    scores = {f"picture-{n}": max(s for _, s in answer(n)) for n in range(50)}

    by_score = names(digits, InferenceFilter(), sort="score", direction="desc")
    assert [scores[name] for name in by_score] == sorted(scores.values(), reverse=True)
    by_label = names(digits, InferenceFilter(), sort="label")
    assert [best(int(name[8:])) for name in by_label] == sorted(map(best, range(50)))


def test_the_first_of_equals_is_the_answer_and_a_class_needs_no_score(digits):
    store(digits, [0], lambda _: [("a", 0.2), ("b", 0.4), ("c", 0.4)])
    store(digits, [1], lambda _: [("b", None)])
    store(digits, [2], lambda _: [("a", None), ("b", -3.5)])
    store(digits, [3], lambda _: [])
    store(digits, [4], lambda _: None)

    assert names(digits, DetectionFilter(["b"])) == [f"picture-{n}" for n in (0, 1, 2)]
    assert names(digits, text.parse("class:b")) == [f"picture-{n}" for n in (0, 1, 2)]
    assert names(digits, text.parse("class:b prob<0")) == ["picture-2"]
    assert names(digits, text.parse("no:detections")) == ["picture-3"]
    assert findings(digits) == []


def test_tasks_with_several_answers_keep_all_their_labels(model, make_inference):
    make_inference(detections=[("ship", 0.9), ("boat", 0.2)], inference_id="a")

    assert names(model, DetectionFilter(["boat"])) == ["a"]
    assert names(model, ClassFilter("boat")) == []
    row = model.inferences.get()
    assert (len(row.labels), row.classes) == (2, None)
    assert not ClassProbability.objects.exists()


def test_the_api_takes_a_class_in_a_tree(api, digits):
    store(digits, range(50))
    asked = {"label": "3", "minimum_score": 0.2, "maximum_score": 0.4}
    expected = sum(0.2 <= answer(number)[3][1] <= 0.4 for number in range(50))

    counted = api.post(
        f"{ADDRESS}/inferences/count", {"filter": {"class_filter": asked}}
    )
    assert (counted.status_code, counted.json()["count"]) == (200, expected)
    for wrong in ({}, {"label": ""}, {"label": "3", "minimum_score": "x"}):
        refused = api.post(
            f"{ADDRESS}/inferences/count", {"filter": {"class_filter": wrong}}
        )
        assert refused.status_code == 400
        assert "/filter/class_filter" in refused.content.decode()


# -- the way to the rows


def test_a_rare_class_within_bounds_is_reached_by_its_index(digits, monkeypatch):
    store(digits, range(50))
    rare = ClassFilter("3", minimum_score=0.8)
    expected = [f"picture-{n}" for n in range(50) if answer(n)[3][1] >= 0.8]
    monkeypatch.setattr(rare_label_scan, "RARE", len(expected))

    ((branch,),) = [path.branches for path in conditions_of(digits, rare).paths]
    assert branch.table == CLASSES
    assert f"{CLASSES}.score >=" in branch.where.sql
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(
            f"EXPLAIN SELECT id FROM {branch.source} WHERE {branch.where.sql}",
            branch.where.values,
        )
        plan = "\n".join(line for (line,) in cursor)
    assert "score >= " in plan.partition("Index Cond")[2].partition("\n")[0]
    assert "= ANY(" in str(all_matching(digits, rare).query)
    assert names(digits, rare) == expected
    # Where others are asked for beside it, too, and either way round.
    for filters in (And((rare, DetectionFilter(["3"]))), Or((rare, ClassFilter("x")))):
        assert names(digits, filters, direction="desc") == expected[::-1]


def test_removal_takes_the_distribution_along(api, digits):
    store(digits, range(20))
    response = api.delete(f"{ADDRESS}/inferences/picture-3")

    assert response.status_code in (200, 204)
    assert Detection.objects.count() == 19
    assert ClassProbability.objects.count() == 190
    assert findings(digits) == []


# -- records of before


def findings(model) -> list[str]:
    scope = Scope(now(), project=model.project)
    return [each.kind for each in consistency_checks.rows(scope)]


QUERIES = [
    "label:3",
    "label:[3, 4] score>=0.6",
    "label:3 score<0.6",
    "score<=0.55",
    "score>0.7 score<0.8",
    "-label:3",
    "label:3 OR class:4 prob>=0.3",
    "class:3 prob>=0.2",
    "class:3 prob<0.02",
    "class:3",
    "-(class:3 prob>=0.2)",
    "class:3 prob>=0.2 class:4 prob>=0.3",
    "has:detections",
    "no:detections",
]


def everything(model) -> dict[str, object]:
    """What is answered to every question of these tests."""
    model = RegisteredModel.objects.get(pk=model.pk)
    told: dict[str, object] = {}
    for query in QUERIES:
        filters = text.parse(query)
        told[query] = names(model, filters)
        told[f"{query} by label"] = names(model, filters, sort="label")
        told[f"{query} by score"] = names(
            model, filters, sort="score", direction="desc"
        )
        assert count_matching(model, filters).number == len(told[query]), query
        assert all_matching(model, filters).count() == len(told[query]), query
    told["labels"] = summaries.labels(model, InferenceFilter()).counts
    told["scores"] = summaries.scores(model, InferenceFilter()).total
    told["facet"] = sorted(
        (each.name, each.count) for each in count_facets(model, question()).labels
    )
    told["rows"] = sorted(
        (row.id, row.labels, row.scores)
        for row in sample(model, InferenceFilter()).rows
        if row.labels is not None
    )
    return told


@pytest.fixture
def varied(digits):
    store(digits, range(50))
    store(digits, [60], lambda _: [("3", 0.4), ("4", 0.4)])
    store(digits, [61], lambda _: [("3", None)])
    store(digits, [62], lambda _: [])
    store(digits, [63], lambda _: None)
    return digits


def test_questions_have_the_same_answer_before_in_between_and_after(
    varied, armed, settings
):
    expected = everything(varied)
    as_before(varied)
    assert varied.inferences.filter(classes=None).count() == 54
    assert everything(varied) == expected

    settings.ISTORE_CLASS_MIGRATION_BATCH = 10
    armed("classes.batch:3=raise")
    with pytest.raises(failpoints.Failure):
        class_migration.tell_apart(varied)
    assert varied.inferences.exclude(classes=None).count() == 30
    assert everything(varied) == expected
    varied.refresh_from_db()
    assert varied.awaits_classes
    assert findings(varied) == []

    armed("")
    assert class_migration.tell_apart(varied) == 23
    varied.refresh_from_db()
    assert not varied.awaits_classes
    assert everything(varied) == expected
    assert findings(varied) == []
    assert class_migration.tell_apart(varied) == 0
    tell_classes_apart()
    assert everything(varied) == expected


def test_a_run_that_comes_to_its_time_is_gone_on_with(varied, settings):
    as_before(varied)
    settings.ISTORE_CLASS_MIGRATION_BATCH = 10

    runs = 0
    while RegisteredModel.objects.exclude(awaits_classes_from=None).exists():
        class_migration.tell_apart(varied, seconds=0)
        runs += 1
    assert runs == 7  # 54 rows, ten a run, and the look that finds none
    assert findings(varied) == []


def test_the_command_tells_how_it_went(varied):
    as_before(varied)
    out = StringIO()
    call_command("tell_classes_apart", stdout=out)
    assert "53 records changed, all are told apart" in out.getvalue()
    assert "Every label of a classification is its best class." in out.getvalue()


def test_hidden_records_are_brought_along_and_those_on_their_way_out_are_not(varied):
    as_before(varied)
    hidden, leaving = varied.inferences.order_by("id")[:2]
    varied.inferences.filter(id=hidden.id).update(deleted=True)
    InferencePayload.objects.beside(varied).filter(id=hidden.id).update(
        deleted_at=Now()
    )
    with transaction.atomic():
        removal.RECORDS.intend(varied, varied.inferences.filter(id=leaving.id))

    class_migration.tell_apart(varied)
    row = Inference.objects.get(registered_model=varied, id=hidden.id)
    assert (len(row.labels), len(row.classes)) == (1, 10)
    varied.refresh_from_db()
    assert varied.awaits_classes

    removal.RECORDS.finish(varied)
    class_migration.tell_apart(varied)
    varied.refresh_from_db()
    assert not varied.awaits_classes
    assert findings(varied) == []


def test_verify_mends_what_an_older_release_wrote_after_the_end(varied):
    as_before(varied, "picture-1")
    RegisteredModel.objects.filter(pk=varied.pk).update(awaits_classes_from=None)
    number = varied.inferences.filter(classes=None).count() - 1  # one knows nothing
    assert findings(varied) == ["classes-as-labels"] * number

    with connection.cursor() as cursor:
        cursor.execute(
            f"DELETE FROM {ClassProbability._meta.db_table} "
            "WHERE id = (SELECT max(id) FROM inferences_inference "
            "WHERE inference_id = 'picture-5')"
        )
        cursor.execute(
            "UPDATE inferences_inference SET labels = classes[1:1], "
            "scores = probabilities[1:1] WHERE inference_id = 'picture-7'"
        )
    scope = Scope(now(), project=varied.project, repair=True)
    kinds = {each.kind for each in consistency_checks.rows(scope)}
    assert kinds == {"classes-as-labels", "classes-differ", "not-the-best-class"}
    assert findings(varied) == []
    assert names(varied, DetectionFilter(["7"])) == [
        f"picture-{n}" for n in range(7, 50, 10)
    ]


@pytest.mark.django_db(transaction=True)
def test_writers_and_holders_beside_it_lose_nothing(digits, settings):
    settings.ISTORE_CLASS_MIGRATION_BATCH = 7
    store(digits, range(300))
    as_before(digits)
    held, release = threading.Event(), threading.Event()
    removed: list[int] = []  # of what nobody held

    def hold() -> None:
        with transaction.atomic():
            some = list(digits.inferences.order_by("id").values_list("id", flat=True))
            list(digits.inferences.filter(id__in=some[100:120]).select_for_update())
            held.set()
            release.wait(60)
        connection.close()

    def write() -> None:
        for number in range(300, 400, 5):
            store(digits, range(number, number + 5))
        connection.close()

    def remove() -> None:
        rows = list(digits.inferences.order_by("id").values_list("id", flat=True))
        for row_id in random.Random(3).sample(rows[:100], 30):
            with transaction.atomic():
                chosen = digits.inferences.filter(id=row_id)
                batch = removal.RECORDS.intend(digits, chosen)
            removed.append(removal.RECORDS.clear(digits, batch))
        connection.close()

    def bring() -> None:
        class_migration.tell_apart(digits)
        connection.close()

    threads = [threading.Thread(target=each) for each in (write, remove, bring, bring)]
    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(60)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    digits.refresh_from_db()
    assert digits.awaits_classes  # twenty are held

    release.set()
    holder.join(60)
    class_migration.tell_apart(digits)
    digits.refresh_from_db()
    assert not digits.awaits_classes
    assert 0 < sum(removed) <= 30
    assert digits.inferences.count() == 400 - sum(removed)
    assert findings(digits) == []
    counts = summaries.labels(digits, InferenceFilter()).counts
    assert counts.total() == 400 - sum(removed)


@pytest.mark.django_db(transaction=True)
def test_the_migration_marks_the_models_whose_records_wait(digits, model):
    store(digits, range(20))
    store(model, range(20))
    expected = names(digits, DetectionFilter(["3"]))
    as_before(digits)

    for name in ("0022_number_first_class", "0023_tell_classes_apart"):
        executor = MigrationExecutor(connection)
        executor.migrate([("inferences", name)])
    executor = MigrationExecutor(connection)
    executor.migrate(executor.loader.graph.leaf_nodes())
    digits.refresh_from_db()
    model.refresh_from_db()
    assert (digits.awaits_classes, model.awaits_classes) == (True, False)
    bounds = [
        sorted(partitions_of(table.name).values(), key=lambda each: each[1])
        for table in TABLES
    ]
    assert bounds == [bounds[0]] * len(TABLES)

    assert names(digits, DetectionFilter(["3"])) == expected
    store(digits, range(20, 30))
    tell_classes_apart()
    digits.refresh_from_db()
    assert not digits.awaits_classes
    assert names(digits, DetectionFilter(["3"])) == [*expected, "picture-23"]
    assert findings(digits) == findings(model) == []


def test_a_label_filter_marks_the_best_class_alone(project):
    model = RegisteredModel.objects.create(
        model_id="marked", project=project, task_type=TaskType.IMAGE_CLASSIFICATION
    )
    classes_ = [{"label": "a", "score": 0.9}, {"label": "b", "score": 0.1}]
    text = json.dumps({"image_classification": classes_})

    answer = answer_of_text(model, text, test=lambda label, score: score < 0.95)

    marked = [(one.label, one.is_match) for one in answer.found]
    assert marked == [("a", True), ("b", False)]
