"""Dockerfile and compose.yml: linters, and what they name of the repository."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import yaml

from supervisor.management.commands import make_secrets, run

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(sys.executable).parent
COMPOSE = yaml.safe_load((ROOT / "compose.yml").read_text())


def test_hadolint_finds_nothing_in_the_dockerfile():
    check(PROGRAMS / "hadolint", "Dockerfile")


def test_compose_fits_its_schema():
    schema = ("--builtin-schema", "vendor.compose-spec")
    check(PROGRAMS / "check-jsonschema", *schema, "compose.yml")


def check(*command: str | Path) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_compose_runs_every_role_once():
    roles = [
        service["environment"]["ISTORE_ROLE"]
        for service in COMPOSE["services"].values()
        if "ISTORE_ROLE" in (service.get("environment") or {})
    ]
    assert sorted(roles) == sorted({*run.ROLES} - {"sessions"})


def test_every_secret_that_compose_names_is_made():
    named = set(re.findall(r"/run/istore/(\w+)", (ROOT / "compose.yml").read_text()))
    scripts = [path.read_text() for path in (ROOT / "deploy/compose").glob("*.sh")]
    named |= set(re.findall(r"[^\w]/?(\w+_(?:key|password))\"?\)", "".join(scripts)))
    assert named == {*make_secrets.NAMES}


def test_every_service_of_the_store_is_confined():
    for name, service in COMPOSE["services"].items():
        if not service["image"].startswith("inference-store:"):
            continue
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name


def test_compose_publishes_on_this_machine_unless_told_otherwise():
    ports = [p for s in COMPOSE["services"].values() for p in s.get("ports", ())]
    assert len(ports) == 3
    assert all(port.startswith("${ISTORE_BIND:-127.0.0.1}:") for port in ports)


def test_the_image_gets_what_its_wheels_are_built_from():
    """An ignored directory would be missing in the image alone."""
    project = (ROOT / "pyproject.toml").read_text()
    (wheel,) = re.findall(r"targets\.sdist\]\nonly-include = \[(.*?)\]", project, re.S)
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for path in re.findall(r'"(.*?)"', wheel):
        assert any(line.startswith(f"!{path}") for line in ignored), path
