"""The REST API of services and sessions: each view parses, calls ``sessions``, answers."""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

from django.db.models import QuerySet
from django.http import Http404
from django.http.response import HttpResponseBase
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.authentication import SessionAuthentication
from rest_framework.exceptions import PermissionDenied
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from inferences.store.api.scoped_views import StoreView
from istore.accounts.access import Caller, caller_of
from istore.api.access import RolePermission
from istore.api.idempotency import Repeated
from istore.api.schema import PROBLEMS
from istore.db.clock import now
from istore.errors import Invalid, Unavailable
from istore.models import Project, Role
from services import proxy_relay, session_reaper, sessions
from services.api.access import SessionBearerAuthentication, bearer_of
from services.api.serializers import (
    NewMockSerializer,
    NewServiceSerializer,
    NewSessionSerializer,
    NewTokenSerializer,
    ReadySerializer,
    ServiceSerializer,
    ServicesSerializer,
    SessionAndTokenSerializer,
    SessionSerializer,
    SessionsSerializer,
    TokenSerializer,
)
from services.models import (
    InferenceService,
    InferenceSession,
    SessionToken,
    Status,
)

LIMIT, LIMIT_MAX = 50, 1000
PAGING = [
    OpenApiParameter("limit", int, description="1 to 1000, 50 unless given."),
    OpenApiParameter("cursor", str, description="The ``next`` of the page before."),
    OpenApiParameter("account", str, description="Only those of this account."),
]
AGAIN_IN_SECONDS = 1


class ServicesView(StoreView):
    """The services of the caller's projects; describing another."""

    @extend_schema(
        operation_id="list_inference_services",
        parameters=PAGING,
        responses={200: ServicesSerializer, **PROBLEMS},
    )
    def get(self, request: Request) -> Response:
        services = InferenceService.objects.visible_to(self.caller)
        return _page(request, services.select_related("project"), ServiceSerializer)

    @extend_schema(
        operation_id="create_inference_service",
        request=NewServiceSerializer,
        responses={201: ServiceSerializer, **PROBLEMS},
    )
    def post(self, request: Request) -> Response:
        return self._created(NewServiceSerializer.parse(request.data))

    def _created(self, values: dict[str, Any]) -> Response:
        project = project_for(self.caller, values["account"])
        values["model_id"] = values.get("model_id") or ""
        service = sessions.create_service(self.caller, project, **values)
        return Response(ServiceSerializer(service).data, status=201)


class MockServicesView(ServicesView):
    """Services that simulate."""

    http_method_names = ("post", "options")

    @extend_schema(
        operation_id="create_mock_inference_service",
        request=NewMockSerializer,
        responses={201: ServiceSerializer, **PROBLEMS},
    )
    def post(self, request: Request) -> Response:
        return self._created(NewMockSerializer.parse(request.data))


class ServiceView(StoreView):
    """One service."""

    @extend_schema(
        operation_id="get_inference_service",
        responses={200: ServiceSerializer, **PROBLEMS},
    )
    def get(self, request: Request, service_id: str) -> Response:
        return Response(ServiceSerializer(self._service(service_id)).data)

    @extend_schema(
        operation_id="delete_inference_service", responses={204: None, **PROBLEMS}
    )
    def delete(self, request: Request, service_id: str) -> Response:
        sessions.remove_service(self.caller, self._service(service_id))
        return Response(status=204)

    def _service(self, service_id: str) -> InferenceService:
        seen = InferenceService.objects.visible_to(self.caller)
        service = seen.filter(pk=read_id(service_id)).select_related("project").first()
        if service is None:
            raise Http404
        require_role(self, service.project)
        return service


