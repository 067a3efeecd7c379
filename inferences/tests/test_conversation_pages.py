"""Conversations on pages: turns, parts, choices, figures, sessions, and what is compared."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.urls import reverse

from inferences.models import InferencePayload, TokenPrice
from inferences.tests.conversation_builders import (
    answer_of,
    chat_model,
    picture,
    said,
    silence,
    store_chat,
)
from inferences.tests.pages import browse, elements, one_line, text
from inferences.web.markdown import plain_text, render_markdown
from inferences.web.view_models.failed_calls import failed_call_of
from istore import blobs
from istore.models import AuditEntry, Role

TOOL = {
    "id": "c1",
    "type": "function",
    "function": {"name": "tides", "arguments": '{"port":"Hull","days":[1,2]}'},
}
CHAT = {
    "model": "gpt-4o",
    "temperature": 0.25,
    "tools": [
        {
            "type": "function",
            "function": {"name": "tides", "description": "Tides of a port."},
        }
    ],
    "messages": [
        said("system", "Be **brief**."),
        said("user", "When is high water?"),
        {"role": "assistant", "content": None, "tool_calls": [TOOL]},
        {"role": "tool", "tool_call_id": "c1", "content": '{"high":"06:10"}'},
    ],
}
USAGE = {"prompt_tokens": 1000, "completion_tokens": 200, "total_tokens": 1200}


@pytest.fixture
def chats(project):
    return chat_model(project)


@pytest.fixture
def stored(make_inference, chats):
    """``stored(request, answer, metadata, inference_id="a")``."""
    return lambda request, answer, metadata=None, **fields: store_chat(
        make_inference, chats, request, answer, metadata, **fields
    )


def page_of(client, model, inference_id="inference-1", **query):
    address = reverse("inferences:detail", args=[model.model_id, inference_id])
    return client.get(address, query)


def test_turns_are_shown_by_role_with_their_markdown(person, chats, stored):
    stored(CHAT, answer_of("At `06:10`:\n\n```\nhigh\n```"))

    page = text(page_of(person(), chats))

    for role in ("system", "user", "assistant", "tool"):
        assert f"turn-{role}" in page
    assert "Be <strong>brief</strong>." in page
    assert "<code>06:10</code>" in page
    assert "<pre><code>high\n</code></pre>" in page


def test_tool_calls_are_folded_with_arguments_results_and_names(person, chats, stored):
    stored(CHAT, answer_of("ok"))

    page = one_line(page_of(person(), chats))

    assert 'Calls <span class="mono" dir="auto">tides</span>' in page
    assert 'Result of <span class="mono" dir="auto">tides</span>' in page
    assert '<span class="j-key">&quot;port&quot;</span>' in page
    assert "Tides of a port." in page
    assert page.count('<details class="fold tool">') == 3


def test_reasoning_is_folded_and_a_refusal_says_so(person, chats, stored):
    message = {
        "role": "assistant",
        "content": None,
        "reasoning_content": "They ask for a key.",
        "refusal": "I will not.",
    }
    stored(CHAT, {"choices": [{"message": message}]})

    page = one_line(page_of(person(), chats))

    assert '<details class="fold reasoning">' in page
    assert "They ask for a key." in page
    assert "declined" in page and "I will not." in page


def test_choices_are_links_to_each(person, chats, stored):
    stored(CHAT, answer_of("first", "second", "third"))
    client = person()

    page = text(page_of(client, chats))
    other = text(page_of(client, chats, choice="2"))

    assert "<p>first</p>" in page and "<p>second</p>" not in page
    assert "?choice=1#answer" in page
    assert "<p>third</p>" in other


def test_texts_can_be_seen_as_they_were_written(person, chats, stored):
    stored(CHAT, answer_of("**bold**"))

    page = text(page_of(person(), chats, texts="plain"))

    assert '<p class="said-text" dir="auto">**bold**</p>' in page
    assert "<strong>bold" not in page


def test_figures_are_those_of_record_and_answer(person, chats, stored):
    metadata = {"time_to_first_token": 0.25, "model_version": "gpt-4o-2024-08"}
    times = {
        "received": "2025-06-01T00:00:00.000000Z",
        "forwarded": "2025-06-01T00:00:00.000000Z",
        "responded": "2025-06-01T00:00:02.250000Z",
    }
    stored(CHAT, answer_of("ok", usage=USAGE), metadata, notes={"times": times})

    page = one_line(page_of(person(), chats))

    for shown in ("1,000", "200", "2.25 s", "250 ms", "100.0", "gpt-4o-2024-08"):
        assert shown in page
    assert "no price" in page


def price(project, pattern="gpt-4o*", **fields):
    values = {
        "input_price": Decimal("2.5"),
        "cached_input_price": Decimal("1.25"),
        "output_price": Decimal("10"),
        "valid_from": datetime(2025, 1, 1).date(),
    }
    return TokenPrice.objects.create(
        project=project, model_pattern=pattern, **{**values, **fields}
    )


def test_the_cost_is_computed_by_the_price_of_the_day(person, project, chats, stored):
    price(project)
    price(project, valid_from=datetime(2025, 7, 1).date(), input_price=99)
    price(None, input_price=99)
    price(project, "gpt-*", input_price=99)
    cached = {**USAGE, "prompt_tokens_details": {"cached_tokens": 400}}
    stored(CHAT, answer_of("ok", usage=cached), {"cost": 0.5})

    page = one_line(page_of(person(), chats))

    # (600 * 2.5 + 400 * 1.25 + 200 * 10) / 1,000,000
    assert "0.0040 USD" in page
    assert "Stated cost" in page and "0.5" in page


def test_pictures_and_audio_of_parts_come_through_the_media_route(
    person, chats, stored
):
    parts = [
        {
            "type": "image_url",
            "image_url": {"url": f"data:image/png;base64,{picture()}"},
        },
        {"type": "input_audio", "input_audio": {"data": silence(), "format": "wav"}},
        {
            "type": "file",
            "file": {"filename": "a.html", "file_data": "data:text/html;base64,PGI+"},
        },
        {"type": "image_url", "image_url": {"url": "https://elsewhere.example/a.png"}},
    ]
    stored({"messages": [said("user", parts)]}, answer_of("ok"))
    client = person()

    page = text(page_of(client, chats))

    found = [
        attributes for tag, attributes in elements(page) if tag in ("img", "audio")
    ]
    sources = [each["src"] for each in found]
    assert len(sources) == 2 and all(source.startswith("/") for source in sources)
    image, audio = (client.get(source) for source in sources)
    assert (image.status_code, image["Content-Type"]) == (200, "image/webp")
    assert (audio.status_code, audio["Content-Type"]) == (200, "audio/wav")
    assert "sandbox" in audio["Content-Security-Policy"]
    again = client.get(sources[0], headers={"If-None-Match": image["ETag"]})
    assert again.status_code == 304
    base = reverse("inferences:media", args=[chats.model_id, "inference-1", "part"])
    file = client.get(base, {"part": "t0.2"})
    assert file["Content-Type"] == "application/octet-stream"
    assert file["Content-Disposition"].startswith("attachment")
    assert '<a href="https://elsewhere.example/a.png" rel="noopener' in page
    for place in ("t9.0", "t0.9", "x", "c0.0", "t0.3"):
        assert client.get(base, {"part": place}).status_code == 404
    assert client.get(base).status_code == 404


def test_media_are_for_those_who_see_the_model(person, project, chats, stored):
    stored({"messages": [said("user", "a")]}, answer_of("ok"))
    for name in ("turns", "media"):
        more = ["part"] if name == "media" else []
        address = reverse(
            f"inferences:{name}", args=[chats.model_id, "inference-1", *more]
        )
        assert person(None).get(address).status_code == 404


def test_a_long_conversation_is_shown_by_pages(person, chats, stored):
    messages = [said("user", f"turn number {n}") for n in range(5_000)]
    stored({"messages": messages}, answer_of("the end"))
    client = person()

    began = time.perf_counter()
    page = text(page_of(client, chats))
    assert time.perf_counter() - began < 3

    assert "turn number 39<" in page and "turn number 40<" not in page
    assert "the end" in page and "4,960 more turns" in page
    address = reverse("inferences:turns", args=[chats.model_id, "inference-1"])
    whole = text(client.get(address, {"turns": "4990"}))
    assert "turn number 4999<" in whole and "more turn" not in whole
    swapped = text(client.get(address, {"turns": "40"}, headers={"HX-Request": "true"}))
    assert "<html" not in swapped and "turn number 40<" in swapped


def test_a_long_text_is_shown_piece_by_piece(person, chats, stored):
    content = "x" * 20_000 + "y" * 20_000 + "z" * (10 * 1024**2 - 40_000)
    stored({"messages": [said("user", content)]}, answer_of("ok"))
    client = person()

    began = time.perf_counter()
    page = text(page_of(client, chats))
    assert time.perf_counter() - began < 3

    assert len(page) < 200_000 and "xy" not in page
    address = reverse("inferences:turns", args=[chats.model_id, "inference-1"])
    rest = text(client.get(address, {"part": "t0.0", "after": "20000"}))
    assert "y" * 20_000 in rest and "yz" not in rest
    assert "part=t0.0&amp;after=40000" in rest
    assert client.get(address, {"part": "t7.0"}).status_code == 404


def test_a_card_shows_what_was_asked_and_answered(person, chats, stored):
    messages = [
        said("user", "first"),
        said("assistant", "b"),
        said("user", "And\nthen?"),
    ]
    stored({"messages": messages}, answer_of("Then it ebbs."))

    page = text(browse(person(), chats))

    assert '<p class="excerpt" dir="auto">And then?</p>' in page
    assert '<p class="excerpt" dir="auto">Then it ebbs.</p>' in page
    assert "messages" not in page.split('<li class="card')[1].split("</li>")[0]


def test_an_expired_request_leaves_the_answer(person, chats, stored):
    stored(CHAT, answer_of("still here"))
    expired = datetime(2025, 7, 1, tzinfo=UTC)
    InferencePayload.objects.beside(chats).update(
        input_expired_at=expired, data_storage_key=""
    )

    page = text(page_of(person(), chats))

    assert "still here" in page and "The request has expired" in page
    assert "Be <strong>brief" not in page


def test_other_answers_keep_their_page(person, model, make_inference):
    make_inference(data='{"object_detection": []}', detections=[])
    assert 'id="conversation"' not in text(page_of(person(), model))


def in_session(stored, count, session="s 1"):
    for n in range(count):
        stored(
            {"messages": [said("user", f"question {n}")]},
            answer_of(f"answer {n} of some words"),
            {"session": session},
            inference_id=f"turn-{n}",
            created_at=datetime(2025, 6, 1, tzinfo=UTC) + timedelta(minutes=n),
        )


def test_a_session_is_a_timeline_in_order_by_pages(person, chats, stored):
    in_session(stored, 23)
    stored({"messages": []}, answer_of("elsewhere"), {"session": "s 2"})
    client = person()
    address = reverse("inferences:session", args=[chats.model_id])

    page = client.get(address, {"key": "session", "value": "s 1", "at": "turn-2"})
    shown = text(page)

    assert shown.index("answer 0 of") < shown.index("answer 1 of")
    assert "answer 21 of" in shown and "answer 22 of" not in shown
    assert "elsewhere" not in shown
    assert shown.count('class="is-here"') == 1
    following = page.context["next"]
    rest = text(client.get(f"{address}?{page.context['here']}&{following}"))
    assert "answer 22 of" in rest and "answer 21 of" not in rest
    wrong = {"key": "session", "value": "s 1", "cursor": "x"}
    assert client.get(address, wrong).status_code == 400
    assert client.get(address, {"key": "secret", "value": "x"}).status_code == 404
    empty = client.get(address, {"key": "session", "value": "none"})
    assert "Nothing of this session is stored" in text(empty)
    assert "?key=session&amp;value=s+1&amp;at=turn-2" in text(
        page_of(client, chats, "turn-2")
    )


def test_a_link_leads_to_an_inference_wherever_it_is_in_its_session(
    person, chats, stored
):
    in_session(stored, 40)
    address = reverse("inferences:session", args=[chats.model_id])
    query = {"key": "session", "value": "s 1", "at": "turn-30"}
    client = person()

    page = client.get(address, query)
    shown = text(page)

    assert "answer 24 of" not in shown and "answer 25 of" in shown
    assert "answer 39 of" in shown and not page.context["next"]
    assert shown.count('class="is-here"') == 1 and "From the beginning" in shown
    early = client.get(address, {**query, "at": "turn-3"})
    assert "answer 0 of" in text(early) and "From the beginning" not in text(early)
    rest = client.get(f"{address}?{early.context['here']}&{early.context['next']}")
    assert "answer 23 of" in text(rest) and "answer 22 of" not in text(rest)


def test_two_answers_are_compared_word_by_word(person, chats, stored):
    stored(CHAT, answer_of("high water at six"), inference_id="a")
    stored(CHAT, answer_of("high water at seven"), inference_id="b")
    client = person()
    address = reverse("inferences:compare", args=[chats.model_id])

    beside = text(client.get(address, {"a": "a", "b": "b"}))
    inline = text(client.get(address, {"a": "a", "b": "b", "layout": "inline"}))
    prompts = text(client.get(address, {"a": "a", "b": "b", "what": "prompt"}))

    assert "high water at <del>six</del>" in beside
    assert "high water at <ins>seven</ins>" in beside
    assert "at <del>six</del><ins>seven</ins>" in inline
    assert "The texts are the same." in prompts
    chosen = client.post(address, {"inference_id": ["b", "a"]})
    assert chosen["Location"].endswith("/compare?a=a&b=b")
    few = client.post(address, {"inference_id": ["b"]}, follow=True)
    assert "Select two inferences" in text(few)
    assert client.get(address, {"a": "a", "b": "none"}).status_code == 404


def test_an_answer_is_compared_with_the_one_before_in_its_session(
    person, chats, stored
):
    in_session(stored, 3)
    client = person()
    address = reverse("inferences:compare", args=[chats.model_id])

    page = text(client.get(address, {"b": "turn-2"}))
    first = text(client.get(address, {"b": "turn-0"}))

    assert "answer <del>1</del>" in page and "answer <ins>2</ins>" in page
    assert "none before it" in first


def test_the_list_offers_to_compare_texts_of_text_models_alone(
    person, model, chats, make_inference, stored
):
    stored(CHAT, answer_of("a"))
    make_inference(inference_id="ship")
    client = person()

    assert "Compare texts" in text(browse(client, chats))
    assert "Compare texts" not in text(browse(client, model))


# prices

PRICE = {
    "model_pattern": "gpt-4o*",
    "input_price": "2.5",
    "cached_input_price": "",
    "output_price": "10",
    "currency": "EUR",
    "valid_from": "2025-01-01",
}


def test_administrators_edit_the_prices_of_a_project(person, project):
    address = reverse("inferences:prices", args=[project.project_id])
    admin, editor = person(Role.ADMINISTRATOR), person(Role.EDITOR)

    assert "Add price" not in text(editor.get(address))
    assert editor.post(address, PRICE).status_code == 403
    assert admin.post(address, PRICE).status_code == 302
    again = admin.post(address, PRICE)
    assert again.status_code == 400 and "There is a price" in text(again)
    negative = admin.post(address, {**PRICE, "input_price": "-1"})
    assert negative.status_code == 400
    found = TokenPrice.objects.get()
    assert "gpt-4o*" in text(editor.get(address))
    remove = reverse("inferences:remove-price", args=[project.project_id, found.pk])
    assert editor.post(remove).status_code == 403
    assert admin.post(remove).status_code == 302
    assert not TokenPrice.objects.exists()
    actions = AuditEntry.objects.filter(action__startswith="price.")
    assert [each.action for each in actions.order_by("id")] == [
        "price.add",
        "price.remove",
    ]


def test_prices_of_all_projects_are_removed_in_the_administration(
    person, project, operator
):
    everywhere = price(None)
    address = reverse(
        "inferences:remove-price", args=[project.project_id, everywhere.pk]
    )

    assert person(Role.ADMINISTRATOR).post(address).status_code == 404
    added = operator.post(
        reverse("admin:inferences_tokenprice_add"),
        {**PRICE, "model_pattern": "claude*"},
    )
    assert added.status_code == 302
    assert TokenPrice.objects.filter(project=None).count() == 2


# what is written by others

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[a](javascript:alert(1))",
    "[a](JaVaScRiPt:alert(1))",
    "[a](data:text/html;base64,PHNjcmlwdD4=)",
    "[a](vbscript:x)",
    "![a](https://elsewhere.example/pixel.png)",
    "![a](javascript:alert(1))",
    "<https://elsewhere.example/>",
    "<javascript:alert(1)>",
    '[a](https://b.example "x" onmouseover=alert(1))',
    "[a](//elsewhere.example/x)",
    "[x]: javascript:alert(1)\n\n[x]",
    "&#106;avascript:alert(1)",
    "[a](&#106;avascript:alert&#40;1&#41;)",
    "[a](java\nscript:alert(1))",
    "<svg onload=alert(1)>",
    "```<script>\nalert(1)\n```",
    "`<iframe src=https://elsewhere.example>`",
    "<style>@import 'https://elsewhere.example'</style>",
    "<a href='javascript:alert(1)'>a</a>",
    "<form action=/logout><button>x</button></form>",
]


@pytest.mark.parametrize("given", HOSTILE)
def test_markdown_has_no_element_that_acts_or_loads(given):
    allowed = {"p", "a", "code", "pre", "br"}
    for tag, attributes in elements(render_markdown(given)):
        assert tag in allowed
        assert set(attributes) <= {"href", "rel", "title"}
        if "href" in attributes:
            assert attributes["href"].startswith(("https://", "/"))
            assert "noopener" in attributes["rel"]


def test_markdown_that_takes_long_is_shown_as_it_was_written(person, chats, stored):
    messages = [said("user", "![" * 9_000) for _ in range(30)]
    stored({"messages": messages}, answer_of("*quick*"))
    client = person()

    began = time.thread_time()
    page = text(page_of(client, chats))

    assert time.thread_time() - began < 4
    assert "<em>quick</em>" in page
    assert '<p class="said-text" dir="auto">![' in page


def test_what_others_wrote_is_text_wherever_it_stands(person, chats, stored):
    bad = "<img src=x onerror=alert(1)>\"'"
    call = {"id": bad, "function": {"name": bad, "arguments": bad}}
    messages = [
        {"role": bad, "name": bad, "content": bad},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": bad, "content": bad},
        said("user", [{"type": bad, "x": bad}]),
        said("user", [{"type": "file", "file": {"filename": bad, "file_id": bad}}]),
        said(
            "user", [{"type": "image_url", "image_url": {"url": f"javascript:{bad}"}}]
        ),
    ]
    request = {
        "messages": messages,
        bad: bad,
        "tools": [{"function": {"name": bad, "description": bad}}],
    }
    stored(
        request,
        answer_of(bad, model=bad),
        {"session": bad, "model_version": bad, "finish_reason": bad},
    )
    client = person()

    pages = [
        page_of(client, chats),
        page_of(client, chats, texts="plain"),
        browse(client, chats),
        client.get(
            reverse("inferences:session", args=[chats.model_id]),
            {"key": "session", "value": bad},
        ),
        client.get(
            reverse("inferences:compare", args=[chats.model_id]),
            {"a": "inference-1", "b": "inference-1"},
        ),
    ]

    for page in pages:
        assert page.status_code == 200
        for tag, attributes in elements(text(page)):
            assert "onerror" not in attributes
            assert (tag, attributes.get("src")) != ("img", "x")
            assert not (attributes.get("href") or "").startswith("javascript")


FAILED = {"failure": "status", "answer": {"status": 429}}
SLOW_DOWN = {"error": {"message": "Slow <down>.", "type": "rate_limit_error"}}


def test_a_failed_call_says_why_wherever_it_is_shown(person, chats, stored):
    stored(CHAT, SLOW_DOWN, {"session": "s-1"}, notes=FAILED)
    client = person()

    page = one_line(page_of(client, chats))
    session = reverse("inferences:session", args=[chats.model_id])
    entries = one_line(client.get(session, {"key": "session", "value": "s-1"}))
    cards = one_line(browse(client, chats))
    rows = one_line(browse(client, chats, view="table"))

    assert "The call failed: 429. Slow &lt;down&gt;." in page
    assert "No answer that can be read" not in page
    assert "No text in the answer" not in entries
    for shown in (entries, cards, rows):
        assert "failed: 429" in shown and "Slow &lt;down&gt;." in shown
        assert "rate_limit_error" not in shown


@pytest.mark.parametrize(
    ("notes", "answer", "metadata", "expected"),
    [
        ({"failure": "timeout"}, "", {}, "failed: no answer in time"),
        ({"failure": "error"}, "", {"status_message": "No luck"}, "No luck"),
        (FAILED, {"detail": "Nobody is here"}, {}, "failed: 429: Nobody is here"),
        (FAILED, {"error": "model not found"}, {}, "failed: 429: model not found"),
        (FAILED, "<html>", {}, "failed: 429"),
        (FAILED, [1], {}, "failed: 429"),
    ],
)
def test_reasons_of_failures(stored, notes, answer, metadata, expected):
    stored(CHAT, answer, metadata, notes=notes)
    found = failed_call_of(InferencePayload.objects.get())
    assert expected in str(found)


def test_a_call_that_did_not_fail_has_no_failure(stored):
    stored(CHAT, answer_of("ok"))
    assert failed_call_of(InferencePayload.objects.get()) is None


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("A **ship**, *two* `tugs`.", "A ship, two tugs."),
        ("one\ntwo  \nthree\n\nfour", "one two three four"),
        ("[Hull](https://hull.example), ~~not~~ Ely", "Hull, not Ely"),
    ],
)
def test_marks_of_markdown_leave_no_blanks(written, expected):
    assert plain_text(written) == expected


def test_a_conversation_is_reviewed(stored, chats, person):
    stored(CHAT, answer_of("At ten past six."), inference_id="a")
    stored("", "no answer at all", inference_id="b")
    page = reverse("inferences:review", args=[chats.project, chats.model_id])
    client = person(Role.EDITOR)
    for name in ("a", "b"):
        response = client.get(page, {"at": name})
        assert response.status_code == 200
        assert response.context["inference"].inference_id == name
    assert "At ten past six." in text(client.get(page, {"at": "a"}))


@pytest.mark.parametrize(
    "answer",
    [
        '{"choices":[{"message":{"content":"\\ud800 \\u0000"}}]}',
        '{"choices":[{"message":{"content":%s}}]}' % ("[" * 900 + "]" * 900),
        '{"deep":%s}' % ('{"a":' * 990 + "1" + "}" * 990),
        '{"x":NaN,"model":"\\ud800","choices":[{"message":{"content":"x"}}]}',
    ],
)
def test_answers_that_no_page_can_hold_are_shown_escaped(stored, chats, person, answer):
    stored(CHAT, answer, inference_id="a")
    args = [chats.project, chats.model_id, "a"]
    for name in ("detail", "turns"):
        assert person().get(reverse(f"inferences:{name}", args=args)).status_code == 200


@pytest.mark.parametrize("content_type", ["application/json", "image/png", ""])
def test_a_damaged_input_costs_no_page(
    stored, chats, person, content_type, monkeypatch
):
    stored(CHAT, answer_of("At ten past six."), inference_id="a")
    InferencePayload.objects.update(data_content_type=content_type)

    def damaged(*_):
        raise blobs.BlobDamaged("It ends early.")

    for name in ("open_blob", "open_unmoved", "get", "size"):
        monkeypatch.setattr(blobs, name, damaged)
    client = person()
    page = text(client.get(reverse("inferences:detail", args=[*address(chats), "a"])))
    assert "The input is damaged" in page
    for name in ("browse", "review"):
        path = reverse(f"inferences:{name}", args=address(chats))
        assert client.get(path).status_code == 200


def address(model) -> list[object]:
    return [model.project, model.model_id]


def test_half_a_surrogate_pair_in_an_input_costs_no_list(stored, chats, person):
    stored(b'{"a":"\\ud800","\\udc00":[1,"\\ud800"]}', "x", inference_id="a")
    stored(b'"\\ud800"', "x", inference_id="b")
    for name in ("browse", "review"):
        path = reverse(f"inferences:{name}", args=address(chats))
        assert person().get(path).status_code == 200
