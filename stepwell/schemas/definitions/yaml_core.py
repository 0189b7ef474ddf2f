"""YAML with the core schema of YAML 1.2, the one way in which Stepwell reads and writes it.

PyYAML knows YAML 1.1, in which ``12:30`` is 750, ``0644`` is 420 and a date is no text. Here a plain word is null, a
truth value, a number in decimal, ``0o`` or ``0x``, or else a text. What is written is read as the same value by
readers of either version: a text that one of them takes for something else stands in quotes.
"""

from __future__ import annotations

import math
import re
from typing import Any, Final

import yaml

from stepwell.schemas.definitions.bounds import CountingLoader

_TAG: Final = "tag:yaml.org,2002:"
TEXT: Final = f"{_TAG}str"
MERGE: Final = f"{_TAG}merge"
NUMBERS: Final = frozenset({f"{_TAG}int", f"{_TAG}float"})

_TRUTHS: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NULLS: Final = ("null", "Null", "NULL", "~", "")
_INT: Final = re.compile(r"[-+]?[0-9]+\Z|0o[0-7]+\Z|0x[0-9a-fA-F]+\Z")
_FLOAT: Final = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z|[-+]?\.(?:inf|Inf|INF)\Z|\.(?:nan|NaN|NAN)\Z"
)
_WORDS: Final[dict[str, float]] = {"inf": math.inf, "nan": math.nan}


def _resolvers() -> dict[str, list[tuple[str, re.Pattern[str]]]]:
    """What a plain word is, by its first character."""
    found: dict[str, list[tuple[str, re.Pattern[str]]]] = {
        "": [(f"{_TAG}null", re.compile(r"\Z"))],
        "<": [(MERGE, re.compile(r"<<\Z"))],
    }
    for words, name in ((_TRUTHS, "bool"), (_NULLS, "null")):
        pattern = re.compile(rf"(?:{'|'.join(map(re.escape, words))})\Z")
        for first in sorted({word[0] for word in words if word}):
            found.setdefault(first, []).append((_TAG + name, pattern))
    for first in "-+.0123456789":
        found[first] = [(f"{_TAG}int", _INT), (f"{_TAG}float", _FLOAT)]
    return found


Loader: Any = type(
    "Loader",
    # The one in C is ten times as fast, where it was built.
    (CountingLoader, getattr(yaml, "CSafeLoader", yaml.SafeLoader)),
    {"yaml_implicit_resolvers": _resolvers()},
)


def _scalar(loader: Any, node: yaml.Node) -> str:
    text: str = loader.construct_scalar(node)
    return text


def _null(loader: Any, node: yaml.Node) -> None:
    if _scalar(loader, node) not in _NULLS:
        raise ValueError("is no null")


def _truth(loader: Any, node: yaml.Node) -> bool:
    return _TRUTHS[_scalar(loader, node)]


def _int(loader: Any, node: yaml.Node) -> int:
    text = _scalar(loader, node)
    if not _INT.match(text):
        raise ValueError("is no int")
    return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))


def _float(loader: Any, node: yaml.Node) -> float:
    text = _scalar(loader, node)
    if not _FLOAT.match(text):
        raise ValueError("is no float")
    word = _WORDS.get(text[-3:].lower())
    if word is None:
        return float(text)
    return -word if text.startswith("-") else word


for _name, _made in (("null", _null), ("bool", _truth), ("int", _int), ("float", _float), ("merge", _scalar)):
    Loader.add_constructor(_TAG + _name, _made)


# --- writing ------------------------------------------------------------------------------------------------

# What some reader takes for another value than a text, beside what PyYAML knows of YAML 1.1 itself: numbers with
# signs, colons, commas, underscores or prefixes, dates, truth values of one letter.
_ODD: Final = re.compile(
    r"""
    [-+]? (?:[0-9][0-9_,:]*)? (?:\.[0-9_]*)? (?:[eE][-+]?[0-9]+)? \Z
    | [-+]? 0[xXoObB] [0-9a-fA-F_]+ \Z
    | [0-9]{4} - [0-9]{1,2} - [0-9]{1,2} (?:[Tt\ ].*)? \Z
    | [-+]? \. (?:inf|nan) \Z
    | (?:yes|no|on|off|y|n) \Z
    """,
    re.IGNORECASE | re.VERBOSE,
)
# Outside of double quotes PyYAML writes what YAML 1.1 takes for a line break as it is.
_BREAKS: Final = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


class _Dumper(yaml.SafeDumper):
    """Writes the same thing twice where it is there twice, as people do."""

    blocks = False

    def ignore_aliases(self, data: Any) -> bool:
        del data
        return True


class _BlockDumper(_Dumper):
    """Writes texts of several lines as blocks."""

    blocks = True


def _text(dumper: _Dumper, value: str) -> yaml.ScalarNode:
    style: str | None
    if _BREAKS.search(value):
        style = '"'
    elif _ODD.match(value):
        style = "'"
    else:
        style = "|" if dumper.blocks and "\n" in value else None
    return dumper.represent_scalar(TEXT, value, style=style)


_Dumper.add_representer(str, _text)
_BlockDumper.add_representer(str, _text)


def write_yaml(data: Any, *, width: int = 118, blocks: bool = False) -> str:
    """Plain data as YAML, in its order, which readers of YAML 1.1 and of 1.2 read as the same data.

    Args:
        width: Characters of a line, where lines can be broken.
        blocks: Write texts of several lines as blocks.
    """
    dumper = _BlockDumper if blocks else _Dumper
    made: str = yaml.dump(data, Dumper=dumper, sort_keys=False, allow_unicode=True, width=width)
    return made
