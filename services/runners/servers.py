"""HTTP servers of services: the path of a call, and how to probe readiness."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import quote, urlsplit

from istore.upstreams import check_upstream_url
from services.runners import config_fields
from services.runners.config_fields import BadConfiguration

V2, OPENAI, JSON = "v2", "openai", "json"
PROTOCOLS = (V2, OPENAI, JSON)
IN_A_PATH = "/:@!$&'()*+,;=~"


@dataclass(frozen=True, slots=True)
class Dialect:
    """The protocol of a server: ``v2`` (Open Inference Protocol), ``openai`` or ``json``.

    ``model`` is the name of the model there (V2 only). ``ready`` is a path that answers 2xx
    once the server can be called; without one the protocol's own path is used.
    """

    protocol: str = JSON
    model: str = ""
    ready: str = ""

    NAMES = ("protocol", "model", "ready")

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> Self:
        protocol = config_fields.choice(given, "protocol", PROTOCOLS, JSON)
        model = config_fields.text(given, "model", "")
        ready = config_fields.text(given, "ready", "")
        if protocol == V2 and not model:
            raise BadConfiguration("model", "A V2 server is asked for a model by name.")
        if ready and not ready.startswith("/"):
            raise BadConfiguration("ready", "A path, which begins with a slash.")
        return cls(protocol, model, ready)

    def path(self, endpoint: str) -> str:
        """Return the path of a call of the endpoint, below the URL of the server."""
        if self.protocol == V2:
            return f"/v2/models/{_segment(self.model)}/infer"
        return "/" + quote(endpoint, safe=IN_A_PATH)

    def ready_path(self, base_path: str) -> str:
        if self.ready:
            return quote(self.ready, safe=IN_A_PATH + "?%")
        if self.protocol == V2:
            return f"/v2/models/{_segment(self.model)}/ready"
        if self.protocol == OPENAI:
            return "/models" if base_path.rstrip("/").endswith("/v1") else "/v1/models"
        return "/"

    def means_ready(self, status: int) -> bool:
        """Return whether a probe's status means that the server is ready.

        On a path that nobody configured any status but a failure counts, as the server may
        want a credential or have nothing there.
        """
        if self.ready or self.protocol == V2:
            return 200 <= status < 300
        return status < 500


@dataclass(frozen=True, slots=True)
class UrlServer:
    """A server at a URL, which somebody else runs."""

    url: str
    dialect: Dialect

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> Self:
        """Return the server of a configuration. Its URL is checked as every upstream's is.

        Raises BadConfiguration.
        """
        config_fields.check_names(given, ("url", *Dialect.NAMES))
        url = config_fields.text(given, "url")
        try:
            check_upstream_url(url)
        except ValueError as error:
            raise BadConfiguration("url", str(error)) from None
        return cls(url.rstrip("/"), Dialect.read(given))

    @property
    def ready_url(self) -> str:
        return self.url + self.dialect.ready_path(urlsplit(self.url).path)


def _segment(name: str) -> str:
    return quote(name, safe="") if name.strip(".") else "%2E" * len(name)