class SessionsView(StoreView):
    """The sessions of the caller's projects; starting another."""

    @extend_schema(
        operation_id="list_inference_sessions",
        parameters=[
            *PAGING,
            OpenApiParameter("inferenceService", str, description="Of this service."),
            OpenApiParameter("status", str, enum=Status.values),
        ],
        responses={200: SessionsSerializer, **PROBLEMS},
    )
    def get(self, request: Request) -> Response:
        found = InferenceSession.objects.visible_to(self.caller)
        if service := request.query_params.get("inferenceService"):
            found = found.filter(service=read_id(service))
        if status := request.query_params.get("status"):
            if status not in Status.values:
                raise Invalid(f"One of {', '.join(Status.values)}.", "status")
            found = found.filter(status=status)
        found = found.select_related("service__project")
        more = ("inferenceService", "status")
        return _page(request, found, SessionSerializer, more)

    @extend_schema(
        operation_id="create_inference_session",
        request=NewSessionSerializer,
        responses={201: SessionAndTokenSerializer, **PROBLEMS},
    )
    def post(self, request: Request) -> Response:
        values = NewSessionSerializer.parse(request.data)
        service = self._service(values["inferenceService"])
        session, secret = sessions.start_session(
            self.caller,
            service,
            account=values.get("account", ""),
            replicas=values["replicas"],
            expires_at=values.get("expires"),
        )
        return Response(_with_secret(session, secret), status=201)

    def _service(self, given: str) -> InferenceService:
        seen = InferenceService.objects.visible_to(self.caller)
        service = seen.filter(pk=read_id(given)).select_related("project").first()
        if service is None:
            raise Invalid("There is no such service.", "inferenceService")
        require_role(self, service.project)
        return service

    # A repeated request gets the same session. The secret is stored nowhere, so the
    # repeat gets a new one.

    def finalize_response(
        self, request: Request, response: Any, *args: Any, **kwargs: Any
    ) -> Any:
        data: Any = getattr(response, "data", None)
        secret = data.get("token") if self.call and isinstance(data, dict) else None
        if secret:
            response.data = {"inferencesession": data["inferencesession"]}
        response = super().finalize_response(request, response, *args, **kwargs)
        if secret:
            response.data = data
        return response

    def handle_exception(self, exc: Exception) -> Response:
        if isinstance(exc, Repeated) and "inferencesession" in exc.response.data:
            try:
                return self._repeated(exc.response.data["inferencesession"]["id"])
            except Exception as error:
                exc = error
        return super().handle_exception(exc)

    def _repeated(self, session_id: str) -> Response:
        session = find_session(self, session_id)
        secret = sessions.issue_token(self.caller, session)
        return Response(_with_secret(session, secret), status=201)


class SessionView(StoreView):
    """One session, for its project and for whoever holds a token of it."""

    authentication_classes = (SessionBearerAuthentication, SessionAuthentication)

    @extend_schema(
        operation_id="get_inference_session",
        responses={200: SessionSerializer, **PROBLEMS},
    )
    def get(self, request: Request, session_id: str) -> Response:
        return Response(SessionSerializer(find_session(self, session_id)).data)


class SessionTokensView(StoreView):
    """Further tokens of a session."""

    @extend_schema(
        operation_id="create_inference_session_token",
        request=NewTokenSerializer,
        responses={201: TokenSerializer, **PROBLEMS},
    )
    def post(self, request: Request, session_id: str) -> Response:
        session = find_session(self, session_id)
        expires = NewTokenSerializer.parse(request.data).get("expires")
        if expires and expires <= now():
            raise Invalid("This moment has passed.", "expires")
        secret = sessions.issue_token(self.caller, session, expires)
        return Response({"token": secret}, status=201)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        # Idempotency would store the secret for a day. So a repeat creates a further token.
        request._request.META.pop("HTTP_IDEMPOTENCY_KEY", None)
        super().initial(request, *args, **kwargs)


class TerminateView(StoreView):
    """The end of a session, which is for good."""

    @extend_schema(
        operation_id="terminate_inference_session",
        request=None,
        responses={200: SessionSerializer, **PROBLEMS},
    )
    def post(self, request: Request, session_id: str) -> Response:
        session = find_session(self, session_id)
        session = sessions.terminate_session(self.caller, session)
        return Response(SessionSerializer(session).data)


class ReadyView(StoreView):
    """Whether a session can be called: 200; 202 while it is starting; 409 when it has
    ended."""

    authentication_classes = (SessionBearerAuthentication, SessionAuthentication)

    @extend_schema(
        operation_id="is_inference_session_ready",
        responses={200: ReadySerializer, 202: ReadySerializer, **PROBLEMS},
    )
    def get(self, request: Request, session_id: str) -> Response:
        session = find_session(self, session_id)
        session_reaper.look(session)
        if problem := sessions.state_problem(session, now()):
            raise problem
        is_ready = session.status == Status.READY
        response = Response({"ready": is_ready, "status": session.status})
        if not is_ready:
            response.status_code = 202
            response["Retry-After"] = str(AGAIN_IN_SECONDS)
        return response


