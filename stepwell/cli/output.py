"""The one way onto the terminal: nothing that is printed steers it, or hides in it.

Ids, names and messages come from whoever may start a workflow, run a step or name a worker. Written raw, an escape
sequence among them could hide what happened, or type commands. Every module of the terminal prints by this
function, and a test holds them to it.
"""

from __future__ import annotations

import builtins
import re
from typing import Any, Final

from stepwell.errors import ODD
from stepwell.stdout import json_escapes, results

_ODD: Final = re.compile(ODD)


def print(*values: object, sep: str = " ", end: str = "\n", file: Any = None, flush: bool = False) -> None:  # noqa: A001 - whoever writes `print` shall get this one
    """As the function of Python, with control characters, marks of direction and invisible ones as escapes; without a
    file, where results belong, which nothing else is written to (``stepwell.stdout``).

    The escapes are those of JSON, so what was JSON still is, and means the same.
    """
    builtins.print(
        escaped(sep.join(map(str, values))), end=end, file=results() if file is None else file, flush=flush
    )


def print_raw(text: str, *, end: str = "\n", file: Any = None) -> None:
    """Print what steers the terminal on purpose: a line that is written anew, of our own words and figures only."""
    builtins.print(text, end=end, file=file, flush=True)


def escaped(text: str) -> str:
    """A text as it may be printed."""
    return _ODD.sub(lambda found: json_escapes(found[0]), text)


def print_json(value: Any) -> None:
    """Print one JSON object."""
    import msgspec  # noqa: PLC0415 - not for help

    print(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())
