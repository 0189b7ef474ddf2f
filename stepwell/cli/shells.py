"""How bash, zsh and fish ask for completions, and how the answer is written for each.

Click has a script and a class for each shell. Its bash script hands over words as bash has made them of the line,
split at ``COMP_WORDBREAKS``: ``file:PATH``, ``NAME@VERSION`` and ``--workflow=NAME`` come in pieces. Ours hands over
the line itself, and the part of it that bash is going to replace; and it takes every answer as it is, where click's
expands ``*``. zsh and fish get what click has for them, without the words that would need quotes there.
"""

from __future__ import annotations

import os
import shlex
from typing import Any, ClassVar, Final, NamedTuple

from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    add_completion_class,
)

_LINE: Final = "_STEPWELL_LINE"  # of what was typed, as far as the cursor
_WORD: Final = "_STEPWELL_WORD"  # the end of that line which bash replaces

_BASH: Final = f"""\
%(complete_func)s() {{
    local type value
    COMPREPLY=()
    while IFS=, read -r type value; do
        case $type in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain) COMPREPLY+=("$value") ;;
        esac
    done <<< "$(env {_LINE}="${{COMP_LINE:0:COMP_POINT}}" {_WORD}="$2" %(complete_var)s=bash_complete "$1")"
}}

complete -o nosort -F %(complete_func)s %(prog_name)s
"""

_PLAIN: Final = frozenset("%+,-./_@:=")  # beside letters and digits: what bash takes for itself anywhere in a word
_EATEN: Final = {"'": "'", '"': '"\\$`!'}
"""What cannot stand within quotes that are open, by the quote."""


class Line(NamedTuple):
    """A line that is being typed.

    Attributes:
        before: The words before the last one.
        word: The last one, without its quotes; empty where another one has not begun.
        raw: The same as it was typed.
        quote: The quote that is still open in it; empty if none is.
    """

    before: list[str]
    word: str
    raw: str
    quote: str


def split(line: str) -> Line:
    """Take a line apart as a shell does, as far as it was typed."""
    words: list[str] = []
    word, start, quote, escaped, inside = "", 0, "", False, False
    for index, letter in enumerate(line):
        if escaped:
            word += letter if not quote or letter in '"\\$`' else f"\\{letter}"
            escaped = False
        elif letter == "\\" and quote != "'":
            escaped = inside = True
        elif quote:
            quote, word = ("", word) if letter == quote else (quote, word + letter)
        elif letter in "'\"":
            quote, inside = letter, True
        elif letter.isspace():
            if inside:
                words.append(word)
            word, start, inside = "", index + 1, False
        else:
            word, inside = word + letter, True
    return Line(words, word, line[start:], quote)


class Bash(BashComplete):
    """Completion for bash, 4.4 and later."""

    source_template: ClassVar[str] = _BASH

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words before the one that is completed, and that one as far as it was typed."""
        if _LINE not in os.environ:
            return super().get_completion_args()  # by a script that an earlier version has printed
        self._line = split(os.environ[_LINE])
        return self._line.before[1:], self._line.word

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[Any]]:
        """What the word may become, each as what takes the place of that part of it which bash replaces."""
        found = super().get_completions(args, incomplete)
        if _LINE not in os.environ:
            return _as_they_are(found)
        typed = self._line
        replaced = os.environ.get(_WORD, "")
        kept = split(typed.raw.removesuffix(replaced)).word if typed.raw.endswith(replaced) else ""
        option = incomplete.partition("=")[0] + "=" if incomplete.startswith("--") and "=" in incomplete else ""
        for item in found:
            if item.type == "plain":
                whole = item.value if item.value.startswith(incomplete) else option + item.value
                item.value = _written(whole.removeprefix(kept), typed.quote)
        return [item for item in found if item.type != "plain" or item.value]


def _written(text: str, quote: str) -> str:
    """A text as it stands on the command line; empty if it cannot stand there."""
    if not text.isprintable():
        return ""
    if quote:
        return "" if set(text) & set(_EATEN[quote]) else text
    return "".join(one if one.isalnum() or one in _PLAIN else f"\\{one}" for one in text)


class _Unquoted(ShellComplete):
    """Completion without the words that would need quotes."""

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[Any]]:
        """What the word may become."""
        return _as_they_are(super().get_completions(args, incomplete))


class Zsh(_Unquoted, ZshComplete):
    """Completion for zsh."""


class Fish(_Unquoted, FishComplete):
    """Completion for fish."""


def _as_they_are(found: list[CompletionItem[Any]]) -> list[CompletionItem[Any]]:
    """Those that every shell takes as they are: an id such as ``$(reboot)`` would be run."""
    return [item for item in found if item.type != "plain" or shlex.quote(item.value) == item.value]


SHELLS: Final[dict[str, type[ShellComplete]]] = {"bash": Bash, "zsh": Zsh, "fish": Fish}


def register() -> None:
    """Let click answer shells with these."""
    for name, kind in SHELLS.items():
        add_completion_class(kind, name)
