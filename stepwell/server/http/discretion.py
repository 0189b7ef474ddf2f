"""Who is shown tracebacks over HTTP: those who operate (``stepwell.schemas.records.discretion``)."""

from __future__ import annotations

from typing import Any

from litestar import Litestar, Request, Response
from litestar.response.base import ASGIResponse

from stepwell.schemas.records.discretion import without_tracebacks
from stepwell.server.tokens import Role


def may_see_tracebacks(role: Role) -> bool:
    """Whether holders of a role are shown them."""
    return role.covers(Role.OPERATOR)


class DiscreetResponse(Response[Any]):
    """An answer that shows tracebacks to those alone who may see them."""

    def to_asgi_response(self, app: Litestar | None, request: Request[Any, Any, Any], **more: Any) -> ASGIResponse:
        """As the class above."""
        actor = request.scope["state"].get("actor")
        if actor is not None and not may_see_tracebacks(actor.role):
            self.content: Any = without_tracebacks(self.content)
        return super().to_asgi_response(app, request, **more)
