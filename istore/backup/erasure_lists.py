"""Erasures that are newer than a backup: a list of them, and proofs to check it against.

A restore brings back what was erased after the backup was made. A line of the list is a JSON
object with ``project``, ``key``, ``type`` and ``value``, as the API takes it. A proof is the
report of an erasure, as the API gives it: it tells by a salted digest which value was meant, and
so whether the list has it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from istore.errors import BadInput

FIELDS = ("project", "key", "type", "value")


def read_list(path: Path) -> list[dict[str, str]]:
    """Return the erasures of a list. Raises ``BadInput`` for a line that is none."""
    found = []
    for number, line in enumerate(_read(path).splitlines(), 1):
        if not line.strip():
            continue
        try:
            given = json.loads(line)
            found.append({name: str(given[name]) for name in FIELDS})
        except (ValueError, TypeError, KeyError):
            raise BadInput(
                "erasure-list",
                f"{path}, line {number}: not an object with project, key, type and value.",
            ) from None
    return found


def read_proofs(path: Path) -> list[dict[str, Any]]:
    """Return the proofs of a file: one report, a list of them, or one on each line."""
    text = _read(path)
    try:
        try:
            given = json.loads(text)
        except ValueError:
            given = [json.loads(line) for line in text.splitlines() if line.strip()]
        if isinstance(given, dict):
            given = given.get("results", given.get("items", [given]))
        for each in given:
            bytes.fromhex(each["salt"]), each["value_digest"], each["id"]
            datetime.fromisoformat(each["created_at"])
    except (ValueError, TypeError, KeyError, AttributeError):
        raise BadInput(
            "erasure-proofs", f"{path} does not hold reports of erasures."
        ) from None
    return list(given)


def not_listed(
    proofs: Sequence[Mapping[str, Any]],
    erasures: Sequence[Mapping[str, str]],
    snapshot_at: datetime,
) -> Iterator[str]:
    """Yield the id of each erasure that is newer than a snapshot and not among the list."""
    for proof in proofs:
        finished = proof.get("finished_at") or proof["created_at"]
        if proof.get("dry_run") or datetime.fromisoformat(finished) < snapshot_at:
            continue
        salt = bytes.fromhex(proof["salt"])
        digests = {_digest(salt, each) for each in erasures}
        if proof["value_digest"] not in digests:
            yield str(proof["id"])


def _digest(salt: bytes, erasure: Mapping[str, str]) -> str:
    parts = (erasure[name].encode() for name in ("key", "type", "value"))
    return hashlib.sha256(b"\0".join([salt, *parts])).hexdigest()


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput("erasure-list", f"{path} cannot be read: {error}") from None
