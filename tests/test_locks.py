"""The locks and the ranges beside them agree, whatever Python of ours reads them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LOCKS = {
    "requirements.lock": ["requirements.txt"],
    "demo/requirements.lock": ["requirements.txt", "demo/requirements.txt"],
    "requirements-dev.lock": ["requirements.txt", "requirements-dev.txt"],
}
PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
SYSTEMS = [("linux", "Linux"), ("darwin", "Darwin")]
CLIENT = "inference-store"  # of this checkout: installed from ./sdk, without a hash


class Pinned(NamedTuple):
    requirement: Requirement
    hashes: list[str]
    via: str

    @property
    def name(self) -> str:
        return canonicalize_name(self.requirement.name)

    @property
    def version(self) -> str:
        (only,) = self.requirement.specifier
        assert only.operator == "==", self.requirement
        return only.version


def pinned_in(lock: str) -> list[Pinned]:
    text = (ROOT / lock).read_text()
    found = re.findall(
        r"^(\S[^\\\n#]*) \\\n((?: +--hash.*\n)+)((?: +#.*\n)*)", text, re.M
    )
    return [
        Pinned(Requirement(line), re.findall(r"sha256:[0-9a-f]{64}", hashes), via)
        for line, hashes, via in found
    ]


def ranges_in(path: str) -> Iterator[Requirement]:
    for line in (ROOT / path).read_text().splitlines():
        line = line.partition("#")[0].strip()
        if line.startswith("-r "):
            yield from ranges_in(line.removeprefix("-r "))
        elif line.startswith("-e ./sdk"):
            yield from client_ranges("cli" if "[cli]" in line else None)
        elif line:
            yield Requirement(line)


def client_ranges(extra: str | None) -> list[Requirement]:
    project = tomllib.loads((ROOT / "sdk/pyproject.toml").read_text())["project"]
    more = project["optional-dependencies"][extra] if extra else []
    return [Requirement(line) for line in (*project["dependencies"], *more)]


def environments() -> Iterator[dict[str, str]]:
    for python in PYTHONS:
        for platform, system in SYSTEMS:
            yield default_environment() | {
                "python_version": python,
                "python_full_version": f"{python}.9",
                "sys_platform": platform,
                "platform_system": system,
                "platform_python_implementation": "CPython",
                "implementation_name": "cpython",
            }


def chosen_from(pins: list[Pinned], environment: dict[str, str]) -> dict[str, str]:
    """The version of each package that pip installs there."""
    chosen: dict[str, str] = {}
    for pin in pins:
        marker = pin.requirement.marker
        if marker is None or marker.evaluate(environment):
            assert pin.name not in chosen, f"{pin.name} has two versions"
            chosen[pin.name] = pin.version
    return chosen


@pytest.mark.parametrize(("lock", "files"), LOCKS.items())
def test_a_lock_has_a_version_in_each_range_for_every_python(lock, files):
    pins = pinned_in(lock)
    for environment in environments():
        chosen = chosen_from(pins, environment)
        for wanted in (line for path in files for line in ranges_in(path)):
            if wanted.marker and not wanted.marker.evaluate(environment):
                continue
            version = chosen.get(canonicalize_name(wanted.name))
            assert version, f"{wanted} is not in {lock}: run ./scripts/lock"
            assert wanted.specifier.contains(version, prereleases=True), (
                f"{lock} has {wanted.name} {version}, not {wanted}: run ./scripts/lock"
            )


@pytest.mark.parametrize(("lock", "files"), LOCKS.items())
def test_a_lock_keeps_nothing_that_no_range_names_any_more(lock, files):
    named = {canonicalize_name(line.name) for path in files for line in ranges_in(path)}
    direct = {
        pin.name for pin in pinned_in(lock) if re.search(r"via.*\.txt|#   -r ", pin.via)
    }
    assert direct <= named, "run ./scripts/lock"


@pytest.mark.parametrize("lock", LOCKS)
def test_every_line_of_a_lock_has_hashes_and_none_names_a_place(lock):
    text = (ROOT / lock).read_text()
    pins = pinned_in(lock)
    assert len(pins) == len(re.findall(r"^[^\s#]", text, re.M))
    assert all(pin.hashes for pin in pins)
    assert CLIENT not in {pin.name for pin in pins}
    assert not re.search(r"https?:|file:|--index|--extra|--find-links", text)


@pytest.mark.parametrize("lock", ["demo/requirements.lock", "requirements-dev.lock"])
def test_what_is_added_to_the_store_changes_no_version_of_it(lock):
    store, more = pinned_in("requirements.lock"), pinned_in(lock)
    for environment in environments():
        versions = chosen_from(store, environment)
        assert versions.items() <= chosen_from(more, environment).items()
