"""What was answered with 2xx holds for the next call, at every proxy."""

import os
import signal
import threading
import time
from urllib.parse import quote

import pytest
import requests
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test import Client as Browser

from inferences.models import RegisteredModel
from istore import freshness
from istore.accounts.tokens import create_token, revoke_token
from istore.models import Role, Token
from istore.tasks.periodic import forget_old_calls
from proxy.targets import Known, Remembered
from proxy.tests.conftest import Proxied, Store, new_token, wait_until
from proxy.tests.relay import Relay
from services.sessions import terminate_session

pytestmark = pytest.mark.django_db
OFF, RECORDED = "off", "recorded"


@pytest.fixture(scope="module")
def pair(store, tmp_path_factory):
    """Two proxies on one database, as on two hosts."""
    both = [Proxied(store, tmp_path_factory.mktemp("home")).start() for _ in range(2)]
    yield both
    for each in both:
        each.stop()


@pytest.fixture
def model(store, upstream):
    return store.model(upstream.url, "flipped", enable_inference_storage=False)


def called(proxied: Proxied, model_id: str = "flipped", **options) -> str:
    answer = proxied.infer(model_id, **options)
    if answer.ok:
        return answer.headers["Inference-Store"]
    return str(answer.status_code)


def patch_settings(api_url: str, store: Store, **values) -> None:
    answer = requests.patch(
        f"{api_url}/api/v1/models/flipped/inference-server-settings",
        json=values,
        headers={"Authorization": f"Bearer {store.secret}"},
        timeout=30,
    )
    assert answer.status_code == 200, answer.text


def leases(store: Store) -> int:
    def count() -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM proxy_lease")
            return cursor.fetchone()[0]

    return store.thread.submit(count).result()


def test_storing_is_on_or_off_from_the_next_call_on(live_api, pair, store, model):
    for turn in range(30):
        is_on = turn % 2 == 0
        patch_settings(live_api, store, enable_inference_storage=is_on)
        assert {called(each) for each in pair} == {RECORDED if is_on else OFF}


def test_another_upstream_is_asked_from_the_next_call_on(
    live_api,
    pair,
    store,
    model,
    upstream,
):
    for _ in range(5):
        patch_settings(live_api, store, upstream_url="http://127.0.0.1:1")
        assert {called(each) for each in pair} == {"502"}
        patch_settings(live_api, store, upstream_url=upstream.url)
        assert {called(each) for each in pair} == {OFF}


def test_a_switch_on_a_page_and_in_the_administration_counts_at_once(
    pair, store, model
):
    def browser() -> Browser:
        person = User.objects.create_superuser("root", password="x")
        browser = Browser()
        browser.force_login(person)
        return browser

    def post(path: str, values: dict) -> int:
        return store.thread.submit(browsing.post, path, values).result().status_code

    browsing = store.thread.submit(browser).result()
    try:
        assert {called(each) for each in pair} == {OFF}
        assert post("/models/flipped/storage", {"enable": "true"}) < 400
        assert {called(each) for each in pair} == {RECORDED}
    finally:
        store.thread.submit(User.objects.all().delete).result()


def test_a_revoked_token_opens_nothing_from_the_next_call_on(pair, store, model):
    for _ in range(5):
        token, secret = store.do(create_token, "t", store.projects[0], Role.EDITOR)
        headers = {"Authorization": f"Bearer {secret}"}
        assert {called(each, headers=headers) for each in pair} == {OFF}
        store.do(revoke_token, token, "test")
        assert {called(each, headers=headers) for each in pair} == {"401"}


def test_a_role_taken_away_by_sql_counts_at_once(pair, store, model):
    token, secret = store.do(create_token, "t", store.projects[0], Role.EDITOR)
    headers = {"Authorization": f"Bearer {secret}"}
    assert {called(each, headers=headers) for each in pair} == {OFF}

    def sql() -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE istore_token SET role = 'viewer' WHERE id = %s", [token.pk]
            )

    store.do(sql)
    assert {called(each, headers=headers) for each in pair} == {"403"}


def test_a_token_ends_at_its_time_though_nobody_changes_anything(pair, store, model):
    def brief() -> str:
        with connection.cursor() as cursor:
            cursor.execute("SELECT clock_timestamp() + interval '2 seconds'")
            (ends,) = cursor.fetchone()
        return new_token(store.projects[0], Role.EDITOR, expires_at=ends)

    headers = {"Authorization": f"Bearer {store.do(brief)}"}
    assert called(pair[0], headers=headers) == OFF
    time.sleep(2.2)
    assert called(pair[0], headers=headers) == "401"


def test_a_terminated_session_and_a_removed_model_end_at_once(pair, store, upstream):
    configuration = {"url": f"{upstream.url}/json"}
    session, secret = store.session("url", configuration)
    statuses = {each.call(session, secret, {}).status_code for each in pair}
    assert statuses == {200}
    store.do(terminate_session, "test", session)
    statuses = {each.call(session, secret, {}).status_code for each in pair}
    assert statuses == {409}
    model = store.model(upstream.url, "brief", enable_inference_storage=False)
    assert {called(each, "brief") for each in pair} == {OFF}
    store.do(RegisteredModel.objects.filter(pk=model.pk).delete)
    assert {called(each, "brief") for each in pair} == {"404"}


