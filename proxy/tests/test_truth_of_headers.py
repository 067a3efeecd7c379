"""What the answers of the proxy say is held against what is in the store afterwards.

Every form of a call is driven through every outcome, on two proxies, with capture and a
listener behind them; then nothing is waited for any more, and for each form the ids of the
records are those that answers named as recorded, no more and no fewer.
"""

from __future__ import annotations

import base64
import gzip
import io
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle

import orjson
import pytest
import redis
import requests
from PIL import Image

from inferences.models import InferenceKey, RegisteredModel
from inferences.store.recording import Outcome, record
from inferences.store.reservations import reserve
from inferences.tests.builders import new, wish
from proxy.tests.conftest import Proxied, request_body, wait_until
from proxy.tests.openai_upstream import OpenAIUpstream
from proxy.tests.whole_store import WholeStore, counted

pytestmark = pytest.mark.django_db

LENGTH = "Inference-Header-Content-Length"
RECORDED, STREAMING = "recorded", "streaming"


@pytest.fixture(scope="module")
def whole(store, tmp_path_factory):
    with redis.Redis.from_url(store.redis_url) as client:
        client.flushdb()
    whole = WholeStore(store, tmp_path_factory.mktemp("whole"))
    try:
        yield whole.start()
    finally:
        whole.stop()


@pytest.fixture(scope="module")
def completions():
    server = OpenAIUpstream()
    server.start()
    yield server
    server.stop()


@dataclass
class Told:
    """One call: what it carried, and what its answer said."""

    act: str
    wish: str | None
    inputs: list[bytes]
    answer: requests.Response
    content: bytes
    ids: list[str] = field(default_factory=list)
    is_broken: bool = False

    def __post_init__(self) -> None:
        named = self.answer.headers["Inference-Id"].split(",")
        self.ids = [requests.utils.unquote(each) for each in named]

    @property
    def told(self) -> str:
        return self.answer.headers["Inference-Store"]


@dataclass
class Sent:
    """One call, ready to be made."""

    call: Callable[[Proxied], requests.Response]
    inputs: list[bytes]


@dataclass
class Form:
    """One way to call, and the model its records are of."""

    name: str
    model_id: str
    make: Callable[[str | None, str], Sent]
    is_stream: bool = False
    parts: int = 1
    can_wish: bool = True
    can_fail: Callable[[], Sent] | None = None
    can_break: Callable[[str | None], Sent] | None = None


def picture(text: str, n: int = 0) -> bytes:
    file = io.BytesIO()
    color = tuple(sum(text.encode()) * (k + 7) % 256 for k in range(3))
    Image.new("RGB", (8 + n, 8), color).save(file, "PNG")
    return file.getvalue()


def v2(model_id: str, headers=None, pack=lambda body: body) -> Callable:
    def make(wish: str | None, text: str) -> Sent:
        body = request_body(id=wish) if wish else request_body()
        body["inputs"][0]["data"] = [text]
        data = pack(orjson.dumps(body))
        call = lambda p: p.infer(model_id, data, headers=headers or {})  # noqa: E731
        return Sent(call, [text.encode()])

    return make


def v2_binary(model_id: str) -> Callable:
    def make(wish: str | None, text: str) -> Sent:
        raw = len(text.encode()).to_bytes(4, "little") + text.encode()
        tensor = {
            "name": "in",
            "datatype": "BYTES",
            "shape": [1],
            "parameters": {"binary_data_size": len(raw)},
        }
        head = orjson.dumps({"inputs": [tensor], **({"id": wish} if wish else {})})
        headers = {LENGTH: str(len(head))}
        call = lambda p: p.infer(model_id, head + raw, headers=headers)  # noqa: E731
        return Sent(call, [text.encode()])

    return make


def pictures(model_id: str, count: int, is_one: bool) -> Callable:
    def make(wish: str | None, text: str) -> Sent:
        each = [picture(text, n) for n in range(count)]
        tensors = [
            {
                "name": f"image-{n}",
                "datatype": "BYTES",
                "shape": [1],
                "data": [base64.b64encode(one).decode()],
                "parameters": {"content_type": "base64"},
            }
            for n, one in enumerate(each)
        ]
        body = {"inputs": tensors, **({"id": wish} if wish else {})}
        call = lambda p: p.infer(model_id, body)  # noqa: E731
        if not is_one:
            return Sent(call, each)
        described = [
            {k: tensor[k] for k in ("name", "datatype", "shape", "data")}
            | {"parameters": {"content_type": "base64"}}
            for tensor in tensors
        ]
        return Sent(call, [orjson.dumps(described)])

    return make


