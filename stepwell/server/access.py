"""Who may ask for what: tokens with roles, and what a route demands.

A token is 32 random bytes that its holder sends as ``Authorization: Bearer``. The server knows only the SHA-256 of
each, from a file of lines ``NAME ROLE SHA256``. Without any tokens the server listens on loopback alone and whoever
reaches it may do everything; then the danger is a web page in a browser of this machine, so requests that come from
other sites (``Origin``) or under a foreign name (``Host``: DNS rebinding) are refused.

Every route says what it demands by ``guards=[requires(Role.VIEWER)]``. One that says nothing answers nobody.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from msgspec import Struct

from stepwell.errors import visible
from stepwell.logs import Logger
from stepwell.server.http.origins import checked_origins, is_loopback
from stepwell.server.http.problems import MEDIA_TYPE, RefusedError, problem_of
from stepwell.server.http.tickets import Tickets, new_ticket
from stepwell.server.tokens import Role, Token, TokenFile

__all__ = ["LOCAL", "Access", "Actor", "Demand", "Role", "is_loopback", "requires"]


class Actor(Struct, frozen=True):
    """Who asks.

    Attributes:
        name: The name of their token; ``local`` where there are no tokens.
        via: Where the request came from, such as ``http 192.0.2.7``.
    """

    name: str
    role: Role
    via: str = "http"


class _Kind(StrEnum):
    PUBLIC = "public"


PUBLIC: Final = _Kind.PUBLIC
"""What a route demands that answers everybody: the descriptions of this API, which hold nothing of anybody's."""

LOCAL: Final = "local"
_ACTOR: Final = "actor"
_HELD: Final = "held"
_HOW: Final = "Send `Authorization: Bearer TOKEN`; `stepwell token NAME --role ROLE` makes one."
TICKET: Final = "ticket"
"""The parameter that a ticket is given by."""
TICKETS: Final = "/v1/stream-tickets"
"""The route that makes them."""
_TAKES_TICKETS: Final = "stepwell_tickets"
TAKES_TICKETS: Final[dict[str, Any]] = {_TAKES_TICKETS: True}
"""For the ``opt`` of a route that a ticket opens."""
_MOMENT: Final = 1.0  # seconds after which it is looked again whether a token still holds: as often as its file is
_logger = Logger("stepwell.server")
_PROXIES: Final = (
    "forwarded", "x-forwarded", "via", "x-real-ip", "x-original-", "x-client-ip", "x-cluster-client-ip", "x-envoy-",
    "x-proxyuser-", "true-client-ip", "cf-", "cdn-loop", "fastly-client-ip",
)  # fmt: skip
"""How the names of headers begin that proxies add. Behind one, everybody comes from this machine."""


