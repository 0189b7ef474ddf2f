"""What handlers return, as the JSON that is recorded: all of it, or an error that names the place.

Anything that has one obvious form as JSON is taken: Structs, dataclasses, pydantic models, dates, paths, numpy's
numbers and arrays; a subclass of a text, a number or a date as its base. What would be read back as something else (a
number that is none, two keys that are one in JSON) is refused: nothing is lost without a word.
"""

from __future__ import annotations

import dataclasses
import math
import operator
import os
from collections import UserString
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from numbers import Integral, Real
from typing import Any, Final, NoReturn

import msgspec

from stepwell.consumers.worker.failures import ReportedError, too_deep
from stepwell.schemas.records.codec import MOST_NESTED

MOST_ITEMS: Final = (
    1_000_000  # of one sequence that is made a list; each has two bytes at least, and a log takes less
)

_decode = msgspec.json.Decoder().decode
_encode_known = msgspec.json.Encoder().encode


def as_json(result: Any, updates: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """What a handler has returned and what it has set in the shared context, as JSON.

    Raises:
        TypeError: It is no JSON; the message names the place, such as ``result.items[3].price``.
        ReportedError: It is nested too deeply.
    """
    return plain(result, "result"), plain(updates, "context") if updates else {}


def plain(value: Any, name: str) -> Any:
    """A value as plain JSON data.

    Args:
        name: What it is called in messages.

    Raises:
        TypeError: It is no JSON; the message names the place in it.
        ReportedError: It is nested too deeply.
    """
    try:
        read = _decode(_encode_known(value))
        if read == value:  # nearly always: it is plain data
            return read
    except Exception:  # noqa: S110 - it holds what msgspec does not know by itself, or what is no JSON
        pass
    try:
        made = msgspec.to_builtins(value, enc_hook=_base)
        written = _encode(made)
        read = _decode(written)
        # Two keys that are one in JSON are two where the value itself is written, and one in what was made of it.
        if read != made or len(written) != len(_encode(value)):
            read = _part_by_part(value, name)
    except Exception:  # msgspec does not say which part of it is to blame
        read = _part_by_part(value, name)
    return read


_PLAIN: Final[tuple[tuple[Any, Callable[[Any], Any]], ...]] = (
    (str, str.__str__),
    (int, int.__int__),
    (float, float.__float__),
    (bytes | bytearray, bytes),
    (UserString, lambda value: value.data),
    (datetime, lambda value: datetime.fromisoformat(datetime.isoformat(value))),
    (date, lambda value: date.fromisoformat(date.isoformat(value))),
    (time, lambda value: time.fromisoformat(time.isoformat(value))),
    (timedelta, lambda value: timedelta(value.days, value.seconds, value.microseconds)),
    (Decimal, lambda value: Decimal(Decimal.__str__(value))),
    (os.PathLike, os.fsdecode),
)
"""Of subclasses of these: how the plain value is made. A datetime is a date, too, so it comes first."""


def _check_size(items: int) -> None:
    if items > MOST_ITEMS:
        raise TypeError(f"has more than {MOST_ITEMS:,} items; write it to a file and return its path")


def _base(value: Any) -> Any:
    """What stands for an object of a type that msgspec does not know: its base, in one step."""
    for kind, plain in _PLAIN:
        if isinstance(value, kind):
            return plain(value)
    dump = getattr(value, "model_dump", None)  # pydantic's, and whoever follows it
    if callable(dump) and not isinstance(value, type):
        return dump(mode="json")
    if hasattr(value, "dtype") and callable(getattr(value, "tolist", None)):  # numpy's scalars and arrays
        _check_size(getattr(value, "size", 1))
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value.items())
    if isinstance(value, Sequence | AbstractSet):
        _check_size(len(value))
        return list(value)
    if isinstance(value, Integral):
        return operator.index(value)
    if isinstance(value, Real) and (number := float(value)) == value:
        return number
    raise TypeError(f"is {_kind(value)}, which is no JSON")


_encode = msgspec.json.Encoder(enc_hook=_base).encode


def _kind(value: Any) -> str:
    kind = type(value)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


# --- part by part, to name the place ---------------------------------------------------------------------------


