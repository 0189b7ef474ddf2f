"""The methods of expressions: of mappings, texts and lists, those that are pure and give JSON.

They mean what they mean in Python, except that ``keys``, ``values`` and ``items`` give lists, and that a view such as
``step_outputs`` is gone through in the order of its keys. What each costs is counted before it is made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from stepwell.core.expressions.operations import MAX_ELEMENTS, check_elements
from stepwell.core.expressions.values import MAX_TEXT, MISSING, SCALARS, Evaluation, check_text, kind, plain
from stepwell.errors import ExpressionError

MAX_STRIPPED: Final = 100
"""Characters that ``strip`` takes: each is compared with each that is taken away."""


_PIECE: Final = 32  # bytes of a list or a text that is made besides what it holds


def pay(run: Evaluation, *, elements: int = 0, characters: int = 0, made: bool = False) -> None:
    """Charge for what a method is about to go through or to make.

    Args:
        run: What pays.
        elements: How many.
        characters: How many, of all texts together.
        made: Whether they are made: then their bytes are paid for, too.

    Raises:
        ExpressionError: It is more than one operation may, or than is left.
    """
    check_elements(elements)
    check_text(characters)
    run.spend(elements + characters // 16)
    if made:
        run.make(_PIECE * elements + characters)


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise ExpressionError(f"{what} takes a text, not {kind(value)}")
    return value


def _whole(value: Any, what: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ExpressionError(f"{what} takes a whole number, not {kind(value)}")
    return max(-MAX_TEXT, min(value, MAX_TEXT))


# --- mappings -----------------------------------------------------------------------------------------------


def _get(_: Evaluation, mapping: Mapping[str, Any], key: Any, default: Any = None) -> Any:
    value = mapping.get(_text(key, "get()"), MISSING)
    return default if value is MISSING else value


def _names(run: Evaluation, mapping: Mapping[str, Any]) -> list[str]:
    pay(run, elements=len(mapping))
    return list(mapping) if type(mapping) is dict else sorted(mapping)


def _values(run: Evaluation, mapping: Mapping[str, Any]) -> list[Any]:
    return [mapping[key] for key in _names(run, mapping)]


def _items(run: Evaluation, mapping: Mapping[str, Any]) -> list[list[Any]]:
    pay(run, elements=len(mapping), made=True)
    return [[key, mapping[key]] for key in _names(run, mapping)]


# --- texts --------------------------------------------------------------------------------------------------


def _changed(change: Callable[[str], str]) -> Callable[..., str]:
    """A method that makes another text of about the same length; a letter becomes three at most."""

    def apply(run: Evaluation, text: str) -> str:
        pay(run, characters=len(text), made=True)
        made = change(text)
        pay(run, characters=len(made))
        return made

    return apply


def _asked(ask: Callable[[str], bool]) -> Callable[..., bool]:
    def apply(run: Evaluation, text: str) -> bool:
        pay(run, characters=len(text))
        return ask(text)

    return apply


def _stripped(strip: Callable[[str, str | None], str]) -> Callable[..., str]:
    def apply(run: Evaluation, text: str, characters: Any = None) -> str:
        if characters is not None and len(_text(characters, "strip()")) > MAX_STRIPPED:
            raise ExpressionError(f"strip() takes {MAX_STRIPPED} characters at most")
        pay(run, characters=len(text), made=True)
        return strip(text, characters)

    return apply


def _affixed(name: str, fits: Callable[[str, tuple[str, ...]], bool]) -> Callable[..., bool]:
    def apply(run: Evaluation, text: str, affix: Any) -> bool:
        affixes = tuple(affix) if isinstance(affix, (list, tuple)) else (affix,)
        pay(run, elements=len(affixes))
        for one in affixes:
            pay(run, characters=len(_text(one, name)))
        return fits(text, affixes)

    return apply


def _without(name: str, remove: Callable[[str, str], str]) -> Callable[..., str]:
    def apply(run: Evaluation, text: str, affix: Any) -> str:
        pay(run, characters=len(text), made=True)
        return remove(text, _text(affix, name))

    return apply


def _split(run: Evaluation, text: str, separator: Any = None, most: Any = -1) -> list[str]:
    most = _whole(most, "split()")
    pay(run, characters=len(text), made=True)
    # One piece more than may be, at most: so what is too much is never made.
    limit = MAX_ELEMENTS if not 0 <= most < MAX_ELEMENTS else most
    made = text.split(None if separator is None else _text(separator, "split()"), limit)
    if limit != most and len(made) > MAX_ELEMENTS:
        raise ExpressionError(f"more than {MAX_ELEMENTS:,} elements")
    pay(run, elements=len(made), made=True)
    return made


def _lines(run: Evaluation, text: str) -> list[str]:
    pay(run, characters=len(text), made=True)
    made = text.splitlines()
    pay(run, elements=len(made), made=True)
    return made


def _join(run: Evaluation, text: str, parts: Any) -> str:
    if not isinstance(parts, (list, tuple)):
        raise ExpressionError(f"join() takes a list of texts, not {kind(parts)}")
    pay(run, elements=len(parts))
    size = sum(len(_text(part, "join()")) for part in parts) + len(text) * max(0, len(parts) - 1)
    pay(run, characters=size, made=True)
    return text.join(parts)


def _replace(run: Evaluation, text: str, old: Any, new: Any, most: Any = -1) -> str:
    old, new, most = _text(old, "replace()"), _text(new, "replace()"), _whole(most, "replace()")
    pay(run, characters=len(text))
    there = text.count(old)
    if 0 <= most < there:
        there = most
    pay(run, characters=len(text) + there * (len(new) - len(old)), made=True)
    return text.replace(old, new, there)


# --- texts and lists ----------------------------------------------------------------------------------------


def _sought(name: str, run: Evaluation, where: Any, what: Any) -> Any:
    """What is looked for in a text or a list, whose elements are paid for."""
    if isinstance(where, str):
        pay(run, characters=len(where))
        return _text(what, name)
    pay(run, elements=len(where))
    return what if type(what) in SCALARS else plain(what, run, made=False)


def _comparable(run: Evaluation, where: Any, what: Any) -> Any:
    return where if isinstance(where, str) or type(what) in SCALARS else plain(where, run, made=False)


def _count(run: Evaluation, where: Any, what: Any) -> int:
    what = _sought("count()", run, where, what)
    return int(_comparable(run, where, what).count(what))


def _index(run: Evaluation, where: Any, what: Any) -> int:
    what = _sought("index()", run, where, what)
    try:
        return int(_comparable(run, where, what).index(what))
    except ValueError:
        raise ExpressionError(
            "index() finds nothing", remedy="Ask with in first; of a text, find() gives -1."
        ) from None


def _find(run: Evaluation, text: str, what: Any) -> int:
    return text.find(_sought("find()", run, text, what))


class Method(NamedTuple):
    """A method: of which kinds of values, what it does, and how many arguments it takes."""

    of: tuple[type, ...]
    apply: Callable[..., Any]
    fewest: int = 0
    most: int = 0


_TEXT: Final = (str,)
_LISTED: Final = (str, list, tuple)
_MAPPING: Final[tuple[type, ...]] = (Mapping,)

METHODS: Final[dict[str, Method]] = {
    "get": Method(_MAPPING, _get, 1, 2),
    "keys": Method(_MAPPING, _names),
    "values": Method(_MAPPING, _values),
    "items": Method(_MAPPING, _items),
    "lower": Method(_TEXT, _changed(str.lower)),
    "upper": Method(_TEXT, _changed(str.upper)),
    "casefold": Method(_TEXT, _changed(str.casefold)),
    "title": Method(_TEXT, _changed(str.title)),
    "capitalize": Method(_TEXT, _changed(str.capitalize)),
    "strip": Method(_TEXT, _stripped(str.strip), 0, 1),
    "lstrip": Method(_TEXT, _stripped(str.lstrip), 0, 1),
    "rstrip": Method(_TEXT, _stripped(str.rstrip), 0, 1),
    "startswith": Method(_TEXT, _affixed("startswith()", str.startswith), 1, 1),
    "endswith": Method(_TEXT, _affixed("endswith()", str.endswith), 1, 1),
    "removeprefix": Method(_TEXT, _without("removeprefix()", str.removeprefix), 1, 1),
    "removesuffix": Method(_TEXT, _without("removesuffix()", str.removesuffix), 1, 1),
    "split": Method(_TEXT, _split, 0, 2),
    "splitlines": Method(_TEXT, _lines),
    "join": Method(_TEXT, _join, 1, 1),
    "replace": Method(_TEXT, _replace, 2, 3),
    "find": Method(_TEXT, _find, 1, 1),
    "count": Method(_LISTED, _count, 1, 1),
    "index": Method(_LISTED, _index, 1, 1),
    "isdigit": Method(_TEXT, _asked(str.isdigit)),
    "isalpha": Method(_TEXT, _asked(str.isalpha)),
    "isalnum": Method(_TEXT, _asked(str.isalnum)),
}  # fmt: skip


def call(name: str) -> Callable[..., Any]:
    """What calls a method of ``METHODS``: with the evaluation, the value whose method it is, and the arguments."""
    method = METHODS[name]

    def apply(run: Evaluation, value: Any, *arguments: Any) -> Any:
        if not isinstance(value, method.of):
            there = [other for other, one in METHODS.items() if isinstance(value, one.of)]
            has = f"{kind(value)} has {', '.join(f'{other}()' for other in there)}" if there else ""
            raise ExpressionError(
                f"{kind(value)} has no {name}()", remedy=f"{has[:1].upper()}{has[1:]}." if has else ""
            )
        return method.apply(run, value, *arguments)

    return apply
