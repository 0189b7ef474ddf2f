"""Which events a reader wants: patterns of their types."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable
from typing import Final, get_args

from stepwell import errors
from stepwell.schemas.records.events import Event
from stepwell.schemas.records.feed import event_type
from stepwell.suggest import suggest

TYPES: Final = tuple(event_type(kind) for kind in get_args(Event))
"""What events are called."""

_ALIAS: Final = "task."  # what some call a step
_MEANT: Final = "step."


PatternError = errors.PatternError


def wanted_types(patterns: Iterable[str], *, place: str = "") -> frozenset[str]:
    """The types of events that some patterns name.

    Args:
        patterns: Each a type, or one with the wildcards ``*``, ``?`` and ``[…]``. One that begins with ``task.``
            means what begins with ``step.``. A mere text is one pattern.
        place: How messages name where they are written.

    Raises:
        PatternError: There is none, or one that matches no type: nothing would ever come.
    """
    several: object = patterns
    if not isinstance(several, Iterable) or isinstance(several, bytes):
        raise PatternError(f"patterns are texts, not {patterns!r:.100}", place=place)
    found: set[str] = set()
    given = [patterns] if isinstance(patterns, str) else list(patterns)
    for index, pattern in enumerate(given):
        if not isinstance(pattern, str):
            raise PatternError(f"a pattern is a text, and this is {pattern!r}", place=place and f"{place}[{index}]")
        meant = meant_by(pattern)
        matching = [name for name in TYPES if fnmatch.fnmatchcase(name, meant)]
        if not matching:
            raise PatternError(
                f"no event is called {pattern!r}{suggest(meant, TYPES)}",
                place=place and f"{place}[{index}]",
                remedy=f"There are: {', '.join(TYPES)}; and wildcards, such as workflow.*",
            )
        found.update(matching)
    if not given:
        raise PatternError("no event is asked for", place=place, remedy='"*" asks for all of them.')
    return frozenset(found)


def meant_by(pattern: str) -> str:
    """The pattern itself, or with ``step.`` where it says ``task.``."""
    return _MEANT + pattern.removeprefix(_ALIAS) if pattern.startswith(_ALIAS) else pattern