def session_form(session, secret, key="text", to_body=None, **options) -> Callable:
    def make(wish: str | None, text: str) -> Sent:
        body = to_body(wish, text) if to_body else {key: text}
        headers = {"Inference-Id": wish} if wish and not to_body else {}
        if to_body and key == "openai" and wish:
            headers = {"Inference-Id": wish}
        data = orjson.dumps(body)
        call = lambda p: p.call(  # noqa: E731
            session, secret, data, headers=headers, **options
        )
        kept = text.encode() if key == "v2" else data
        return Sent(call, [kept])

    return make


def text_form(model_id: str, is_stream: bool, model="m", **options) -> Callable:
    path = f"/models/{model_id}/v1/chat/completions"

    def make(wish: str | None, text: str) -> Sent:
        messages = [{"role": "user", "content": text}]
        body = {"model": model, "stream": is_stream, "messages": messages}
        headers = {"Inference-Id": wish} if wish else {}
        data = orjson.dumps(body)
        call = lambda p: p.infer(  # noqa: E731
            model_id, data, path=path, headers=headers, **options
        )
        return Sent(call, [data])

    return make


@pytest.fixture(scope="module")
def forms(store, upstream, completions, whole) -> dict[str, Form]:
    url = upstream.url
    found: list[Form] = []

    def add(name: str, server: str, make: Callable, **more) -> None:
        store.model(url, name, upstream_model=server)
        found.append(Form(name, name, make, **more))

    store.model(url, "failing")
    failing = v2("failing")
    fail = lambda: failing("fails", "x")  # noqa: E731
    add("v2-json", "mirror", v2("v2-json"), can_fail=fail)
    add("v2-binary", "mirror", v2_binary("v2-binary"))
    packed = v2(
        "v2-gzip", {"Content-Encoding": "gzip"}, lambda b: gzip.compress(b, 1, mtime=0)
    )
    add("v2-gzip", "mirror", packed)
    add("v2-gzip-answer", "gzipped", v2("v2-gzip-answer"))
    add("v2-chunked-answer", "chunked", v2("v2-chunked-answer"))
    add("v2-parts", "detector", pictures("v2-parts", 3, False), parts=3)
    add("v2-several", "verdict", pictures("v2-several", 2, True))
    add("v2-events", "events", v2("v2-events"), is_stream=True)
    add("v2-ndjson", "lines", v2("v2-ndjson"), is_stream=True)
    store.model(url, "v2-unread", upstream_model="mirror")

    def make_unread(wish: str | None, text: str) -> Sent:
        data = b'{"id": "%s", "text": %s' % ((wish or "").encode(), text.encode())
        return Sent(lambda p: p.infer("v2-unread", data), [data])

    found.append(Form("v2-unread", "v2-unread", make_unread, can_wish=False))

    def session(name: str, protocol: str, server_url: str, **fields):
        store.model("", name, task_type="Text Generation")
        configuration = {"url": server_url, "protocol": protocol}
        configuration |= fields.pop("configuration", {})
        return store.session("url", configuration, model_id=name, **fields)

    json_session = session(
        "session-json", "json", url, endpoint="v2/models/mirror/infer"
    )
    found.append(Form("session-json", "session-json", session_form(*json_session)))
    v2_session = session(
        "session-v2", "v2", url, endpoint="infer", configuration={"model": "mirror"}
    )

    def v2_body(wish: str | None, text: str) -> dict:
        body = request_body(id=wish) if wish else request_body()
        body["inputs"][0]["data"] = [text]
        return body

    found.append(
        Form("session-v2", "session-v2", session_form(*v2_session, "v2", v2_body))
    )
    for name, is_stream in (("session-openai", False), ("session-stream", True)):
        chat = session(name, "openai", completions.url, endpoint="v1/chat/completions")

        def chat_body(wish, text, is_stream=is_stream, model="m"):
            messages = [{"role": "user", "content": text}]
            return {"model": model, "stream": is_stream, "messages": messages}

        make = session_form(*chat, "openai", chat_body)
        more = {}
        if is_stream:
            breaking = session_form(
                *chat,
                "openai",
                lambda wish, text: chat_body(wish, text, True, "breaking"),
                stream=True,
            )
            more["can_break"] = lambda wish, make=breaking: make(wish, "broken")
        found.append(Form(name, name, make, is_stream=is_stream, **more))
    for name, is_stream in (("text-chat", False), ("text-stream", True)):
        store.model(completions.url, name, task_type="Text Generation")
        more = {"can_fail": partial(text_form(name, False, "failing"), "fails", "x")}
        if is_stream:
            breaking = text_form(name, True, "breaking", stream=True)
            more = {"can_break": lambda wish, make=breaking: make(wish, "broken")}
        make = text_form(name, is_stream)
        found.append(Form(name, name, make, is_stream=is_stream, **more))
    return {form.name: form for form in found}


