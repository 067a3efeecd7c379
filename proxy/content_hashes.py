"""Content hashes of the records of a call, computed as capture and listener compute them.

Large calls are parsed in a parser process (``parser_processes``), which has to set up Django
first: the models define what a content hash is made of.
"""

from __future__ import annotations

import logging

import django
from django.apps import apps

from protocols.open_inference import is_in_parts, read_response
from proxy.spool.entries import SpoolEntry
from services.plain_batches import comes_in_as_many

log = logging.getLogger(__name__)


def comes_in_parts(answer: bytes, header_length: int | None, count: int) -> bool:
    """Return whether the answer comes in this many parts; False if it cannot be parsed."""
    try:
        return is_in_parts(read_response(answer, header_length), count)
    except ValueError:
        return False
    except Exception:
        log.exception("An answer could not be taken apart")
        return False


def plain_comes_in_parts(
    answer: bytes, request: bytes, task_type: str, count: int
) -> bool:
    """Return whether a plain JSON answer comes in as many parts as the request has inputs."""
    return comes_in_as_many(request, task_type, answer, count)


def content_hashes_of(payload: bytes) -> list[bytes]:
    """Return the content hashes of a spool entry, one for each part of its request."""
    if not apps.ready:
        django.setup()
    from ingest.record_builder import content_hash_of
    from proxy.capture.artifacts import prepare

    return [content_hash_of(each.marker) for each in prepare(SpoolEntry.read(payload))]
