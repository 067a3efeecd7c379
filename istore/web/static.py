"""Static files with hashed names, compressed once when they are collected."""

from __future__ import annotations

from typing import Any

from whitenoise.storage import CompressedManifestStaticFilesStorage

IMPORTS = r"""(?P<matched>from "(?P<url>\./[^"]+)")"""


class StaticStorage(CompressedManifestStaticFilesStorage):
    """Django's storage of hashed static files, with cached URLs."""

    # Our modules import the hashed names of others, so that a page runs modules of one release.
    # Django's own setting would do so in modules of others, too, of which some import what is
    # not there.
    patterns = (
        *CompressedManifestStaticFilesStorage.patterns,
        ("js/*.js", ((IMPORTS, 'from "%(url)s"'),)),
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._addresses: dict[str, str] = {}

    def url(self, name: str, force: bool = False) -> str:
        """Return the URL of a file, cached: a page of icons needs a hundred."""
        if force:
            address: str = super().url(name, force)
            return address
        if name not in self._addresses:
            self._addresses[name] = super().url(name)
        return self._addresses[name]

    def create_compressor(self, **options: Any) -> Any:
        # WhiteNoise uses Brotli if it can be imported; that takes 28 s instead of 2.
        return super().create_compressor(**{**options, "use_brotli": False})
