"""Conversations as a person reads them: nothing that others wrote acts, and nobody else is asked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from playwright.sync_api import Page, expect

from inferences.models import TokenPrice
from inferences.tests.conversation_builders import (
    answer_of,
    chat_model,
    picture,
    said,
    silence,
    store_chat,
)
from tests.conftest import SHOTS, shot

pytestmark = pytest.mark.django_db(transaction=True)
MODEL = "/projects/harbour/models/harbour-chat"
ONE = f"{MODEL}/inferences/question-2"

CODE = """High water at **Hull** is at `06:10`.

| day | high | low |
|---|---|---|
| Monday | 06:10 | 12:25 |
| Tuesday | 06:58 | 13:10 |

```python
def tide(port: str) -> str:
    return tides[port]["high"]
```

1. Cast off before *noon*.
2. Mind the [shoals](https://charts.example/humber).

> Tide tables are predictions.
"""
ON_STAGE = "rgb(183, 194, 207)"  # what is legible on the dark ground of a stage
USAGE = {
    "prompt_tokens": 1840,
    "completion_tokens": 212,
    "total_tokens": 2052,
    "prompt_tokens_details": {"cached_tokens": 1024},
    "completion_tokens_details": {"reasoning_tokens": 64},
}
BAD = (
    "<script>window.hit=1</script><img src=https://evil.example/a.png onerror=window.hit=1>"
    "![x](https://evil.example/b.png) [link](javascript:window.hit=1)"
    "<iframe src=https://evil.example></iframe><svg onload=window.hit=1></svg>"
    "<style>@import 'https://evil.example/c.css';</style>\"'><b onclick=window.hit=1>"
)


def request_of(question: str, *before: dict) -> dict:
    tool = {
        "id": "call-1",
        "type": "function",
        "function": {"name": "tides", "arguments": '{"port": "Hull", "days": 2}'},
    }
    return {
        "model": "gpt-4o",
        "temperature": 0.2,
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "tides",
                    "description": "Times of high and low water.",
                    "parameters": {"type": "object", "properties": {"port": {}}},
                },
            }
        ],
        "messages": [
            said("system", "You are the harbour's pilot. Answer in **Markdown**."),
            *before,
            said(
                "user",
                [
                    {"type": "text", "text": question},
                    {
                        "type": "image_url",
                        "image_url": {"url": f"data:image/png;base64,{picture()}"},
                    },
                    {
                        "type": "input_audio",
                        "input_audio": {"data": silence(), "format": "wav"},
                    },
                ],
            ),
            {"role": "assistant", "content": None, "tool_calls": [tool]},
            {
                "role": "tool",
                "tool_call_id": "call-1",
                "content": '{"high": ["06:10", "06:58"], "low": ["12:25"]}',
            },
        ],
    }


@pytest.fixture
def chats(store, project, make_inference):
    """Three questions of one session, the last one with two choices."""
    model = chat_model(project)
    TokenPrice.objects.create(
        project=project,
        model_pattern="gpt-4o*",
        input_price=Decimal("2.5"),
        cached_input_price=Decimal("1.25"),
        output_price=Decimal(10),
        valid_from=datetime(2025, 1, 1).date(),
    )
    questions = (
        "When is high water at Hull on Monday? 🚢",
        "متى يكون المد العالي في هَل؟",
        "And when may I cast off, with a draught of three metres?",
    )
    for number, question in enumerate(questions):
        last = answer_of(CODE, "Ask the harbour master.", usage=USAGE)
        first = answer_of(f"At 06:1{number}, two hours behind Spurn Head.", usage=USAGE)
        answer = last if number == 2 else first
        answer["choices"][0]["message"]["reasoning_content"] = "They mean *Hull*, UK."
        store_chat(
            make_inference,
            model,
            request_of(question),
            answer,
            {"session": "voyage-7", "user": "ada", "time_to_first_token": 0.42},
            inference_id=f"question-{number}",
            created_at=datetime(2025, 6, 1, tzinfo=UTC) + timedelta(minutes=number),
            notes={
                "times": {
                    "received": "2025-06-01T00:00:00.000000Z",
                    "forwarded": "2025-06-01T00:00:00.001200Z",
                    "responded": "2025-06-01T00:00:02.361200Z",
                    "published": "2025-06-01T00:00:02.381200Z",
                    "indexed": "2025-06-01T00:00:03.081200Z",
                }
            },
        )
    return model


def test_a_person_reads_a_conversation(
    chats, watched: Page, live_server, log_in, findings
):
    page = watched
    log_in(page)
    newest = page.locator(".model .words .excerpt")
    expect(newest).to_be_visible()
    assert newest.evaluate("each => getComputedStyle(each).color") == ON_STAGE
    shot(page, "talk-model")
    page.goto(f"{live_server.url}{MODEL}/inferences")
    expect(page.get_by_text("And when may I cast off")).to_be_visible()
    expect(page.get_by_text("High water at", exact=False).first).to_be_visible()
    shot(page, "talk-list")

    page.goto(live_server.url + ONE)
    answer = page.locator("#answer")
    expect(answer.locator("table")).to_be_visible()
    expect(page.get_by_role("button", name="Copy the code").first).to_be_attached()
    image = page.locator(".turn img")
    image.scroll_into_view_if_needed()
    page.wait_for_function("document.querySelector('.turn img').naturalWidth > 0")
    page.evaluate("scrollTo(0, 0)")
    shot(page, "talk-one")
    assert findings(page, "conversation") == []
    call = page.locator("details.tool", has_text="Calls").first
    expect(call.locator("pre")).not_to_be_visible()
    call.locator("summary").click()
    expect(call.locator("pre")).to_contain_text('"Hull"')
    page.locator("details.reasoning summary").click()
    expect(page.get_by_text("They mean Hull, UK.")).to_be_visible()
    answer.scroll_into_view_if_needed()
    shot(page, "talk-answer")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")

    page.get_by_role("link", name="Choice 2").click()
    expect(page.locator("#answer")).to_contain_text("Ask the harbour master.")
    page.get_by_role("link", name="As written").click()
    expect(page.get_by_text("Answer in **Markdown**.")).to_be_visible()
    assert "choice=1" in page.url and "texts=plain" in page.url

    page.get_by_role("link", name="Session").first.click()
    expect(page.locator(".session > li")).to_have_count(3)
    shot(page, "talk-session")
    assert findings(page, "session") == []
    page.get_by_role("link", name="compare with previous").last.click()
    expect(page.locator("ins").first).to_be_visible()
    shot(page, "talk-compare")
    assert findings(page, "compare") == []
    page.get_by_role("link", name="Inline").click()
    expect(page.locator(".compared.inline del").first).to_be_visible()


@pytest.mark.parametrize("width", [320, 2560])
def test_pages_of_conversations_fit_narrow_and_wide_screens(
    chats, watched: Page, live_server, log_in, width
):
    page = watched
    log_in(page)
    page.set_viewport_size({"width": width, "height": 800})
    for address in (
        "/inferences/question-2",
        "/session?key=session&value=voyage-7",
        "/compare?a=question-1&b=question-2",
        "/compare?a=question-1&b=question-2&layout=inline&what=prompt",
        "/try?again=question-2",
    ):
        page.goto(live_server.url + MODEL + address)
        page.evaluate(
            "for (const each of document.querySelectorAll('main details:not([data-menu])')) each.open = true"
        )
        assert page.evaluate("document.documentElement.scrollWidth") <= width, address
        shot_name = address.partition("?")[0].rpartition("/")[2]
        if SHOTS:
            page.screenshot(
                path=f"{SHOTS}/talk-{shot_name}-{width}.png", caret="initial"
            )


def test_the_drawer_shows_the_conversation(chats, watched: Page, live_server, log_in):
    page = watched
    log_in(page)
    page.goto(f"{live_server.url}{MODEL}/inferences")
    page.locator(".card .id a").first.click()
    expect(page.locator("#drawer #answer table")).to_be_visible()
    expect(page.locator("#drawer [data-copy-code]").first).to_be_attached()
    shot(page, "talk-drawer")


def test_two_of_a_list_are_compared(chats, watched: Page, live_server, log_in):
    page = watched
    log_in(page, "viktor")
    page.goto(f"{live_server.url}{MODEL}/inferences?view=table")
    page.get_by_label("Select question-0").check()
    page.get_by_label("Select question-1").check()
    page.get_by_role("button", name="Compare texts").click()
    expect(page.locator(".compared ins").first).to_be_visible()
    assert "a=question-0&b=question-1" in page.url


def test_a_request_is_edited_and_prices_are_kept(
    chats, watched: Page, live_server, log_in, findings
):
    page = watched
    log_in(page)
    page.goto(live_server.url + ONE)
    expect(page.get_by_role("link", name="Send again")).to_have_count(0)
    chats.upstream_url = (
        "http://127.0.0.1:9/v1"  # without a server nothing would answer
    )
    chats.save()
    page.reload()
    page.get_by_role("link", name="Send again").click()
    expect(page.get_by_label("Text of turn 1")).to_have_value(
        "You are the harbour's pilot. Answer in **Markdown**."
    )
    shot(page, "talk-again")
    assert findings(page, "send again") == []
    page.goto(f"{live_server.url}/projects/harbour/prices")
    expect(page.get_by_role("rowheader", name="gpt-4o*")).to_be_visible()
    shot(page, "talk-prices")
    assert findings(page, "prices") == []


def test_nothing_that_others_wrote_acts_or_asks_another_host(
    store, project, make_inference, watched: Page, live_server, log_in
):
    """``watched`` fails for each request to another host, and for each violation of the policy."""
    page = watched
    model = chat_model(project)
    call = {"id": BAD, "function": {"name": BAD, "arguments": BAD}}
    parts = [
        {"type": "text", "text": BAD},
        {"type": "image_url", "image_url": {"url": "https://evil.example/d.png"}},
        {"type": "image_url", "image_url": {"url": f"data:image/svg+xml,{BAD}"}},
        {
            "type": "file",
            "file": {"filename": BAD, "file_data": f"data:text/html,{BAD}"},
        },
        {
            "type": "input_audio",
            "input_audio": {"data": "https://evil.example/e", "format": BAD},
        },
        {"type": BAD, BAD: BAD},
    ]
    messages = [
        {"role": BAD, "name": BAD, "content": BAD},
        said("user", parts),
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": BAD, "content": BAD},
    ]
    request = {"messages": messages, "tools": [{"function": {"name": BAD}}], BAD: BAD}
    answer = answer_of(BAD, BAD, model=BAD)
    answer["choices"][0]["message"]["reasoning"] = BAD
    store_chat(
        make_inference, model, request, answer, {"session": BAD}, inference_id="a"
    )
    store_chat(
        make_inference, model, request, answer, {"session": BAD}, inference_id="b"
    )
    log_in(page)

    for address in (
        "/inferences",
        "/inferences/a",
        "/inferences/a?texts=plain&choice=1",
        "/inferences/a/turns",
        "/compare?b=b",
        "/try?again=a",
    ):
        page.goto(live_server.url + MODEL + address)
        page.evaluate(
            "for (const each of document.querySelectorAll('details')) each.open = true"
        )
        page.wait_for_load_state("networkidle")
        assert page.evaluate("window.hit") is None, address
        sources = page.locator("main [src]").evaluate_all(
            "all => all.map(one => one.src)"
        )
        assert all(each.startswith(live_server.url) for each in sources), address
        links = page.locator("main a").evaluate_all(
            "all => all.map(one => new URL(one.href.baseVal ?? one.href, location).protocol)"
        )
        assert {*links} <= {"http:", "https:"}, address


def test_the_rest_of_long_turns_comes_when_it_is_asked_for(
    store, project, make_inference, watched: Page, live_server, log_in
):
    page = watched
    model = chat_model(project)
    messages = [
        said("user", f"turn {n} " + "x" * (30_000 if not n else 0)) for n in range(90)
    ]
    store_chat(
        make_inference,
        model,
        {"messages": messages},
        answer_of("the end"),
        inference_id="a",
    )
    log_in(page)
    page.goto(f"{live_server.url}{MODEL}/inferences/a")
    expect(page.locator("#conversation .turn")).to_have_count(41)
    page.get_by_role("link", name="Show more: 10,007 characters are left").click()
    expect(page.locator("#t0 .rest")).to_contain_text("x" * 10_000)
    page.get_by_role("link", name="Show the rest: 50 more turns").click()
    expect(page.locator("#conversation .turn")).to_have_count(81)
    page.get_by_role("link", name="Show the rest: 10 more turns").click()
    expect(page.locator("#conversation .turn")).to_have_count(91)
