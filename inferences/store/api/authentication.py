"""Authentication of calls that name a model: token and model are found by one statement.

Nothing is cached. What was revoked, removed or changed before the call is so for the call, for
its rights and its model are read by it, as of one moment.
"""

from __future__ import annotations

from datetime import datetime

from django.db import connection
from rest_framework.request import Request

from inferences.models import RegisteredModel
from istore.accounts.tokens import PREFIX_LENGTH, if_proven
from istore.addresses import named_project
from istore.api.access import Bearer, BearerAuthentication
from istore.db.compiled_queries import Columns
from istore.models import Project, Token

TOKEN = Columns(Token, "token", leave_out=["created_at", "expires_at", "revoked_at"])
PROJECT = Columns(Project, "project", leave_out=["created_at"])
MODEL = Columns(RegisteredModel, "model")
# The unique indexes of the prefix, and of project and model id, serve it.
FIND = (
    f"SELECT clock_timestamp(), {TOKEN.sql}, {PROJECT.sql}, {MODEL.sql}"
    f" FROM {Token._meta.db_table} AS token"
    f" JOIN {Project._meta.db_table} AS project ON project.id = token.project_id"
    f" LEFT JOIN {RegisteredModel._meta.db_table} AS model"
    " ON model.project_key = project.id AND model.model_id = %s"
    " WHERE token.prefix = %s AND token.revoked_at IS NULL"
    " AND (token.expires_at IS NULL OR token.expires_at > statement_timestamp())"
)


class ModelBearer(Bearer):
    """A caller with a token, and the model of the token's project that the call names.

    ``came_at`` is when the call came, by the database's clock.
    """

    def __init__(
        self,
        token: Token,
        model_id: str,
        model: RegisteredModel | None,
        came_at: datetime,
    ) -> None:
        super().__init__(token)
        self.model_id = model_id
        self.model = model
        self.came_at = came_at


class ModelBearerAuthentication(BearerAuthentication):
    """``Authorization: Bearer <token>`` of a call that may name a model."""

    def find_bearer(self, request: Request, secret: str) -> Bearer | None:
        model_id = request.parser_context["kwargs"].get("model_id")
        if model_id is None or named_project(request) is not None:
            return super().find_bearer(request, secret)
        with connection.cursor() as cursor:
            cursor.execute(FIND, [model_id, secret[:PREFIX_LENGTH]])
            row = cursor.fetchone()
        if row is None:
            return None
        came_at, *row = row
        token, project = TOKEN.build(row), PROJECT.build(row[len(TOKEN) :])
        token.project = project
        if if_proven(token, secret) is None:
            return None
        rest, model = row[len(TOKEN) + len(PROJECT) :], None
        if rest[0] is not None:
            model = MODEL.build(rest)
            model.project = project
        return ModelBearer(token, model_id, model, came_at)
