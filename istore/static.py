"""Static files with hashed names, compressed once when they are collected."""

from __future__ import annotations

from typing import Any

from whitenoise.storage import CompressedManifestStaticFilesStorage


class StaticStorage(CompressedManifestStaticFilesStorage):
    def create_compressor(self, **options: Any) -> Any:
        # Brotli is used whenever it can be imported, and takes 28 s instead of 2.
        return super().create_compressor(**{**options, "use_brotli": False})
