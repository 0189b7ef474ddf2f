"""Who asks for something, and from where: headers of commands, and of what answers them.

A command's record may carry ``by`` and ``via``. Whoever answers it copies them onto the record of its answer, with
the command's type and id beside them; so who asked for what outlives the commands, which are kept for days only. They
are what the sender says of itself: a program that may write to the log can write any name.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from stepwell.errors import SenderError, visible

BY: Final = "by"
VIA: Final = "via"
COMMAND: Final = "command"
COMMAND_ID: Final = "command_id"

LONGEST: Final = 200  # characters of each

NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


class Sender(NamedTuple):
    """Who asks, and from where. Made by ``sender``.

    Attributes:
        by: Who: a person's name, a token's. Empty where nobody is named.
        via: From where, such as ``cli build-7`` or ``http 10.0.0.7``.
    """

    by: str = ""
    via: str = ""

    @property
    def headers(self) -> dict[str, str]:
        """What a record of theirs carries; nothing where nothing is known."""
        headers = {}
        if self.by:
            headers[BY] = self.by
        if self.via:
            headers[VIA] = self.via
        return headers


NOBODY: Final = Sender()


def sender(by: str = "", via: str = "") -> Sender:
    """Who asks, and from where, as they say themselves.

    Args:
        by: At most 200 characters, none of which is invisible or a control character; likewise
        via: from where.

    Raises:
        SenderError: One of them is longer, or has such characters.
    """
    return Sender(_checked(BY, by), _checked(VIA, via))


def tidy(text: str) -> str:
    """A stranger's words in one line in which nothing hides, cut to 200 characters."""
    return visible(" ".join(text[: 2 * LONGEST].split()))[:LONGEST]


def answering(headers: Mapping[str, str], command: Any) -> Mapping[str, str]:
    """What the answer to a command carries of its sender; nothing where nobody is named.

    Args:
        headers: Of the command's record. Strangers write them too, so they are tidied.
        command: The command. People who approve or reject may be named in it alone.
    """
    by: str = headers.get(BY, "") or getattr(command, "by", "")
    via = headers.get(VIA, "")
    if not by and not via:
        return NOTHING
    found = Sender(tidy(by), tidy(via)).headers
    if found:
        found[COMMAND] = type(command).__name__
        command_id = tidy(getattr(command, "command_id", ""))
        if command_id:
            found[COMMAND_ID] = command_id
    return found


def forwarded(headers: Mapping[str, str]) -> dict[str, str]:
    """What a copy of a command's record keeps of its sender."""
    return Sender(tidy(headers.get(BY, "")), tidy(headers.get(VIA, ""))).headers


def _checked(name: str, text: str) -> str:
    given: object = text
    if not isinstance(given, str):
        raise SenderError(f"is a text, not {text!r:.100}", place=name)
    text = text.strip(" ")
    if len(text) > LONGEST:
        raise SenderError(
            f"has {len(text):,} characters, at most {LONGEST} are kept", place=name, remedy="Give a short name."
        )
    if visible(text) != text or "\t" in text or "\n" in text:
        raise SenderError(
            f"has control characters or invisible ones: {text!r}", place=name, remedy="Give a name in one line."
        )
    return text
