"""Arguments of public functions: what is of a wrong type is refused in words, before anything is done with it.

Type checkers refuse it as well. But a program need not be typed, and a ``TypeError`` from deep inside says nothing to
whoever passed None where an id was meant. Each function takes the error that its caller raises elsewhere, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeAlias

from stepwell.errors import CommandRejectedError, StepwellError

Refusal: TypeAlias = Callable[[str], StepwellError]
"""Makes an error of a message."""


def rejected(message: str) -> CommandRejectedError:
    """The error of a command that cannot be sent."""
    return CommandRejectedError("invalid_command", message)


def check_texts(refuse: Refusal, *, none: bool = False, **given: object) -> None:
    """Refuse what is no text.

    Args:
        refuse: Makes the error.
        none: Whether None will do.
        given: Arguments by name.

    Raises:
        StepwellError: One is none; what ``refuse`` has made.
    """
    for name, value in given.items():
        if not isinstance(value, str) and not (none and value is None):
            raise refuse(f"{name} is a text, not {value!r:.100}")


def check_numbers(refuse: Refusal, *, none: bool = False, whole: bool = False, **given: object) -> None:
    """Refuse what is no number, in the same way; NaN is none.

    Args:
        refuse: Makes the error.
        none: Whether None will do.
        whole: Whether it has to be an int.
        given: Arguments by name.

    Raises:
        StepwellError: One is none; what ``refuse`` has made.
    """
    for name, value in given.items():
        fits = isinstance(value, int if whole else int | float) and not isinstance(value, bool) and value == value  # noqa: PLR0124 - NaN is not
        if not fits and not (none and value is None):
            raise refuse(f"{name} is a {'whole ' if whole else ''}number, not {value!r:.100}")


def check_functions(refuse: Refusal, **given: object) -> None:
    """Refuse what cannot be called, in the same way.

    Args:
        refuse: Makes the error.
        given: Arguments by name.

    Raises:
        StepwellError: One cannot be; what ``refuse`` has made.
    """
    for name, value in given.items():
        if not callable(value):
            raise refuse(f"{name} is a function, not {value!r:.100}")


def texts(refuse: Refusal, name: str, given: Any) -> tuple[str, ...]:
    """One text or several, as a tuple.

    Args:
        refuse: Makes the error.
        name: Of the argument.
        given: A text, or an iterable of texts.

    Raises:
        StepwellError: It is neither; what ``refuse`` has made.
    """
    if isinstance(given, str):
        return (given,)
    if not isinstance(given, Iterable) or isinstance(given, bytes | bytearray):
        raise refuse(f"{name} is a text, or several of them, not {given!r:.100}")
    several = tuple(given)
    check_texts(refuse, **{f"{name}[{number}]": one for number, one in enumerate(several)})
    return several


def path_of(refuse: Refusal, name: str, given: object) -> Path:
    """A path.

    Args:
        refuse: Makes the error.
        name: Of the argument.
        given: A text, or a path.

    Raises:
        StepwellError: It is neither, or holds NUL; what ``refuse`` has made.
    """
    if not isinstance(given, str | Path) or "\0" in str(given):
        raise refuse(f"{name} is a path, not {given!r:.100}")
    return Path(given)
