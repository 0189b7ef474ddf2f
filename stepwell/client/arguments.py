"""Arguments of the client's methods: what is of a wrong type is refused in words, and nothing is sent."""

from __future__ import annotations

from stepwell.errors import CommandRejectedError


def check_text(name: str, value: object, *, none: bool = False) -> None:
    """Refuse what is no text.

    Args:
        name: Of the argument.
        none: Whether None is fine.

    Raises:
        CommandRejectedError: It is none; its code is ``invalid_command``.
    """
    if not isinstance(value, str) and not (none and value is None):
        raise CommandRejectedError("invalid_command", f"{name} is a text, not {value!r:.100}")