def _part_by_part(value: Any, name: str) -> Any:
    try:
        return _walk(value, name, ())
    except RecursionError:
        raise ReportedError(too_deep()) from None


def _walk(value: Any, path: str, within: tuple[int, ...]) -> Any:
    """The same, slowly.

    Args:
        within: The objects that it lies in, by ``id``.
    """
    kind = type(value)
    if value is None or kind is bool:
        return value
    if kind in _SCALARS:
        return _SCALARS[kind](value, path)
    if id(value) in within:
        _refuse(path, "contains itself")
    if len(within) > MOST_NESTED:
        raise ReportedError(too_deep())
    within = (*within, id(value))
    if isinstance(value, dict):
        return _mapping(value, path, within)
    if isinstance(value, list | tuple | set | frozenset):
        return [_walk(item, f"{path}[{number}]", within) for number, item in enumerate(value)]
    fields = _fields(value)
    if fields is not None:
        return _mapping(fields, path, within)
    made = _one_step(value, path)
    if type(made) is kind:  # it stands for itself, and something in it was refused
        _refuse(path, f"is {_kind(value)}, which is no JSON")
    return _walk(made, path, within)


def _one_step(value: Any, path: str) -> Any:
    """What stands for an object: all of it, or as far as that goes its base."""
    try:
        return msgspec.to_builtins(value, enc_hook=_base)
    except Exception:
        try:
            return _base(value)
        except Exception as error:
            own = isinstance(error, TypeError) and str(error).startswith(("is ", "has "))
            _refuse(path, str(error) if own else f"cannot be made JSON: {type(error).__name__}: {error}")


def _mapping(value: Mapping[Any, Any], path: str, within: tuple[int, ...]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    keys: dict[str, Any] = {}
    for key, item in value.items():
        text = _key(key, path)
        if text in made:
            _refuse(path, f'has two keys that are both "{text}" in JSON: {keys[text]!r} and {key!r}')
        keys[text] = key
        made[text] = _walk(item, f"{path}.{text}" if text.isidentifier() else f"{path}[{text!r}]", within)
    return made


def _key(key: Any, path: str) -> str:
    """A key as JSON has it: a text."""
    if isinstance(key, str):
        return _text(str.__str__(key), path)
    try:
        made = msgspec.to_builtins(key, enc_hook=_base)
    except Exception:
        made = key
    if isinstance(made, str):
        return made
    if not (made is None or isinstance(made, bool | int) or (isinstance(made, float) and math.isfinite(made))):
        _refuse(path, f"has a key that is {_kind(key)}; in JSON, keys are texts")
    return _encode_known(_whole(made, path, "has a key that is") if isinstance(made, int) else made).decode()


def _whole(value: int, path: str, what: str = "is") -> int:
    if value.bit_length() > 64:
        try:
            _encode_known(value)
        except ValueError:  # Python itself neither reads nor writes it as a text
            _refuse(path, f"{what} a whole number of too many digits to be written; return it in another form")
    return value


def _text(value: str, path: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        _refuse(path, "holds half of a character (a surrogate), as names of files may; return it in another form")
    return value


def _number(value: float, path: str) -> float:
    if not math.isfinite(value):
        _refuse(path, f"is {value}, which JSON has no number for; return None where there is no number")
    return value


_SCALARS: Final[Mapping[type, Callable[[Any, str], Any]]] = {int: _whole, str: _text, float: _number}


def _fields(value: Any) -> dict[str, Any] | None:
    """The fields of a Struct, a dataclass or an object of attrs, by the names that they have in JSON."""
    kind = type(value)
    if isinstance(value, msgspec.Struct):
        config = kind.__struct_config__
        if config.array_like:
            return None
        tag = {} if config.tag is None else {config.tag_field or "type": config.tag}
        names = zip(kind.__struct_fields__, kind.__struct_encode_fields__, strict=True)
        return {**tag, **{encoded: getattr(value, name) for name, encoded in names}}
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    attributes = getattr(kind, "__attrs_attrs__", None)
    return None if attributes is None else {one.name: getattr(value, one.name) for one in attributes}


def _refuse(path: str, why: str) -> NoReturn:
    raise TypeError(f"{path} {why}")
