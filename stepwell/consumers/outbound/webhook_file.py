"""The file of webhooks: who is told what, and where the secrets are. It holds none itself."""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import httpx
import msgspec
from msgspec import Meta, Struct

from stepwell.consumers.reading.patterns import PatternError, wanted_types
from stepwell.errors import DefinitionError
from stepwell.schemas.definitions.places import Lines, Problem, show
from stepwell.schemas.definitions.places import Path as Places
from stepwell.schemas.definitions.shapes import struct_problems
from stepwell.schemas.definitions.text import parse_text, read_text
from stepwell.schemas.definitions.yaml_core import Loader

_PREFIX: Final = "whsec_"
_SHORTEST, _LONGEST = 24, 64  # bytes of a secret, as the Standard Webhooks have it
_LONGEST_URL: Final = 2_000
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\Z")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


class Webhook(Struct, frozen=True, forbid_unknown_fields=True):
    """One receiver.

    Attributes:
        name: What its progress is kept under: a new name begins anew.
        url: Where events are posted to.
        events: Types of events, with wildcards.
        workflow: Only events of instances of this definition.
        secret_env: The environment variable that holds the secret which signs; without one, nothing is signed.
        timeout_seconds: For one attempt, answer included.
        max_attempts: After so many an event is given up,
        give_up_seconds: and at the latest when it would be tried again later than so many seconds after the first.
    """

    name: str
    url: str
    events: tuple[str, ...]
    workflow: str | None = None
    secret_env: str | None = None
    timeout_seconds: Annotated[float, Meta(gt=0, le=300)] = 10.0
    max_attempts: Annotated[int, Meta(ge=1, le=100)] = 10
    give_up_seconds: Annotated[float, Meta(ge=0, le=86_400)] = 900.0

    @property
    def host(self) -> str:
        """The URL as messages may show it: some receivers know a sender by a secret in the path."""
        url = httpx.URL(self.url)
        return f"{url.scheme}://{url.netloc.decode('ascii')}"


def read_webhooks(path: Path, environment: Mapping[str, str] = os.environ) -> list[Webhook]:
    """Read a file of webhooks, and see that their secrets are there.

    Args:
        path: YAML or JSON: a list of webhooks, or a mapping with such a list as ``webhooks``.
        environment: Where the secrets are.

    Raises:
        DefinitionError: It cannot be read, or something in it is wrong; all problems, each with its line.
    """
    text, shown = read_text(path), str(path)
    data = parse_text(text, shown)
    lines = Lines(text, Loader)
    found = list(_problems(data, environment))
    if found:
        raise DefinitionError(
            [_told(problem, lines) for problem in found], place=shown, remedy="docs/events.md shows such a file."
        )
    _, entries = _entries(data)
    return msgspec.convert(entries, list[Webhook])


def secrets_of(hook: Webhook, environment: Mapping[str, str] = os.environ) -> list[bytes]:
    """The keys that sign for a receiver, the newest first; several while one is replaced by another.

    Raises:
        ValueError: They are not there, or are none; it says so without showing them.
    """
    if hook.secret_env is None:
        return []
    return _secrets(hook.secret_env, environment)


def _secrets(variable: str, environment: Mapping[str, str]) -> list[bytes]:
    if not _VARIABLE.match(variable):
        raise ValueError("is to be the name of an environment variable, not the secret itself")
    texts = environment.get(variable, "").split()
    if not texts:
        raise ValueError(f"the environment variable {variable} is not set")
    found = []
    for text in texts:
        try:
            key = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if not _SHORTEST <= len(key) <= _LONGEST:
            raise ValueError(
                f"what {variable} holds is no secret: it is to be {_PREFIX} and {_SHORTEST} to {_LONGEST} random "
                f'bytes in base64, such as echo "{_PREFIX}$(openssl rand -base64 32)" makes'
            )
        found.append(key)
    return found


def _entries(data: Any) -> tuple[Places, Any]:
    if isinstance(data, dict) and "webhooks" in data:
        return ("webhooks",), data["webhooks"]
    return (), data


def _problems(data: Any, environment: Mapping[str, str]) -> list[Problem]:
    base, entries = _entries(data)
    if not isinstance(entries, list) or not entries:
        return [Problem(base, 'expected a list of webhooks, each with "name", "url" and "events"')]
    found: list[Problem] = []
    if base:
        found += [Problem((key,), f'unknown key "{key}"; there is webhooks') for key in data if key != "webhooks"]
    names: set[str] = set()
    for index, entry in enumerate(entries):
        path: Places = (*base, index)
        wrong = struct_problems(entry, Webhook, path)
        found += wrong
        if wrong:
            continue
        hook = msgspec.convert(entry, Webhook)
        if hook.name in names:
            found.append(Problem((*path, "name"), f'"{hook.name}" is given twice'))
        names.add(hook.name)
        found += [Problem((*path, *part), text) for part, text in _of(hook, environment)]
    return found


def _of(hook: Webhook, environment: Mapping[str, str]) -> list[tuple[Places, str]]:
    found: list[tuple[Places, str]] = []
    if not _NAME.match(hook.name):
        found.append((("name",), "has 1 to 100 letters, digits, dots, dashes and underscores, the first no mark"))
    wrong = _wrong_url(hook.url)
    if wrong:
        found.append((("url",), wrong))
    if not hook.events:
        found.append((("events",), 'names no event; ["*"] stands for all of them'))
    for index, pattern in enumerate(hook.events):
        try:
            wanted_types([pattern])
        except PatternError as error:
            found.append((("events", index), error.message))
    if hook.workflow == "":
        found.append((("workflow",), "is empty; leave it out for all workflows"))
    try:
        secrets_of(hook, environment)
    except ValueError as error:
        found.append((("secret_env",), str(error)))
    return found


def _wrong_url(text: str) -> str | None:
    """What is wrong with a URL, in words that do not show it."""
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, ValueError):
        return "is no URL"
    if url.scheme not in {"http", "https"} or not url.host:
        return "is to begin with https:// (or http://) and a host"
    if url.userinfo:
        return "holds a password; a receiver knows the sender by the signature (secret_env)"
    if url.fragment:
        return "has a fragment (#…), which no server is told"
    if len(text) > _LONGEST_URL:
        return f"has {len(text):,} characters, and {_LONGEST_URL:,} at most are allowed"
    return None


def _told(problem: Problem, lines: Lines) -> str:
    line = lines.line(problem.path)
    where = "" if line is None else f"line {line}: "
    return f"{where}{show(problem.path)}: {problem.text}" if problem.path else f"{where}{problem.text}"
