"""Tickets for streams: how a browser's ``EventSource``, which can send no header, says who asks.

Whoever has a token asks for a ticket and puts it into the address of a stream. An address gets around (into histories
and the logs of proxies), so a ticket is good for little: it opens streams of events and nothing else, for a minute.
It is its token's: it has that one's name and role, and ends with it. The server keeps only its SHA-256.
"""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from stepwell.server.http.problems import RefusedError
from stepwell.server.tokens import Token, digest_of

TICKET_SECONDS: Final = 60
"""How long a ticket opens streams. One that it has opened goes on."""
MOST_TICKETS: Final = 256  # of one token at once
_PREFIX: Final = "ticket_"


class Tickets:
    """The tickets that are good now.

    Args:
        clock: Seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[str, OrderedDict[str, float]] = {}  # by the token's digest: tickets' digests, oldest first
        self._tokens: dict[str, Token] = {}

    def issue(self, token: Token) -> str:
        """A ticket for whoever has a token.

        Raises:
            RefusedError: 429: they have as many as they may.
        """
        now = self._clock()
        self._forget(now)
        known = self._known.setdefault(token.digest, OrderedDict())
        if len(known) >= MOST_TICKETS:
            wait = max(1, round(next(iter(known.values())) - now))
            raise RefusedError(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"{token.name} has {MOST_TICKETS} tickets that are good still, which is the most",
                remedy=f"A ticket opens any number of streams for {TICKET_SECONDS} seconds: use it again.",
                headers={"Retry-After": str(wait)},
            )
        ticket = new_ticket()
        known[digest_of(ticket)] = now + TICKET_SECONDS
        self._tokens[token.digest] = token
        return ticket

    def find(self, ticket: str) -> Token | None:
        """Whose ticket it is; None if it is unknown, or its time is over. Whether the token holds is not asked."""
        digest, now = digest_of(ticket), self._clock()
        for owner, known in self._known.items():
            if known.get(digest, now) > now:
                return self._tokens[owner]
        return None

    def _forget(self, now: float) -> None:
        for owner, known in list(self._known.items()):
            while known and next(iter(known.values())) <= now:
                known.popitem(last=False)
            if not known:
                del self._known[owner], self._tokens[owner]


def new_ticket() -> str:
    """A ticket that nobody knows yet."""
    return _PREFIX + secrets.token_urlsafe(32)