def test_a_model_that_a_session_stores_to_counts_when_it_appears(pair, store, upstream):
    configuration = {"url": f"{upstream.url}/json"}
    session, secret = store.session("url", configuration, model_id="appearing")

    def told() -> set[str]:
        answers = [each.call(session, secret, {"text": "x"}) for each in pair]
        return {answer.headers["Inference-Store"] for answer in answers}

    assert told() == {OFF}
    store.model("", "appearing")
    assert told() == {RECORDED}


def test_a_change_that_was_long_in_coming_is_not_missed(pair, store, model):
    """Its number is lower than those of changes that were heard before it."""
    begun, go_on = threading.Event(), threading.Event()

    def slow() -> None:
        with freshness.changes_heard(), transaction.atomic():
            RegisteredModel.objects.filter(pk=model.pk).update(
                enable_inference_storage=True
            )
            begun.set()
            assert go_on.wait(20)
        connection.close()

    thread = threading.Thread(target=slow)
    thread.start()
    assert begun.wait(20)
    for number in range(3):
        store.model("http://127.0.0.1:1", f"beside-{number}")
        assert {called(each) for each in pair} == {OFF}
    go_on.set()
    thread.join()
    assert {called(each) for each in pair} == {RECORDED}


def test_a_proxy_that_is_stopped_delays_a_change_and_serves_nothing_stale(
    live_api,
    pair,
    store,
    model,
):
    stopped, other = pair
    assert {called(each) for each in pair} == {OFF}
    os.killpg(stopped.process.pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        patch_settings(live_api, store, enable_inference_storage=True)
        assert time.monotonic() - began < 10 * freshness.WAIT_SECONDS
        assert called(other) == RECORDED
    finally:
        os.killpg(stopped.process.pid, signal.SIGCONT)
    assert called(stopped) == RECORDED


def test_a_proxy_that_was_killed_is_given_up_by_the_next_change(
    live_api,
    pair,
    store,
    model,
    start_proxy,
):
    third = start_proxy()
    assert called(third) == OFF
    before = leases(store)
    third.kill()
    patch_settings(live_api, store, enable_inference_storage=True)
    assert leases(store) == before - 1
    assert {called(each) for each in pair} == {RECORDED}


def test_the_beat_gives_up_the_dead_when_nobody_changes_anything(store, model, pair):
    def die() -> None:
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO proxy_lease (id) VALUES (gen_random_uuid())")
        RegisteredModel.objects.filter(pk=model.pk).update(strip_metadata=True)

    def left() -> tuple[int, int]:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT (SELECT count(*) FROM proxy_lease),"
                " (SELECT count(*) FROM proxy_change)"
            )
            return cursor.fetchone()

    before = leases(store)
    store.thread.submit(die).result()
    assert store.thread.submit(left).result()[0] == before + 1
    store.thread.submit(forget_old_calls).result()
    assert store.thread.submit(left).result() == (before, 0)


@pytest.fixture
def relayed(store, start_proxy):
    """A proxy behind a relay, that goes on for a minute without its database."""
    given = django_settings.DATABASES["default"]
    relay = Relay(given["HOST"])
    url = store.database_url.replace(
        quote(given["HOST"], safe=""), quote(str(relay.directory), safe="")
    )
    proxied = start_proxy(
        ISTORE_DATABASE_URL=url,
        ISTORE_PROXY_STALE_SECONDS="60",
    )
    yield proxied, relay
    relay.remove()


def readiness(proxied: Proxied) -> tuple[int, str]:
    answer = requests.get(f"{proxied.url}/v2/health/ready", timeout=20)
    return answer.status_code, answer.json().get("status", "")


@pytest.mark.parametrize("how", ["cut", "hold"])
def test_without_its_database_a_proxy_goes_on_with_what_it_knows(
    relayed, store, model, how
):
    proxied, relay = relayed
    store.model(model.upstream_url, "stored")
    gone, gone_secret = store.do(create_token, "t", store.projects[0], Role.EDITOR)
    gone_headers = {"Authorization": f"Bearer {gone_secret}"}
    assert called(proxied, headers=gone_headers) == OFF
    assert (called(proxied), called(proxied, "stored")) == (OFF, RECORDED)
    assert readiness(proxied) == (200, "ready")
    store.do(revoke_token, gone, "test")
    getattr(relay, how)()
    wait_until(lambda: readiness(proxied) == (200, "degraded"), 20)
    for _ in range(3):
        assert (called(proxied), called(proxied, "stored")) == (OFF, RECORDED)
    # What was heard counts, and what is not known cannot be asked.
    assert called(proxied, headers=gone_headers) in ("401", "503")
    assert called(proxied, "unheard-of") == "503"
    store.do(
        RegisteredModel.objects.filter(pk=model.pk).update,
        enable_inference_storage=True,
    )
    relay.let_go() if how == "hold" else relay.mend()
    wait_until(lambda: readiness(proxied) == (200, "ready"), 20)
    assert called(proxied) == RECORDED
    assert called(proxied, headers=gone_headers) == "401"