class AnyForm(BaseContentNegotiation):
    """What the session answers decides; the caller's wish is passed on to it."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        return parsers[0]

    def select_renderer(
        self, request: Request, renderers: Any, format_suffix: Any = None
    ) -> Any:
        return renderers[0], renderers[0].media_type


class InferView(APIView):
    """A call of a session, passed on to the proxy and back."""

    passes_on = True  # the body stays encoded as it came

    authentication_classes = (SessionBearerAuthentication, SessionAuthentication)
    permission_classes = (RolePermission,)
    content_negotiation_class = AnyForm
    needs: ClassVar[dict[str, Role]] = {}

    @property
    def caller(self) -> Caller:
        return caller_of(self.request)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        # The CSRF check would parse the body as a form, and leave nothing to pass on.
        self.body = request._request.body
        super().initial(request, *args, **kwargs)

    @extend_schema(
        operation_id="infer",
        request={"application/json": {}},
        responses={
            200: OpenApiResponse({}, description="What the service answers."),
            502: OpenApiResponse({}, description="Its server does not answer well."),
            504: OpenApiResponse({}, description="Its server does not answer in time."),
            **PROBLEMS,
        },
    )
    def post(
        self, request: Request, session_id: str, endpoint: str
    ) -> HttpResponseBase:
        session = find_session(self, session_id)
        if problem := sessions.state_problem(session, now()):
            raise problem
        if endpoint != session.service.endpoint:
            raise Http404
        if session.status != Status.READY:
            session_reaper.look(session)
        if session.status != Status.READY:
            message = "The session is starting. Try again soon."
            raise Unavailable("session-starting", message, retry_after=1)
        secret = bearer_of(request) or sessions.short_lived_token(self.caller, session)
        return proxy_relay.passed_back(
            *proxy_relay.ask(session, endpoint, secret, self.body, request.headers)
        )


def project_for(caller: Caller, account: str) -> Project:
    """Return the project of a new service of the account.

    A token belongs to one project, and the account is a name within it. A person must name
    the project, unless there is only one to choose from.
    """
    if caller.token:
        project = caller.token.project
        if not caller.may(Role.EDITOR, project):
            raise PermissionDenied("This needs the role editor.")
        return project
    named = caller.visible_projects().filter(project_id=account).first()
    if named is not None:
        if not caller.may(Role.EDITOR, named):
            raise PermissionDenied("This needs the role editor.")
        return named
    edited = list(caller.visible_projects(Role.EDITOR)[:2])
    if len(edited) != 1:
        raise Invalid("There is no such project.", "account")
    return edited[0]


def find_session(view: Any, session_id: str) -> InferenceSession:
    """Return the session, for a token of it or a caller with the role that the call needs."""
    auth, pk = view.request.auth, read_id(session_id)
    if isinstance(auth, SessionToken):
        if auth.session_id != pk:
            raise Http404
        return auth.session
    seen = InferenceSession.objects.visible_to(view.caller)
    session = seen.filter(pk=pk).select_related("service__project").first()
    if session is None:
        raise Http404
    require_role(view, session.service.project)
    return session


def require_role(view: Any, project: Project) -> None:
    role = RolePermission.role(view.request, view)
    if role != Role.VIEWER and not view.caller.may(role, project):
        raise PermissionDenied(f"This needs the role {role.label.lower()}.")


def read_id(text: str) -> uuid.UUID:
    """Return the id of a text; 404 if it is not a UUID, as nothing can have that id."""
    try:
        return uuid.UUID(hex=text)
    except ValueError:
        raise Http404 from None


def _with_secret(session: InferenceSession, secret: str) -> dict[str, Any]:
    return {
        "inferencesession": SessionSerializer(session).data,
        "token": secret,
        "session": secret,
    }


def _page(
    request: Request,
    rows: QuerySet[Any],
    serializer: type,
    more: tuple[str, ...] = (),
) -> Response:
    """Return a page of the rows after the cursor, newest first."""
    given = request.query_params
    for name in given:
        if name not in ("limit", "cursor", "account", *more):
            raise Invalid("There is no such parameter.", name, code="unknown-parameter")
    limit = _limit(given.get("limit"))
    if account := given.get("account"):
        rows = rows.filter(account=account)
    if cursor := given.get("cursor"):
        try:
            rows = rows.filter(pk__lt=uuid.UUID(hex=cursor))
        except ValueError:
            raise Invalid("This is not a cursor of ours.", "cursor") from None
    found = list(rows[: limit + 1])
    more_follow, found = len(found) > limit, found[:limit]
    results = serializer(found, many=True).data
    last = found[-1].pk.hex if more_follow else None
    return Response({"results": results, "next": last})


def _limit(given: str | None) -> int:
    if given is None:
        return LIMIT
    limit = (
        int(given) if given.isascii() and given.isdecimal() and len(given) < 5 else 0
    )
    if not 1 <= limit <= LIMIT_MAX:
        raise Invalid(f"A whole number from 1 to {LIMIT_MAX}.", "limit")
    return limit
