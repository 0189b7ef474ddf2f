"""``email``: sends a mail by an SMTP server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal

from msgspec import Struct

from stepwell.core.expressions.values import kind
from stepwell.schemas.definitions.model import LONGEST_SECONDS
from stepwell.schemas.definitions.step_type import Call, Setting, StepType
from stepwell.step_types.base import (
    NUMBER_OF_SECONDS,
    Check,
    is_written_out,
    literal_of,
    number,
    one_of,
    problems_of,
    text,
)

PORTS: Final[Mapping[str, int]] = {"starttls": 587, "tls": 465, "none": 25}
"""How a connection is secured, and the port that is usual for it (RFC 8314)."""

_ADDRESSES: Final = {"type": ["string", "array"], "items": {"type": "string"}}


class EmailConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """The ``config`` of an ``email`` step."""

    host: Annotated[str, Setting("The SMTP server.")]
    sender: Annotated[str, Setting("Whom it is from: `ann@example.com` or `Ann <ann@example.com>`.")]
    to: Annotated[str | list[str], Setting("Whom it is for: an address, or a list of them.", schema=_ADDRESSES)]
    subject: Annotated[str, Setting("What it is about: one line.")]
    text: Annotated[str | None, Setting("The mail, as text. `text` or `html` is needed.")] = None
    html: Annotated[str | None, Setting("The same as HTML; with `text` beside it, readers choose.")] = None
    cc: Annotated[
        str | list[str] | None, Setting("Who gets a copy: an address, or a list of them.", schema=_ADDRESSES)
    ] = None
    bcc: Annotated[
        str | list[str] | None,
        Setting("Who gets a copy and is named in no header: an address, or a list of them.", schema=_ADDRESSES),
    ] = None
    reply_to: Annotated[str | None, Setting("Where answers go.", default="the sender")] = None
    port: Annotated[int | None, Setting("The port of the server.", default="587; 465 with `tls`, 25 with `none`")] = (
        None
    )
    security: Annotated[
        Literal["starttls", "tls", "none"] | None,
        Setting(
            "`starttls`, `tls` from the start, or `none`; a server that lacks it gets nothing.",
            default="`starttls`",
            schema={"type": "string"},
        ),
    ] = None
    username: Annotated[
        str | dict[str, Any] | None,
        Setting(
            "The name to log in with; `{secret: NAME}` for a secret. Never with `security: none`.",
            schema={"type": ["string", "object"]},
        ),
    ] = None
    password: Annotated[
        str | dict[str, Any] | None,
        Setting(
            "The password of `username`; `{secret: NAME}` for a secret. Both are written, or neither.",
            schema={"type": ["string", "object"]},
        ),
    ] = None
    timeout_seconds: Annotated[
        float | None,
        Setting(
            "How long sending may take, everything together; never more than the step's.",
            default="30",
            schema=NUMBER_OF_SECONDS,
            parameter="request_timeout_seconds",
        ),
    ] = None


class Sent(Struct, frozen=True):
    """What ``email`` gives.

    Attributes:
        message_id: The mail's; the same in each attempt of a run.
        accepted: Addresses for which the server took the mail.
        refused: Those for which it did not, with its reason.
    """

    message_id: str
    accepted: list[str]
    refused: dict[str, str]


def _check(config: Mapping[str, Any], at: str, _schemas: Any) -> Iterator[str]:
    yield from problems_of(_CHECKS, literal_of(config), at)
    if "text" not in config and "html" not in config:
        yield f'{at}: type "email" needs "text" or "html"'
    for one, other in (("username", "password"), ("password", "username")):
        if one in config and other not in config:
            yield f'{at}.{one}: needs "{other}" as well'


def _addresses(value: Any) -> str:
    values = [value] if isinstance(value, str) else value
    right = isinstance(values, list) and values and all(isinstance(one, str) and "@" in one for one in values)
    return "" if right else "an address such as ann@example.com, or a list of them, is needed"


def _secret(value: Any) -> str:
    if isinstance(value, (str, dict)):
        return ""
    return f"a text or {{secret: NAME}} is needed, not {kind(value)}"


def _credentials(config: Mapping[str, Any]) -> Iterator[str]:
    if is_written_out(config.get("password")):
        yield "password"


_CHECKS: Final[Mapping[str, Check]] = {
    "host": text,
    "sender": text,
    "to": _addresses,
    "subject": text,
    "text": text,
    "html": text,
    "cc": _addresses,
    "bcc": _addresses,
    "reply_to": text,
    "port": number(1, 65_535, whole=True),
    "security": one_of(PORTS, "security"),
    "username": _secret,
    "password": _secret,
    "timeout_seconds": number(0, LONGEST_SECONDS, above=True),
}

TYPE: Final = StepType(
    name="email",
    config=EmailConfig,
    result=Sent,
    check=_check,
    credentials=_credentials,
    runs="email:email",
    runs_for_services="email:email_of_a_service",
    text="Send a mail by an SMTP server, as text, as HTML, or as both.",
    takes="not used",
    gives="who gets it",
    call=Call(positional=("host",)),
)