def test_a_proxy_stops_when_it_has_heard_nothing_for_too_long(relayed, store, model):
    proxied, relay = relayed
    proxied.stop()
    proxied.start(ISTORE_PROXY_STALE_SECONDS="3")
    assert called(proxied) == OFF
    relay.cut()
    wait_until(lambda: readiness(proxied)[0] == 503, 20)
    assert called(proxied) == "503"


def flap(proxied: Proxied, relay: Relay, meanwhile=lambda: None) -> None:
    """The database goes, comes back while nobody calls, and goes again."""
    relay.cut()
    wait_until(lambda: readiness(proxied) == (200, "degraded"), 20)
    meanwhile()
    relay.mend()
    wait_until(lambda: readiness(proxied) == (200, "ready"), 20)
    relay.cut()
    wait_until(lambda: readiness(proxied) == (200, "degraded"), 20)


def test_a_database_that_comes_and_goes_takes_away_nothing_but_what_changed(
    relayed, store, model
):
    proxied, relay = relayed
    store.model(model.upstream_url, "stored")
    gone, gone_secret = store.do(create_token, "t", store.projects[0], Role.EDITOR)
    gone_headers = {"Authorization": f"Bearer {gone_secret}"}
    assert called(proxied, headers=gone_headers) == OFF
    assert (called(proxied), called(proxied, "stored")) == (OFF, RECORDED)

    def demote() -> None:  # as by SQL: nobody waits, and the lease is not given up
        Token.objects.filter(pk=gone.pk).update(role=Role.VIEWER)

    flap(proxied, relay, lambda: store.thread.submit(demote).result())
    assert called(proxied, headers=gone_headers) == "503"
    for _ in range(2):
        assert (called(proxied), called(proxied, "stored")) == (OFF, RECORDED)
        relay.mend()
        flap(proxied, relay)
    relay.mend()
    wait_until(lambda: readiness(proxied) == (200, "ready"), 20)
    assert called(proxied, headers=gone_headers) == "403"
    assert (called(proxied), called(proxied, "stored")) == (OFF, RECORDED)


def test_a_proxy_that_was_given_up_knows_nothing_when_the_database_comes_and_goes(
    relayed, store, model
):
    """Somebody was told that the change holds, and it is not known what it was."""
    proxied, relay = relayed
    token, secret = store.do(create_token, "t", store.projects[0], Role.EDITOR)
    headers = {"Authorization": f"Bearer {secret}"}
    assert called(proxied, headers=headers) == OFF
    flap(proxied, relay, lambda: store.do(revoke_token, token, "test"))
    assert called(proxied, headers=headers) == "503"


def test_what_is_in_doubt_is_as_old_as_its_last_confirmation():
    kept = Remembered.of(Known("found", frozenset()), 100.0)
    assert kept.last_confirmed_at(None) == 100.0
    assert kept.last_confirmed_at(130.0) == 130.0
    doubtful = kept.in_doubt(130.0)
    assert doubtful.due_at < 100.0  # asked again before it is used
    # Neither a heartbeat nor a further connection speaks for it.
    assert doubtful.last_confirmed_at(400.0) == 130.0
    assert doubtful.in_doubt(400.0).last_confirmed_at(500.0) == 130.0


def announced(act) -> bool:
    freshness._noted.changed = False
    act()
    return freshness._noted.changed


def test_what_proxies_do_not_read_is_not_announced(project, model_row):
    token, _ = create_token("t", project, Role.EDITOR)
    rows = RegisteredModel.objects.filter(pk=model_row.pk)
    tokens = Token.objects.filter(pk=token.pk)
    assert not announced(lambda: tokens.update(last_used_at="2026-01-01T00:00Z"))
    assert not announced(lambda: rows.update(keys_version=7, first_id=3))
    assert not announced(lambda: rows.update(upstream_url=model_row.upstream_url))
    assert announced(lambda: rows.update(upstream_url="http://127.0.0.1:7"))
    assert announced(lambda: tokens.update(role=Role.VIEWER))


@pytest.fixture
def model_row(project):
    return RegisteredModel.objects.create(
        model_id="row", project=project, task_type="Object Detection"
    )


def rename(before: str, after: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {before} RENAME TO {after}")


def test_a_database_that_gives_no_lease_is_asked_for_each_call(
    store, model, start_proxy
):
    """As one that takes no writes: nothing may be remembered, and nothing fails."""
    store.do(rename, "proxy_lease", "proxy_lease_aside")
    try:
        proxied = start_proxy()
        assert readiness(proxied) == (200, "degraded")
        assert called(proxied) == OFF
        rows = RegisteredModel.objects.filter(pk=model.pk)
        store.do(rows.update, enable_inference_storage=True)
        assert called(proxied) == RECORDED
    finally:
        store.do(rename, "proxy_lease_aside", "proxy_lease")
    wait_until(lambda: readiness(proxied) == (200, "ready"), 20)
    assert called(proxied) == RECORDED
