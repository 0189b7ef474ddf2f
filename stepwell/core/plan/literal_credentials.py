"""Credentials that are written out in a definition, where everybody who may read it sees them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from stepwell.schemas.definitions.model import Definition

_NAMES: Final = re.compile(r"authorization|cookie|x-api-key|.*(token|secret|password|api[-_]?key).*", re.IGNORECASE)
"""Headers and parameters whose values are credentials, as their names say."""

_USER: Final = re.compile(r"[a-z]+://[^/:@]*:[^/@]+@", re.IGNORECASE)


def literal_credentials(definition: Definition) -> list[str]:
    """The places of credentials that requests of a definition hold as they are; a template is none.

    Returns:
        Such as ``steps[2] ("pay").config.headers.Authorization``.
    """
    found: list[str] = []
    for number, step in enumerate(definition.steps):
        at = f'steps[{number}] ("{step.id}")'
        found += [f"{at}.config.{place}" for place in _of(step.type, step.config)]
    return found


def _of(step_type: str, config: Any) -> Iterator[str]:
    if step_type != "http_request" or not isinstance(config, Mapping):
        return
    url = config.get("url")
    if isinstance(url, str):
        before, _, query = url.partition("#")[0].partition("?")
        names = (part.partition("=") for part in query.split("&"))
        yield from (f"url?{name}" for name, _, value in names if _NAMES.fullmatch(name) and _literal(value))
        if _USER.match(before) and "{{" not in before:
            yield "url"
    for part in ("headers", "query", "params", "form", "json"):
        values = config.get(part)
        for name, value in values.items() if isinstance(values, Mapping) else ():
            if isinstance(name, str) and _NAMES.fullmatch(name) and _literal(value):
                yield f"{part}.{name}"
    auth = config.get("auth")
    if isinstance(auth, Mapping):
        if _literal(auth.get("bearer")):
            yield "auth.bearer"
        basic = auth.get("basic")
        if isinstance(basic, Mapping) and _literal(basic.get("password")):
            yield "auth.basic.password"


def _literal(value: Any) -> bool:
    return isinstance(value, str) and bool(value) and "{{" not in value
