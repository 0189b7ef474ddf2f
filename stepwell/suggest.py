"""Near words, for whoever has mistyped one. Bounded: whoever has mistyped all of them is not helped by a wait."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable
from itertools import chain, islice
from typing import Final

_LONGEST: Final = 200
"""Characters of a word that is looked for: names and ids have no more."""
_MOST: Final = 1_000
"""Words that are compared; difflib takes some 10 µs for each."""


def suggest(word: str, known: Iterable[str]) -> str:
    """``, did you mean "extract"?`` where something known is near; else nothing."""
    if len(word) > _LONGEST:
        return ""
    left = iter(known)
    words = list(islice(left, _MOST))
    more = next(left, None)
    if more is not None:  # too many to compare: look at those that begin or end alike, and are about as long
        alike = (
            other
            for other in chain(words, (more,), left)
            if abs(len(other) - len(word)) < 4 and (other[:1] == word[:1] or other[-1:] == word[-1:])
        )
        words = list(islice(alike, _MOST))
    near = difflib.get_close_matches(word, words, n=1, cutoff=0.6)
    if near and _alike(near[0]) == _alike(word):
        return f", did you mean {near[0]!a}? It looks the same as {word!a}, and is written with other characters"
    return f', did you mean "{near[0]}"?' if near else ""


def _alike(word: str) -> str:
    return unicodedata.normalize("NFKC", word)


def choice(word: str, known: Iterable[str]) -> str:
    """What ``suggest`` says, or else what there is."""
    return suggest(word, known) or f"; there are {', '.join(known)}"


class Suggestions:
    """Near words for the first mistakes of a definition.

    Args:
        most: How many words are looked for.
    """

    def __init__(self, most: int = 20) -> None:
        self._left = most

    def near(self, word: str, *known: Iterable[str]) -> str:
        """What ``suggest`` says, for the first words; then nothing."""
        self._left -= 1
        return suggest(word, chain(*known)) if self._left >= 0 else ""
