"""Secrets of ``http_request``: where each may be sent, and hiding them in whatever form a server gives them back."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote, quote_plus

import httpx

SECRET_PREFIX: Final = "STEPWELL_SECRET_"  # noqa: S105 - the name of a variable
HOSTS_SUFFIX: Final = "_HOSTS"
HIDDEN: Final = "***"
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_PLACE: Final = re.compile(
    r"(?:(?P<scheme>https?)://)?(?P<host>(?:\*\.)?[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>\d{1,5}))?"
)
_KEPT: Final = ";,/?:@&=+$-_.!~*'()#"  # of a whole URL, which nobody escapes who does not know its parts
_SHORTEST_WITHIN: Final = 4  # characters of a secret that is looked for inside of texts
_SHORTEST_CODED: Final = 8  # characters of a part of base64 that means something


def hosts_variable(name: str) -> str:
    """The environment variable that says where a secret may be sent."""
    return f"{SECRET_PREFIX}{name}{HOSTS_SUFFIX}"


def may_go(hosts: str, url: httpx.URL) -> bool:
    """Whether a secret may be sent with a URL.

    Args:
        hosts: As the environment has it, separated by commas or blanks: ``api.example.com``, ``*.example.com`` (any
            name below), ``[::1]``; each with scheme and port where these matter, ``https://api.example.com:8443``.

    Raises:
        ValueError: One of them is no host; the message says which.
    """
    port = url.port or _DEFAULT_PORTS[url.scheme]
    host = url.host.lower().rstrip(".")
    fits = False
    for part in hosts.replace(",", " ").split():
        match = _PLACE.fullmatch(part)
        if match is None:
            raise ValueError(f"{part!r} is no host")
        named = match["host"].lower().rstrip(".").strip("[]")
        below = named.startswith("*.") and host.endswith(named[1:]) and host != named[2:]
        fits = fits or (
            (host == named or below)
            and match["scheme"] in (None, url.scheme)
            and (match["port"] is None or int(match["port"]) == port)
        )
    return fits


def forms_of(secret: str) -> frozenset[str]:
    """Every form in which a server may give a secret back: as it is, escaped, percent-encoded, in base64 or hex."""
    forms = {secret}
    for quoted in (quote(secret), quote(secret, safe=""), quote_plus(secret)):
        forms |= {quoted, re.sub("%..", lambda found: found[0].lower(), quoted)}
        forms.add(quote(quoted, safe=""))  # a URL in a URL
    forms.add(quote(secret, safe=_KEPT))
    forms.add(secret.replace(" ", "+"))  # decoded, but for the blanks of a form
    for escaped in (json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]):
        forms |= {escaped, escaped.replace("/", "\\/"), re.sub(r"\\u....", lambda found: found[0].upper(), escaped)}
    forms |= {form.replace("\\U", "\\u") for form in forms}
    forms |= {html.escape(secret), html.escape(secret, quote=False)}
    raw = secret.encode(errors="replace")
    if len(secret) >= _SHORTEST_WITHIN:
        forms |= {raw.hex(), raw.hex().upper()}
        forms.update(_coded(raw))
    return frozenset(forms - {""})


def _coded(raw: bytes) -> Iterator[str]:
    """The secret in base64, also as a part of something longer: at each of the three places where it may begin."""
    for before in range(3):
        coded = base64.b64encode(b"\0" * before + raw).decode()
        whole = (before + len(raw)) * 8 // 6  # characters that hold nothing but bits of what there is
        part = coded[(0, 2, 3)[before] : whole]
        if len(part) >= _SHORTEST_CODED:
            yield part
            yield part.replace("+", "-").replace("/", "_")
    for coded in (base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode()):
        yield coded
        yield coded.rstrip("=")


class Hider:
    """Hides secrets.

    Args:
        forms: Of all secrets, see ``forms_of``.
    """

    def __init__(self, forms: frozenset[str]) -> None:
        # The longest first: what is left of a longer one would say something of it.
        self._within = sorted((form for form in forms if len(form) >= _SHORTEST_WITHIN), key=len, reverse=True)
        self._whole = frozenset(forms)

    def text(self, text: str) -> str:
        """A text without secrets. One of less than four characters is hidden where it is all of the text."""
        if text in self._whole:
            return HIDDEN
        for form in self._within:
            if form in text:
                text = text.replace(form, HIDDEN)
        return text

    def value(self, value: Any) -> Any:
        """A JSON value without secrets, also in keys, and where a number is one."""
        if not self._whole:
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self.value(part) for part in value]
        if isinstance(value, Mapping):
            return {self.text(key): self.value(part) for key, part in value.items()}
        if isinstance(value, (int, float)) and not isinstance(value, bool) and str(value) in self._whole:
            return HIDDEN
        return value
