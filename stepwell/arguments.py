"""Checks of the arguments of public functions: a wrong type raises a clear error before anything else happens.

Type checkers find wrong types, too. But a program need not be typed, and a ``TypeError`` from deep inside does not
help a programmer who passed None instead of an id. Each check raises the type of error that its caller documents.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeAlias

from stepwell.errors import CommandRejectedError, StepwellError

Refusal: TypeAlias = Callable[[str], StepwellError]
"""Makes an error from a message."""


def rejected(message: str) -> CommandRejectedError:
    """Make the error for a command that cannot be sent."""
    return CommandRejectedError("invalid_command", message)


def check_texts(refuse: Refusal, *, none: bool = False, **given: object) -> None:
    """Check that arguments are texts.

    Args:
        refuse: Makes the error.
        none: Whether None is permitted.
        given: The arguments by name.

    Raises:
        StepwellError: An argument is of a wrong type; ``refuse`` has made the error.
    """
    for name, value in given.items():
        if not isinstance(value, str) and not (none and value is None):
            raise refuse(f"{name} is a text, not {value!r:.100}")


def check_numbers(refuse: Refusal, *, none: bool = False, whole: bool = False, **given: object) -> None:
    """Check that arguments are numbers, and not NaN.

    Args:
        refuse: Makes the error.
        none: Whether None is permitted.
        whole: Whether only an int is permitted.
        given: The arguments by name.

    Raises:
        StepwellError: An argument is of a wrong type; ``refuse`` has made the error.
    """
    for name, value in given.items():
        fits = isinstance(value, int if whole else int | float) and not isinstance(value, bool) and value == value  # noqa: PLR0124 - NaN is not
        if not fits and not (none and value is None):
            raise refuse(f"{name} is a {'whole ' if whole else ''}number, not {value!r:.100}")


def check_functions(refuse: Refusal, **given: object) -> None:
    """Check that arguments can be called.

    Args:
        refuse: Makes the error.
        given: The arguments by name.

    Raises:
        StepwellError: An argument cannot be called; ``refuse`` has made the error.
    """
    for name, value in given.items():
        if not callable(value):
            raise refuse(f"{name} is a function, not {value!r:.100}")


def texts(refuse: Refusal, name: str, given: Any) -> tuple[str, ...]:
    """Convert one text or several texts to a tuple.

    Args:
        refuse: Makes the error.
        name: The name of the argument.
        given: A text, or an iterable of texts.

    Raises:
        StepwellError: The argument is neither; ``refuse`` has made the error.
    """
    if isinstance(given, str):
        return (given,)
    if not isinstance(given, Iterable) or isinstance(given, bytes | bytearray):
        raise refuse(f"{name} is a text, or several of them, not {given!r:.100}")
    several = tuple(given)
    check_texts(refuse, **{f"{name}[{number}]": one for number, one in enumerate(several)})
    return several


def path_of(refuse: Refusal, name: str, given: object) -> Path:
    """Convert an argument to a path.

    Args:
        refuse: Makes the error.
        name: The name of the argument.
        given: A text, or a path.

    Raises:
        StepwellError: The argument is neither, or contains NUL; ``refuse`` has made the error.
    """
    if not isinstance(given, str | Path) or "\0" in str(given):
        raise refuse(f"{name} is a path, not {given!r:.100}")
    return Path(given)
