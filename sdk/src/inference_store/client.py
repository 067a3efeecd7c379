"""The blocking client, and ``connect``, which chooses the client of the module functions."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import httpx2

from inference_store import connection, openai_clients
from inference_store.forks import GivenTransport, PerProcess
from inference_store.models.registering import Model as RegisteredModel
from inference_store.models.registering import fetch_model
from inference_store.namespaces import Namespaces
from inference_store.requests import Call, Pause, Plan
from inference_store.retries import Retries
from inference_store.serving import Model
from inference_store.transport import Attempt, read

if TYPE_CHECKING:
    import openai

T = TypeVar("T")


class Client(Namespaces):
    """A connection to a store: the modules of this package as attributes.

    ``Client().inference.count_inferences(…)`` is ``inference.count_inferences(…)`` with
    this client. Threads may share it, and a ``with`` block closes it at its end. After
    a ``fork`` parent and child may both use it: each has connections of its own.

        with Client("https://store.example", "ist_…") as client:
            print(client.register.list_registered_models())

    Parameters:
        url: URL of the store; ``ISTORE_URL`` when not given, else http://127.0.0.1:8000.
        token: token of a project; ``ISTORE_TOKEN`` when not given.
        timeout: seconds that connecting may take, and seconds without a byte sent or
            received after which a call fails. It is no limit of the whole call.
        retries: how often calls that may run twice are repeated.
        transport: an ``httpx2`` transport that sends requests, for tests and special
            networks.
        sleep: a function that waits the given seconds between tries, for tests.

    Raises:
        TypeError: the URL or the token is not a text.
        ValueError: the URL is not valid, or no header can hold the token.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        timeout: float = 30.0,
        retries: Retries | None = None,
        transport: httpx2.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.url, self._token = connection.url_and_token(url, token)
        self._retries = retries or Retries()
        self._sleep = sleep
        self._timeout, self._transport = timeout, transport
        self._given = GivenTransport(transport) if transport else None
        self._pool = PerProcess(self._open_pool)
        self._is_closed = False
        self._pool.get()  # made now, before threads could each make one of their own
        super().__init__(self)

    def get_model(self, model_id: str) -> Model:
        """Return the model to call, as ``inference_store.get_model`` does, with this client."""
        return self.serve(self.send(fetch_model(model_id)))

    def serve(self, resource: RegisteredModel) -> Model:
        """Return the model to call, of a registered model that was fetched before."""
        return Model(self, resource)

    def openai(
        self, model_id: str, api_key: str | None = None, **options: Any
    ) -> openai.OpenAI:
        """Return a client of OpenAI's package that calls a model through the proxy.

        Parameters:
            model_id: the registered model whose inferences the calls become.
            api_key: the key for the model server, if it needs one.
            options: further parameters of ``openai.OpenAI``.

        Raises:
            NotFound: the store does not know the model.
            ImportError: the package ``openai`` is not installed.
        """
        package = openai_clients.load()
        model = self.get_model(model_id)
        given = openai_clients.arguments_of(model, self._token, api_key)
        client: openai.OpenAI = package.OpenAI(**given | options)
        return client

    def run(self, plan: Plan[T]) -> T:
        """Send one call, or several as steps, and return their result."""
        if isinstance(plan, Call):
            return self.send(plan)
        answer: Any = None
        while True:
            try:
                step = plan.send(answer)
            except StopIteration as end:
                result: T = end.value
                return result
            answer = None
            if isinstance(step, Pause):
                self._sleep(step.seconds)
            else:
                answer = self.run(step)

    def send(self, call: Call[T]) -> T:
        """Send one call, retry it where that is allowed, and return what its answer means."""
        attempt = Attempt(call, self.url, self._token, self._retries)
        while True:
            try:
                # Taken anew for each try: the process may fork while it sleeps between two.
                response = self._pool.get().request(**attempt.request)
            except httpx2.TransportError as error:
                wait = attempt.wait_after_failure(error)
            else:
                again = attempt.wait_after(response)
                if again is None:
                    return read(call, response)
                wait = again
            self._sleep(wait)

    def close(self) -> None:
        """Close the connections. The client cannot be used afterwards.

        In a forked child the connections of the parent stay open.
        """
        self._is_closed = True
        if pool := self._pool.take():
            pool.close()

    def _open_pool(self) -> httpx2.Client:
        if self._is_closed:
            raise RuntimeError("The client was closed.")
        if self._given:
            self._given.check()
        return httpx2.Client(timeout=self._timeout, transport=self._transport)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client({self.url!r})"


def connect(url: str | None = None, token: str | None = None, **options: Any) -> Client:
    """Connect the functions of the modules to a store, and return the client.

    Nothing is sent yet, so a wrong token or address shows at the first call.

    Parameters:
        url: URL of the store; ``ISTORE_URL`` when not given, else http://127.0.0.1:8000.
        token: token of a project; ``ISTORE_TOKEN`` when not given.
        options: further parameters of ``Client``.

    Returns:
        The client. It may be kept and used on its own.

    Raises:
        TypeError: the URL or the token is not a text.
        ValueError: the URL is not valid, or no header can hold the token.
    """
    if connection.current:
        connection.current.close()
    connection.current = Client(url, token, **options)
    return connection.current


def get_model(model_id: str) -> Model:
    """Return a registered model, to call it through the proxy.

    Parameters:
        model_id: the model's id.

    Returns:
        The model, with ``predict``, ``predict_proba``, ``detect``, ``embed`` and
        ``set_inference_server_settings``. Example:
        ``get_model("harbour-detector").detect("quay.png")["outputs"]``.

    Raises:
        NotFound: the store does not know the model.
        InferenceStoreError: any other failure.
    """
    client = connection.get_client()
    return Model(client, client.run(fetch_model(model_id)))