class Driver:
    """Makes calls, each on another proxy than the one before."""

    def __init__(self, whole: WholeStore, form: Form) -> None:
        self.whole, self.form = whole, form
        self.turn = cycle(whole.proxies[:2])
        self.told: list[Told] = []

    def call(self, act: str, wish: str | None, text: str, on=None) -> Told:
        sent = self.form.make(wish, text)
        answer = sent.call(on or next(self.turn))
        assert answer.status_code == 200, (self.form.name, act, answer.text)
        told = Told(act, wish, sent.inputs, answer, answer.content)
        self.told.append(told)
        return told

    def break_off(self, wish: str) -> None:
        sent = self.form.can_break(wish)
        answer = sent.call(next(self.turn))
        with pytest.raises(requests.RequestException):
            b"".join(answer.iter_content(None))
        self.told.append(
            Told("broken off", wish, sent.inputs, answer, b"", is_broken=True)
        )


@pytest.fixture(scope="module")
def driven(request, whole, forms, store, tmp_path_factory) -> dict[str, list[Told]]:
    """All forms through all outcomes."""
    drivers = {name: Driver(whole, form) for name, form in forms.items()}
    for driver in drivers.values():
        driver.call("unnamed", None, "nobody wished")
        if not driver.form.can_wish:
            continue
        driver.call("new", "kept", "A")
        driver.call("new, to be removed", "gone", "G")
        # Before any of it is indexed.
        driver.call("repeat at once", "kept", "A")
        driver.call("taken at once", "kept", "B")
        driver.call("repeat of the other at once", "kept", "B")
    whole.drain()
    for driver in drivers.values():
        if not driver.form.can_wish:
            continue
        driver.call("repeat", "kept", "A")
        driver.call("taken", "kept", "C")
        driver.call("repeat of the other", "kept", "C")
        gone = "gone" if driver.form.parts == 1 else "gone-1"
        whole.remove(driver.form.model_id, gone)
        driver.call("removed", "gone", "G")
        driver.call("removed, other content", "gone", "H")
        if driver.form.name not in PICTURES:
            driver.call("too large", "large", "x" * 300_000)
        if driver.form.can_break:
            driver.break_off("broken")
    aside = {"home": tmp_path_factory.mktemp("other")}
    other = WholeStore(store, aside["home"])
    request.addfinalizer(other.stop)
    full = other.add_proxy(ISTORE_SPOOL_MAX_BYTES="10")
    failing = other.add_proxy(ISTORE_FAILPOINTS="proxy.spool_appended=raise")
    late = whole.add_proxy(
        ISTORE_ID_DEADLINE_MS="300", ISTORE_FAILPOINTS="proxy.ids_reserved=sleep=1"
    )
    for driver in drivers.values():
        if driver.form.can_wish:
            driver.call("spool full", "free-1", "F", on=full)
            driver.call("spool failing", "free-2", "F", on=failing)
            driver.call("free again", "free-1", "F2")
            driver.call("too late", "late", "L", on=late)
    whole.drain()
    return {name: driver.told for name, driver in drivers.items()}


FORMS = (
    "v2-json",
    "v2-binary",
    "v2-gzip",
    "v2-gzip-answer",
    "v2-chunked-answer",
    "v2-parts",
    "v2-several",
    "v2-events",
    "v2-ndjson",
    "v2-unread",
    "session-json",
    "session-v2",
    "session-openai",
    "session-stream",
    "text-chat",
    "text-stream",
)
STREAMS = ("v2-events", "v2-ndjson", "session-stream", "text-stream")
PICTURES = ("v2-parts", "v2-several")
WITH_WISHES = tuple(each for each in FORMS if each != "v2-unread")


def named(calls: list[Told], act: str) -> Told:
    (found,) = [each for each in calls if each.act == act]
    return found


@pytest.mark.parametrize("name", FORMS)
def test_the_records_are_those_that_were_told(whole, forms, driven, name):
    form = forms[name]
    promised = {
        one
        for each in driven[name]
        if each.told in (RECORDED, STREAMING) and not is_lost(each)
        for one in each.ids
    }
    promised -= {"gone", "gone-1"}  # removed since
    assert whole.ids(form.model_id) == promised


