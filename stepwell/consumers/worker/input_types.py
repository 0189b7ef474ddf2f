"""Types that handlers want their input as: msgspec's own, and others that can be made of JSON."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from inspect import Parameter
from typing import Any, Final, get_args, get_origin

import msgspec
from msgspec.inspect import CustomType, Field, type_info

from stepwell.errors import HandlerError

_JSON: Final = (dict, list, str, int, float, bool, type(None))
_BASES: Final = (str, int, float)
_AS_IT_IS: Final = (None, Any, dict, list, object, Parameter.empty)


def convert(data: Any, wanted: Any) -> Any:
    """JSON data as a type; leniently, so that the text ``"3"`` fits an ``int``.

    Raises:
        msgspec.ValidationError: It does not fit.
    """
    return msgspec.convert(data, wanted, strict=False, dec_hook=_make)


def _make(kind: Any, data: Any) -> Any:
    """An object of a type that msgspec does not know. ``msgspec.convert`` makes errors of what this raises."""
    validate = getattr(kind, "model_validate", None)  # pydantic's, and whoever follows it
    if callable(validate):
        return validate(data)
    plain = get_origin(kind)
    if isinstance(data, plain or kind):  # one of the abstract types
        parts = get_args(kind)
        return [convert(item, parts[0]) for item in data] if parts and isinstance(data, list) else data
    kind = plain or kind
    if issubclass(kind, os.PathLike):
        return kind(msgspec.convert(data, str))
    for base in _BASES:
        if issubclass(kind, base):
            return kind(msgspec.convert(data, base, strict=False))
    raise TypeError(f"Expected `{kind.__name__}`, got `{type(data).__name__}`")


def is_structured(wanted: Any) -> bool:
    """Whether an annotation asks for more than the JSON that is there anyway."""
    if any(wanted is plain for plain in _AS_IT_IS):
        return False
    if getattr(wanted, "__origin__", None) in (dict, list, Mapping):
        return any(_holds_objects(part) for part in get_args(wanted))
    return True


def _holds_objects(wanted: Any) -> bool:
    """Whether a type of a list's items, or a mapping's values, is one of somebody's own."""
    parts = get_args(wanted)
    if parts:
        return any(_holds_objects(part) for part in parts)
    return isinstance(wanted, type) and wanted not in _JSON and wanted is not object


def check_type(wanted: Any, place: str, name: str) -> None:
    """Refuse a type of which no input could ever be made.

    Args:
        place: The handler.
        name: Its parameter.

    Raises:
        HandlerError: It is one.
    """
    try:
        unknown = [kind for kind in _custom(type_info(wanted), set()) if not _can_be_made(kind)]
        problem = f"of which {unknown[0].__name__} cannot be made from JSON" if unknown else ""
    except TypeError as error:  # a union that JSON cannot tell apart
        problem = f"which cannot be made from JSON: {error}"
    if problem:
        shown = wanted.__name__ if isinstance(wanted, type) else str(wanted)
        problem = "which cannot be made from JSON" if problem.startswith(f"of which {shown} ") else problem
        raise HandlerError(
            f"wants {name!r} as {shown}, {problem}",
            place=place,
            remedy="Annotate it with a msgspec Struct, a dataclass, a TypedDict, a pydantic model or a plain type; "
            "or take the data as it is (dict), and make of it what you like.",
        )


def _custom(info: Any, seen: set[int]) -> Iterator[type]:
    """The types in a type that msgspec does not know, and that an input must have."""
    if id(info) in seen:
        return
    seen.add(id(info))
    if isinstance(info, CustomType):
        yield info.cls
        return
    if isinstance(info, Field) and not info.required:
        return
    for name in getattr(info, "__struct_fields__", ()):
        value = getattr(info, name)
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, msgspec.inspect.Type | Field):
                yield from _custom(part, seen)


def _can_be_made(kind: type) -> bool:
    if callable(getattr(kind, "model_validate", None)):
        return True
    try:
        return issubclass(kind, (*_BASES, os.PathLike)) or any(issubclass(plain, kind) for plain in _JSON)
    except TypeError:  # a protocol that cannot be asked for
        return False