class Demand:
    """What a route demands of whoever asks; made by ``requires``.

    Attributes:
        role: The role, or ``PUBLIC``.
    """

    def __init__(self, role: Role | _Kind) -> None:
        self.role = role

    async def __call__(self, connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        """Refuse whoever has not the role. Called by Litestar, after ``Access.guard`` has found out who asks.

        It is a coroutine function because Litestar calls others in a thread, which costs more than all the rest.

        Raises:
            RefusedError: 403.
        """
        if self.role is PUBLIC:
            return
        actor = actor_of(connection)
        if not actor.role.covers(self.role):
            _logger.warning(
                "refused: this role may not do it",
                by=actor.name, role=str(actor.role), route=route_of(connection.scope), via=actor.via,
            )  # fmt: skip
            raise RefusedError(
                HTTPStatus.FORBIDDEN,
                f"{actor.name} is {_a(actor.role)}, and this is for {' or '.join(able(self.role))}",
                remedy="Use a token whose role may do it; `stepwell token NAME --role ROLE` makes one.",
            )


def actor_of(connection: ASGIConnection[Any, Any, Any, Any]) -> Actor:
    """Who asks, once the guard has found out."""
    found: Actor = connection.scope["state"][_ACTOR]  # `connection.state` would make a copy for every look
    return found


def token_of(connection: ASGIConnection[Any, Any, Any, Any]) -> Token | None:
    """The token that they have, or that their ticket was made for; None where there are no tokens."""
    found: Token | None = connection.scope["state"].get(_HELD)
    return found


def requires(role: Role | _Kind) -> Demand:
    """What a route demands: ``guards=[requires(Role.VIEWER)]``."""
    return Demand(role)


def demand_of(handler: BaseRouteHandler) -> Demand | None:
    """What a route demands; None if it does not say."""
    return next((guard for layer in reversed(handler.ownership_layers) for guard in layer.guards or ()
                 if isinstance(guard, Demand)), None)  # fmt: skip


class Access:
    """Finds out who asks.

    Args:
        tokens: Where tokens are looked up; None where everybody on this machine may do everything.
        origins: Whose pages may use this server besides its own.

    Attributes:
        origins: Those, as browsers name them.
        note: Is told, with the request's scope, of a refusal that comes after the handler.

    Raises:
        OriginError: One is no origin, or, without tokens, not of this machine.
    """

    def __init__(
        self, tokens: TokenFile | None = None, origins: Sequence[str] = (), *, tickets: Tickets | None = None
    ) -> None:
        self._tokens = tokens
        self._tickets = tickets or Tickets()
        self.origins: tuple[str, ...] = checked_origins(origins, open_=tokens is None)
        self._demands: dict[BaseRouteHandler, Demand | None] = {}
        self.note: Callable[[Any, Exception], None] = lambda *_: None

    @property
    def open(self) -> bool:
        """Whether there are no tokens, so that whoever reaches the server may do everything."""
        return self._tokens is None

    def still(self, token: Token | None) -> bool:
        """Whether somebody who was let in would be let in now: of answers that have no end.

        Args:
            token: With what they came, or for what their ticket was made; see ``token_of``.
        """
        return self._tokens is None or (token is not None and self._tokens.has(token))

    def ticket(self, token: Token | None) -> str:
        """A ticket that opens streams for whoever has a token. Where there are no tokens, it is not asked for.

        Raises:
            RefusedError: 429: they have as many as they may.
        """
        return new_ticket() if token is None else self._tickets.issue(token)

    def watch(self, scope: Any, send: Any) -> Any:
        """Let an answer that took its time go only to somebody who would still be let in: as that of a long poll.

        Returns:
            What is to be given to the application instead of ``send``.
        """
        if self._tokens is None:
            return send
        began, refused = time.monotonic(), False

        async def watched(message: Any) -> None:
            nonlocal refused
            if message["type"] == "http.response.start" and time.monotonic() - began >= _MOMENT:
                state = scope.get("state", {})
                refused = state.get(_ACTOR) is not None and not self.still(state.get(_HELD))
                if refused:
                    told = _unauthorized("this token is not known any more")
                    self.note(scope, told)
                    await _send(told, send, message.get("headers", ()))
            if not refused:
                await send(message)

        return watched

    async def guard(self, connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        """Find out who asks, and leave it in ``request.state.actor``. Litestar calls it before every handler.

        Raises:
            RefusedError: 401 without a token that is known; 403 for requests from other sites, and on routes that
                do not say what they demand.
        """
        scope: Any = connection.scope
        if scope["method"] == "OPTIONS":
            return  # Litestar's own, which tells the methods of a path
        if self._tokens is None:
            self._check_site(connection)
        handler: BaseRouteHandler = scope["route_handler"]  # what is given is a copy of it
        demand = self._demand_of(handler)
        if demand is None:
            raise RefusedError(HTTPStatus.FORBIDDEN, "this route does not say who may use it, so nobody may")
        via = address_of(scope)
        if self._tokens is None:
            scope["state"][_ACTOR] = Actor(LOCAL, Role.ADMIN, via)
        elif demand.role is not PUBLIC:
            token = self._known(connection, self._tokens, via)
            scope["state"][_HELD] = token
            scope["state"][_ACTOR] = Actor(token.name, token.role, via)

    def _demand_of(self, handler: BaseRouteHandler) -> Demand | None:
        if handler not in self._demands:
            self._demands[handler] = demand_of(handler)
        return self._demands[handler]

    def _known(self, connection: ASGIConnection[Any, Any, Any, Any], tokens: TokenFile, via: str) -> Token:
        given = connection.headers.get("authorization")
        ticket = connection.query_params.get(TICKET) if given is None and _opens(connection) else None
        if ticket is not None:
            owner = self._tickets.find(ticket)
            if owner is None or not tokens.has(owner):
                _logger.warning("refused: this ticket is not good", route=route_of(connection.scope), via=via)
                raise _unauthorized(
                    "this ticket is not known, or its time is over", f"`POST {TICKETS}` with a token gives another."
                )
            return owner
        scheme, _, token = (given or "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise _unauthorized("a token is needed")
        found = tokens.find(token.strip())
        if found is None:
            _logger.warning("refused: this token is not known", route=route_of(connection.scope), via=via)
            raise _unauthorized("this token is not known")
        return found

    def _check_site(self, connection: ASGIConnection[Any, Any, Any, Any]) -> None:
        passed_on = next((name for name in connection.headers if name.startswith(_PROXIES)), None)
        if passed_on is not None:
            raise RefusedError(
                HTTPStatus.FORBIDDEN,
                f"without access tokens this server takes no requests that a proxy passes on ({visible(passed_on)})",
                remedy="Whoever reaches the proxy could do everything. Start `stepwell serve` with --tokens.",
            )
        host = connection.headers.get("host", "")
        if not is_loopback(_name(f"//{host}")):
            raise RefusedError(
                HTTPStatus.FORBIDDEN,
                f"without access tokens this server answers under names of this machine only, not {visible(host)!r}",
                remedy="Use http://localhost or http://127.0.0.1; or start `stepwell serve` with --tokens.",
            )
        origin = connection.headers.get("origin")
        if origin in self.origins:
            return
        foreign = origin is not None and _place(origin) != host
        if foreign or connection.headers.get("sec-fetch-site") == "cross-site":
            raise RefusedError(
                HTTPStatus.FORBIDDEN,
                "without access tokens this server takes no requests from pages of other sites"
                + (f" ({visible(origin)})" if origin else ""),
                remedy="Start `stepwell serve` with --tokens, and send one with the request.",
            )


async def _send(told: RefusedError, send: Any, instead_of: Iterable[tuple[bytes, bytes]]) -> None:
    body = msgspec.json.encode(problem_of(told)[0])
    headers = {"content-type": MEDIA_TYPE, "content-length": str(len(body)), **(told.headers or {})}
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    # A page of another origin is to read it, too.
    raw += [(name, value) for name, value in instead_of if name.lower().startswith((b"access-control-", b"vary"))]
    await send({"type": "http.response.start", "status": HTTPStatus.UNAUTHORIZED.value, "headers": raw})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def _place(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def _name(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def address_of(scope: Any) -> str:
    """Where a request comes from, as it is recorded."""
    address = scope.get("client")
    return f"http {address[0]}" if address else "http"


def name_of(scope: Any) -> str:
    """The name of the token that a request came with; empty where none was found, or there are none."""
    actor = scope.get("state", {}).get(_ACTOR)
    return "" if actor is None or actor.name == LOCAL else actor.name


def route_of(scope: Any) -> str:
    """What was asked for, as a log may say it: the path itself could hold anything."""
    return f"{scope['method']} {scope.get('path_template', '')}"


def _opens(connection: ASGIConnection[Any, Any, Any, Any]) -> bool:
    """Whether a ticket is good for this route."""
    scope: Any = connection.scope
    return bool(scope["route_handler"].opt.get(_TAKES_TICKETS))


def _unauthorized(message: str, remedy: str = _HOW) -> RefusedError:
    return RefusedError(
        HTTPStatus.UNAUTHORIZED,
        message,
        remedy=remedy,
        headers={"WWW-Authenticate": "Bearer"},
    )


def able(role: Role | _Kind) -> list[str]:
    """The roles that may do what this one is demanded for."""
    return [str(one) for one in Role if one.covers(role)] if role is not PUBLIC else ["everybody"]


def _a(role: Role) -> str:
    return f"{'an' if role[0] in 'aeiou' else 'a'} {role}"
