"""Near words, for whoever has mistyped one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def suggest(word: str, known: Iterable[str]) -> str:
    """``, did you mean "extract"?`` where something known is near; else nothing."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f', did you mean "{near[0]}"?' if near else ""


def choice(word: str, known: Iterable[str]) -> str:
    """What ``suggest`` says, or else what there is."""
    return suggest(word, known) or f"; there are {', '.join(known)}"
