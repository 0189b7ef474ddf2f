"""Pages of other origins that may use this server: what a browser is told about them (CORS).

Only exact origins are named, so no page gets in by a name that somebody else may register. Without tokens a page that
is let in may do everything; so then they are of this machine, as those of a program that is being developed.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from litestar.config.cors import CORSConfig

from stepwell.errors import StepwellError, visible
from stepwell.server.http.freshness import LAG
from stepwell.server.http.problems import POSITION

_HOST: Final = re.compile(r"([a-z0-9]([a-z0-9_-]*[a-z0-9])?\.)*[a-z0-9]([a-z0-9_-]*[a-z0-9])?|\[[0-9a-f:.]+\]")
_PORTS: Final = {"http": 80, "https": 443}
_PLACE: Final = "--cors-origin"
_ALLOWED: Final = ("Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID")
_EXPOSED: Final = (LAG, POSITION, "Retry-After")


class OriginError(StepwellError):
    """What is named is no origin that may be let in."""


def checked_origins(origins: Sequence[str], *, open_: bool) -> tuple[str, ...]:
    """Origins as browsers name them.

    Args:
        open_: Whether there are no tokens.

    Raises:
        OriginError: One is no origin, or, without tokens, not of this machine.
    """
    return tuple(_checked(origin, open_=open_) for origin in origins)


def _checked(origin: str, *, open_: bool) -> str:
    if "*" in origin:
        raise OriginError(
            f"{visible(origin)!r} would let in pages of anybody",
            place=_PLACE,
            remedy="Name each origin as it is: --cors-origin https://app.example --cors-origin https://ops.example",
        )
    scheme, host, port = _parts(origin)
    if scheme not in _PORTS or not _HOST.fullmatch(host):
        raise OriginError(
            f"{visible(origin[:200])!r} is no origin",
            place=_PLACE,
            remedy="An origin is a scheme and a host, with a port where it is not the usual one: "
            "https://app.example, http://localhost:5173.",
        )
    exact = f"{scheme}://{host}" + ("" if port in (None, _PORTS[scheme]) else f":{port}")
    if exact != origin:
        raise OriginError(
            f"browsers do not name an origin so: {visible(origin[:200])!r}", place=_PLACE, remedy=f"Write {exact}."
        )
    if open_ and not is_loopback(host.strip("[]")):
        raise OriginError(
            f"without access tokens the pages of {exact} could do everything",
            place=_PLACE,
            remedy="`stepwell token NAME --role ROLE` makes a token; name its file with --tokens. "
            "Without tokens only pages of this machine are let in, such as http://localhost:5173.",
        )
    return exact


def _parts(origin: str) -> tuple[str, str, int | None]:
    try:
        split = urlsplit(origin)
        host, port = split.hostname or "", split.port
    except ValueError:
        return "", "", None
    return split.scheme, f"[{host}]" if ":" in host else host, port


def cors_of(origins: Sequence[str]) -> CORSConfig | None:
    """What Litestar is to tell browsers; None where no page of another origin may do anything.

    Credentials are not allowed: they would be cookies, of which this server has none. A token is a header.
    """
    if not origins:
        return None
    return CORSConfig(
        allow_origins=list(origins),
        allow_methods=["GET", "HEAD", "POST"],
        allow_headers=list(_ALLOWED),
        expose_headers=list(_EXPOSED),
    )


def is_loopback(host: str) -> bool:
    """Whether a name or address means this machine, whoever resolves it."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
