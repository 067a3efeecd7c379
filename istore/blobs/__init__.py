"""Blob storage: put, open, list, sign and delete objects in Django's default storage.

A put that returned is durable: a completed PUT at the object store, or a file that was
fsynced together with the directory that holds it. ``keys.py`` says how keys are made. Callers
write ``from istore import blobs``; what works on one kind of storage alone stays in its module.
"""

from istore.blobs.errors import BlobDamaged, BucketAway, PackDamaged
from istore.blobs.keys import ANSWER, INPUT, METADATA, MemberKey, pack_key, prefix_for
from istore.blobs.links import key_of_link, presigned_url
from istore.blobs.local_storage import LocalStorage
from istore.blobs.members import is_released, read_ranges, release
from istore.blobs.objects import (
    delete,
    get,
    listed,
    open_blob,
    open_uploads,
    probe,
    put,
    size,
    trouble,
    walk,
)
from istore.blobs.stored import Stored

__all__ = [
    "ANSWER",
    "INPUT",
    "METADATA",
    "BlobDamaged",
    "BucketAway",
    "LocalStorage",
    "MemberKey",
    "PackDamaged",
    "Stored",
    "delete",
    "get",
    "is_released",
    "key_of_link",
    "listed",
    "open_blob",
    "open_uploads",
    "pack_key",
    "prefix_for",
    "presigned_url",
    "probe",
    "put",
    "read_ranges",
    "release",
    "size",
    "trouble",
    "walk",
]