def is_lost(told: Told) -> bool:
    """A stream whose copy was too large: counted, since its header had left."""
    return told.told == STREAMING and told.act in LOST


LOST = ("too large", "spool full", "spool failing")


@pytest.mark.parametrize("name", FORMS)
def test_each_record_holds_what_its_call_carried(whole, forms, driven, name):
    form = forms[name]
    recorded = [
        told
        for told in driven[name]
        if told.told in (RECORDED, STREAMING) and not is_lost(told)
    ]
    assert recorded
    for told in recorded:
        assert len(told.ids) == form.parts
        for number, inference_id in enumerate(told.ids):
            if inference_id in ("gone", "gone-1"):
                continue
            found = whole.find(form.model_id, inference_id)
            assert found is not None, (told.act, inference_id)
            assert found.input == told.inputs[number], (told.act, inference_id)
            if told.told == RECORDED and form.parts == 1:
                assert found.answer == told.content, told.act


@pytest.mark.parametrize("name", WITH_WISHES)
def test_a_wish_is_fulfilled_where_it_can_be(forms, driven, name):
    calls, form = driven[name], forms[name]

    def of(wish: str) -> list[str]:
        return [wish] if form.parts == 1 else [f"{wish}-{n}" for n in range(form.parts)]

    assert named(calls, "new").ids == of("kept")
    assert named(calls, "free again").ids == of("free-1")


# What a stream says is not known when it is named.
WHOLE_WITH_WISHES = [each for each in WITH_WISHES if each not in STREAMS]


@pytest.mark.parametrize("name", WHOLE_WITH_WISHES)
def test_the_same_call_has_the_same_ids_again(driven, name):
    calls = driven[name]
    for first, again in (
        ("new", "repeat at once"),
        ("new", "repeat"),
        ("taken at once", "repeat of the other at once"),
        ("taken", "repeat of the other"),
    ):
        assert named(calls, first).ids == named(calls, again).ids


@pytest.mark.parametrize("name", WITH_WISHES)
def test_another_id_says_what_was_wished_for(whole, forms, driven, name):
    form = forms[name]
    for act, why in (
        ("taken at once", "taken by other content"),
        ("taken", "taken by other content"),
        ("too late", "could not be settled in time"),
    ):
        told = named(driven[name], act)
        assert told.told in (RECORDED, STREAMING)
        for inference_id in told.ids:
            assert inference_id not in ("kept", "kept-0", "kept-1", "kept-2")
            warnings = whole.find(form.model_id, inference_id).warnings
            assert any(why in each for each in warnings), (act, warnings)
            assert any(repr(told.wish)[:-1] in each for each in warnings)


@pytest.mark.parametrize("name", WITH_WISHES)
def test_what_was_removed_is_told_as_not_recorded(driven, name):
    calls = driven[name]
    for act in ("removed", "removed, other content"):
        assert named(calls, act).told == "not-recorded; reason=removed"


@pytest.mark.parametrize(
    "name", [each for each in WHOLE_WITH_WISHES if each not in PICTURES]
)
def test_what_was_too_large_says_so(driven, name):
    told = named(driven[name], "too large").told
    assert told == "not-recorded; reason=too-large"


@pytest.mark.parametrize("name", WHOLE_WITH_WISHES)
def test_what_the_spool_could_not_keep_says_why(driven, name):
    calls = driven[name]
    assert named(calls, "spool full").told == "not-recorded; reason=spool-full"
    assert named(calls, "spool failing").told == "not-recorded; reason=spool-failed"


def test_a_stream_that_breaks_off_is_there_in_part(whole, driven):
    told = named(driven["session-stream"], "broken off")
    found = whole.find("session-stream", told.ids[0])
    assert told.ids == ["broken"]
    assert any("broke off" in each for each in found.warnings)


