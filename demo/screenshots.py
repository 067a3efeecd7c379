"""Pictures of the pages for the documentation, taken of a running store.

``python -m demo.screenshots --user admin`` asks for the password, or reads it from
``ISTORE_PASSWORD``. Each page is taken in light and dark at a desk, and on a phone.
"""

from __future__ import annotations

import argparse
import getpass
import io
import os
import shutil
from pathlib import Path
from typing import Literal

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

TO = Path(__file__).resolve().parent.parent / "docs" / "screenshots"
DESK, PHONE = (1440, 900), (390, 844)
SCREENS: tuple[tuple[str, tuple[int, int], Literal["light", "dark"]], ...] = (
    ("", DESK, "light"),
    ("-dark", DESK, "dark"),
    ("-phone", PHONE, "light"),
)
WIDTH, BYTES = 1200, 64_000
QUALITIES = (72, 60, 48, 36, 28)  # the best within so many bytes, else the last
MODEL = "/models/face-detector"
PAGES = {
    "models": "/",
    "browse": f"{MODEL}/inferences?view=gallery&metadata=camera=north&max_score=0.9",
    "table": f"{MODEL}/inferences?view=table&density=compact&label=face",
    "patches": f"{MODEL}/inferences?view=patches",
    "review": f"{MODEL}/review",
    "tabular": "/models/wine-classifier/inferences",
    "map": "/models/digit-embedder/embeddings",
    "datasets": "/datasets",
    "statistics": f"{MODEL}/statistics?of=camera:string",
    "quality": f"{MODEL}/quality",
    "storage": f"{MODEL}/retention",
    "exports": f"{MODEL}/exports/new",
    "try": f"{MODEL}/try",
}

# The page of the first inference of a list.
FIRST_OF = {
    "inference": f"{MODEL}/inferences?label=face&min_score=0.9",
    "conversation": "/models/store-guide/inferences?view=gallery&status=ok",
}


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="demo.screenshots", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--url", default="http://localhost:8000")
    parser.add_argument("--user", default="admin")
    return parser.parse_args()


def log_in(page: Page, url: str, user: str, password: str) -> None:
    page.goto(f"{url}/login")
    page.get_by_label("User name").fill(user)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("heading", name="Models").wait_for()


def take(page: Page, name: str) -> None:
    page.wait_for_load_state("networkidle")
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    picture.thumbnail((WIDTH, WIDTH))
    for quality in QUALITIES:
        made = io.BytesIO()
        picture.save(made, "WEBP", quality=quality, method=6)
        if made.tell() <= BYTES:
            break
    (TO / f"{name}.webp").write_bytes(made.getvalue())


def take_all(browser: Browser, url: str, user: str, password: str) -> None:
    for suffix, (width, height), scheme in SCREENS:
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=scheme,
            reduced_motion="reduce",
        )
        page = context.new_page()
        log_in(page, url, user, password)
        for name, path in PAGES.items():
            page.goto(url + path)
            take(page, name + suffix)
        for name, path in FIRST_OF.items():
            page.goto(url + path)
            # By its address: a click would open it beside the list.
            first = page.locator(".card .id a").first.get_attribute("href")
            page.goto(url + (first or ""))
            take(page, name + suffix)
        context.close()


def main() -> None:
    options = parsed()
    password = os.environ.get("ISTORE_PASSWORD") or getpass.getpass()
    found = os.environ.get("ISTORE_CHROMIUM") or shutil.which("chromium")
    arguments = ["--no-sandbox"] if os.getuid() == 0 else []
    TO.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=arguments)
        take_all(browser, options.url.rstrip("/"), options.user, password)
        browser.close()


if __name__ == "__main__":
    main()
