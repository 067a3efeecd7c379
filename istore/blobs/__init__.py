"""Blob storage: put, open, list, sign and delete objects in Django's default storage.

A put that returned is durable: a completed PUT at the object store, or a file that was
fsynced together with the directory that holds it. ``keys.py`` says how keys are made. Callers
write ``from istore import blobs``; what works on one kind of storage alone stays in its module.
"""

from istore.blobs.errors import BlobDamaged, BlobsLeft, BucketAway
from istore.blobs.keys import ANSWER, INPUT, METADATA, copy_name, prefix_for
from istore.blobs.links import key_of_link, presigned_url
from istore.blobs.local_storage import LocalStorage
from istore.blobs.objects import (
    costs_by_request,
    count_old_versions,
    current_key,
    delete,
    exists,
    files_in,
    get,
    listed,
    listed_sizes,
    old_versions,
    open_blob,
    open_unmoved,
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
    "BlobsLeft",
    "BucketAway",
    "LocalStorage",
    "Stored",
    "copy_name",
    "costs_by_request",
    "count_old_versions",
    "current_key",
    "delete",
    "exists",
    "files_in",
    "get",
    "key_of_link",
    "listed",
    "listed_sizes",
    "old_versions",
    "open_blob",
    "open_unmoved",
    "open_uploads",
    "prefix_for",
    "presigned_url",
    "probe",
    "put",
    "size",
    "trouble",
    "walk",
]