def test_the_counters_say_what_the_headers_said(whole, forms, driven, store, upstream):
    """Of the two proxies that were asked in turn, and of calls that fail upstream."""
    store.model(upstream.url, "failing")
    store.model(upstream.url, "switched-off", enable_inference_storage=False)
    before = [counted(each) for each in whole.proxies]
    said: Counter[str] = Counter()
    for proxied in whole.proxies[:2]:
        for model_id in ("failing", "v2-json", "switched-off"):
            told = proxied.infer(model_id, request_body(id="counted"))
            said[told.headers["Inference-Store"].rpartition("=")[2]] += 1
    after = [counted(each) for each in whole.proxies]
    rise = Counter()
    for was, now in zip(before, after, strict=True):
        for name in (RECORDED, "upstream-status"):
            rise[name] += now.get(name, 0) - was.get(name, 0)
    assert said == {"upstream-status": 2, RECORDED: 2, "off": 2}
    assert rise == {"upstream-status": 2, RECORDED: 2}
    removed = sum(each.get("removed", 0) for each in after)
    told_removed = sum(
        each.told.endswith("=removed") for calls in driven.values() for each in calls
    )
    assert removed == told_removed
    assert sum(each.get("taken", 0) for each in after) > 0
    assert sum(each.get("unknown", 0) for each in after) > 0


def test_an_id_that_came_too_late_is_free_again(whole, driven, store):
    """The reservation was made after all, and given back: nobody relies on it."""

    def is_free() -> bool:
        return not InferenceKey.objects.filter(
            inference_id__startswith="late", row_id=None
        ).exists()

    wait_until(lambda: whole.run(is_free), 10)


def test_an_id_that_the_api_creates_first_is_taken(whole, driven, store):
    """Whoever is first has the id: a create of the API, or a call that is not stored yet."""
    model = whole.run(lambda: RegisteredModel.objects.get(model_id="v2-json"))
    whole.run(record, model, [new("created")])
    body = request_body(id="created")
    told = whole.proxies[0].infer("v2-json", body)
    assert told.headers["Inference-Store"] == RECORDED
    assert told.headers["Inference-Id"] not in ("created", "")

    whole.stop_listener()
    told = whole.proxies[1].infer("v2-json", request_body(id="on-its-way"))
    assert told.headers["Inference-Id"] == "on-its-way"
    found = whole.run(record, model, [new("on-its-way")])
    assert found["on-its-way"] is Outcome.OTHER
    (asked,) = whole.run(reserve, [wish(model, "on-its-way", "another")])
    assert asked.state.value == "taken"
    whole.start_listener()
    whole.drain()
    assert whole.find("v2-json", "on-its-way").input == b"a ship"


def test_a_call_that_fails_after_its_id_was_settled_gives_it_back(whole, driven):
    failing = whole.add_proxy(ISTORE_FAILPOINTS="proxy.ids_settled=raise")
    told = failing.infer("v2-json", request_body(id="given-back"))
    assert told.ok
    assert told.headers["Inference-Store"] == "not-recorded; reason=spool-failed"
    wait_until(lambda: not whole.run(is_reserved, "given-back"), 10)


def test_a_proxy_that_dies_with_a_reservation_keeps_it_for_the_same_call(whole, driven):
    """Nobody was told anything: the client sends the same again, and has its wish."""
    dying = whole.add_proxy(ISTORE_FAILPOINTS="proxy.ids_settled=kill")
    with pytest.raises(requests.ConnectionError):
        dying.infer("v2-json", request_body(id="died"))
    assert whole.run(is_reserved, "died")

    first, second = whole.proxies[:2]
    other = request_body(id="died", parameters={"more": 1})
    told = first.infer("v2-json", other)
    assert told.headers["Inference-Id"] not in ("died", "")
    told = second.infer("v2-json", request_body(id="died"))
    assert told.headers["Inference-Id"] == "died"
    whole.drain()
    assert whole.find("v2-json", "died").input == b"a ship"


def test_calls_that_race_for_one_id_on_two_proxies_share_it_or_have_others(
    whole, driven
):
    """Twelve at once, of three contents: each content has one record, and each knows it."""
    contents = [f"race {n % 3}" for n in range(12)]

    def call(number: int) -> tuple[str, str]:
        body = request_body(id="race")
        body["inputs"][0]["data"] = [contents[number]]
        told = whole.proxies[number % 2].infer("v2-json", body)
        assert told.headers["Inference-Store"] == RECORDED
        return contents[number], told.headers["Inference-Id"]

    with ThreadPoolExecutor(12) as threads:
        told = set(threads.map(call, range(12)))
    whole.drain()
    assert len(told) == 3 and len({inference_id for _, inference_id in told}) == 3
    assert "race" in {inference_id for _, inference_id in told}
    for content, inference_id in told:
        assert whole.find("v2-json", inference_id).input == content.encode()


def is_reserved(inference_id: str) -> bool:
    keys = InferenceKey.objects.filter(inference_id=inference_id, row_id=None)
    return keys.exists()
