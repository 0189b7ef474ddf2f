"""Suggestions for mistyped words. All parts of Stepwell that suggest words use this module.

The search is bounded in the length of the word and in the number of names, since both may come from data of any size.
"""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable
from itertools import chain, islice
from typing import Final

_LONGEST: Final = 200
"""Characters of a word that is looked for: names and ids have no more."""
MOST: Final = 1_000
"""Names that are compared; difflib takes some 10 µs for each."""
_SCANNED: Final = 100_000
"""Names that are looked at, for the few that are worth a comparison; each takes some 0.2 µs."""


def near_words(word: str, known: Iterable[str], *, most: int = 1, cutoff: float = 0.6) -> list[str]:
    """Return the known names that a mistyped word may stand for.

    Args:
        word: What was written; one of more than 200 characters has no near name.
        known: The names there are. Of more than ``MOST`` only those are compared that begin or end as the word does
            and are about as long, and no more than the first 100,000 are looked at.
        most: How many are wanted.
        cutoff: How alike they must be, from 0 to 1 (``difflib``'s ratio).

    Returns:
        At most ``most`` names, the nearest first, whatever order they are known in.
    """
    if len(word) > _LONGEST:
        return []
    left = islice(known, _SCANNED)
    words = list(islice(left, MOST))
    more = next(left, None)
    if more is not None:  # too many to compare: look at those that begin or end alike, and are about as long
        alike = (
            other
            for other in chain(words, (more,), left)
            if abs(len(other) - len(word)) < 4 and (other[:1] == word[:1] or other[-1:] == word[-1:])
        )
        words = list(islice(alike, MOST))
    return difflib.get_close_matches(word, words, n=most, cutoff=cutoff)


def did_you_mean(name: str) -> str:
    """Return the hint itself, to be put behind what is wrong: ``, did you mean "extract"?``."""
    return f', did you mean "{name}"?'


def suggest(word: str, known: Iterable[str]) -> str:
    """``, did you mean "extract"?`` where something known is near; else nothing."""
    near = near_words(word, known)
    if near and _alike(near[0]) == _alike(word):
        return f", did you mean {near[0]!a}? It looks the same as {word!a}, and is written with other characters"
    return did_you_mean(near[0]) if near else ""


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
