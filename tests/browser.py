"""The browser of the tests: the system's Chromium, driven by Playwright's wheel."""

from __future__ import annotations

import os
import shutil
from typing import Any

import pytest


class SystemChromium:
    @pytest.fixture(scope="session")
    @classmethod
    def browser_type_launch_args(
        cls, browser_type_launch_args: dict[str, Any]
    ) -> dict[str, Any]:
        names = ("chromium", "chromium-browser", "google-chrome")
        found = [os.environ.get("ISTORE_CHROMIUM"), *map(shutil.which, names)]
        executable = next(filter(None, found), None)
        if executable is None:
            pytest.skip("no Chromium: install it, or name it by ISTORE_CHROMIUM")
        arguments = ["--no-sandbox"] if os.getuid() == 0 else []
        return {
            **browser_type_launch_args,
            "executable_path": executable,
            "args": arguments,
        }


def pytest_configure(config: pytest.Config) -> None:
    # Not at import: of two plugins' fixtures the later one wins, and ours must.
    config.pluginmanager.register(SystemChromium(), "system-chromium")
    # Playwright's loop runs in the test's thread; the ORM would refuse to be used there.
    os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "true")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Files with browser tests come last: Playwright leaves its event loop running in the
    thread, and whoever runs one of their own after it in the same worker fails."""
    files = {item.path for item in items if "page" in getattr(item, "fixturenames", ())}
    items.sort(key=lambda item: item.path in files)
