from __future__ import annotations

import json
from argparse import ArgumentParser
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.dateparse import parse_date, parse_datetime

from istore.checks import verification
from istore.db import clock
from istore.models import Project


class Command(BaseCommand):
    help = (
        "Look whether the store keeps its promises. Exit status 0: it does; "
        "1: there are findings; 2: not all could be looked at."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--project", help="look at this project alone")
        parser.add_argument(
            "--since", help="a day or time, UTC: what happened from it on"
        )
        parser.add_argument(
            "--deep", action="store_true", help="read every blob and hash it again"
        )
        parser.add_argument(
            "--repair", action="store_true", help="mend what can be mended"
        )
        parser.add_argument(
            "--json", action="store_true", help="a line of JSON for each finding"
        )

    def handle(
        self,
        *,
        project: str | None,
        since: str | None,
        deep: bool,
        repair: bool,
        json: bool,
        **options: Any,
    ) -> None:
        scope = verification.Scope(
            clock.now(), _project(project), _moment(since), deep, repair
        )
        report = verification.report(scope)
        for finding in report.findings():
            self._line(finding.as_dict() if json else finding)
        if json:
            self._line(report.as_dict())
        else:
            self._tell(report)
        if report.exit_code:
            raise SystemExit(report.exit_code)

    def _line(self, finding: object) -> None:
        text = (
            json.dumps(finding, default=str)
            if isinstance(finding, dict)
            else str(finding)
        )
        self.stdout.write(text.replace("\n", " "))

    def _tell(self, report: verification.Report) -> None:
        total = sum(report.found.values())
        noun = "finding" if total == 1 else "findings"
        mended = f", {report.repaired} repaired" if report.repaired else ""
        unfinished = len(report.unfinished)
        left = f", {unfinished} unfinished" if unfinished else ""
        self._line(f"{len(report.names)} checks{left}, {total} {noun}{mended}.")
        for name, why in report.unfinished.items():
            self.stderr.write(f"{name} is unfinished: {why}")


def _project(project_id: str | None) -> Project | None:
    if project_id is None:
        return None
    found = Project.objects.filter(project_id=project_id).first()
    if found is None:
        raise CommandError(f"There is no project {project_id}.", returncode=2)
    return found


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = parse_datetime(text)
        if moment is None and (day := parse_date(text)):
            moment = datetime.combine(day, datetime.min.time())
    except ValueError:
        moment = None
    if moment is None:
        message = f"{text!r} is not a day or time such as 2026-01-31."
        raise CommandError(message, returncode=2)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
