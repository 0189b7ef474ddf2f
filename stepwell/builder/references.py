"""Results that are not there yet: what a workflow function passes from step to step while it is recorded.

To mypy the result of a step has the type that the step's function returns. While the workflow is built it is a
``Reference``: it knows where the value will stand (``step_outputs.charge.id``) and becomes a template wherever it is
written. What needs the value itself (``if``, arithmetic, a loop) is refused with what to do instead.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import keyword
import re
import types
import typing
import uuid
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final, NoReturn, get_args, get_origin, get_type_hints

import msgspec

from stepwell.errors import BuildError
from stepwell.schemas.definitions.bounds import not_finite
from stepwell.suggest import choice

_PATH: Final = re.compile(r"[A-Za-z_][\w.]*\Z")
_INPUT: Final = re.compile(r"\(*input\b")
_PLAIN: Final = re.compile(r"[A-Za-z_]\w*\Z")
_NO_MAPPINGS: Final = (
    Sequence, AbstractSet, int, float, dt.date, dt.time, dt.timedelta, decimal.Decimal, enum.Enum, uuid.UUID,
)  # fmt: skip
_WHEN: Final = (
    "Put the steps under `with stepwell.when(…):`, or give one step `.using(condition=…)`; "
    "join conditions with & and |, and negate with stepwell.unless."
)
_COMPUTE: Final = "Compute it in a step, or write it as text: stepwell.expression('…')."
_LOOP: Final = "Pass it whole to a step that works through it; loops over what is known now are fine."


class UnknownFieldError(BuildError, AttributeError):
    """A step's result has no such field."""


class Reference:
    """Where a value will stand once the workflow runs.

    Args:
        source: The expression that gives it.
        hint: Its type, as far as it is known.
        step: Id of the step whose whole result this is; empty for anything else.
        atom: Whether it needs no parentheses within a longer expression.
    """

    __slots__ = ("_stepwell_atom", "_stepwell_hint", "_stepwell_source", "_stepwell_step")

    def __init__(self, source: str, hint: Any = None, *, step: str = "", atom: bool = True) -> None:
        self._stepwell_atom = source if atom else f"({source})"
        self._stepwell_source = source
        self._stepwell_hint = _bare(hint)
        self._stepwell_step = step

    # --- what leads on ------------------------------------------------------------------------------------------

    def __getattr__(self, name: str) -> Any:
        if name.startswith(("__", "_stepwell")):
            raise AttributeError(name)  # Python itself asks
        key, hint = _field(self._stepwell_hint, name, self)
        path = _joined(self._stepwell_atom, key)
        default = _default(self._stepwell_hint, name) if self._may_lack_fields() else None
        if default is not None:
            return Reference(f"{path} if {key!r} in {self._stepwell_atom} else {default}", hint, atom=False)
        return Reference(path, hint)

    def _may_lack_fields(self) -> bool:
        """Whether fields that have a default may be missing: the input is as its sender wrote it."""
        config = getattr(self._stepwell_hint, "__struct_config__", None)
        return bool(_INPUT.match(self._stepwell_source) or (config and config.omit_defaults))

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice):
            parts = ["" if part is None else literal(part) for part in (key.start, key.stop)]
            return Reference(f"{self._stepwell_atom}[{':'.join(parts)}]", self._stepwell_hint)
        return Reference(_joined(self._stepwell_atom, key), _item(self._stepwell_hint, key))

    # --- what becomes a condition ---------------------------------------------------------------------------------

    def __eq__(self, other: object) -> Any:
        return self._compared("==", other)

    def __ne__(self, other: object) -> Any:
        return self._compared("!=", other)

    def __lt__(self, other: object) -> Any:
        return self._compared("<", other)

    def __le__(self, other: object) -> Any:
        return self._compared("<=", other)

    def __gt__(self, other: object) -> Any:
        return self._compared(">", other)

    def __ge__(self, other: object) -> Any:
        return self._compared(">=", other)

    def _compared(self, sign: str, other: object) -> Any:
        return Reference(f"{_operand(self)} {sign} {_operand(other)}", bool, atom=False)

    def __and__(self, other: object) -> Any:
        return Reference(f"{_operand(self)} and {_operand(other)}", bool, atom=False)

    def __rand__(self, other: object) -> Any:
        return Reference(f"{_operand(other)} and {_operand(self)}", bool, atom=False)

    def __or__(self, other: object) -> Any:
        return Reference(f"{_operand(self)} or {_operand(other)}", bool, atom=False)

    def __ror__(self, other: object) -> Any:
        return Reference(f"{_operand(other)} or {_operand(self)}", bool, atom=False)

    def __invert__(self) -> Any:
        return Reference(f"not {_operand(self)}", bool, atom=False)

    def __hash__(self) -> int:
        return object.__hash__(self)

    # --- what becomes text ------------------------------------------------------------------------------------------

    def __str__(self) -> str:
        return f"{{{{ {self._stepwell_source} }}}}"

    def __format__(self, spec: str) -> str:
        if spec:
            self._refuse(f"cannot be formatted as {spec!r}", _COMPUTE)
        return str(self)

    def __repr__(self) -> str:
        return f"<{self._stepwell_source}, known when the workflow runs>"

    # --- what cannot be -------------------------------------------------------------------------------------------

    def _refuse(self, what: str, remedy: str) -> NoReturn:
        raise BuildError(
            f"{what}: its value is known only when the workflow runs", place=self._stepwell_source, remedy=remedy
        )

    def __bool__(self) -> bool:  # noqa: PLE0304 - it never returns
        self._refuse("cannot be used in if, while, and, or, not", _WHEN)

    def __iter__(self) -> Any:
        self._refuse("cannot be looped over or unpacked", _LOOP)

    def __len__(self) -> int:  # noqa: PLE0303 - likewise
        self._refuse("has no length yet", _COMPUTE)

    def __contains__(self, item: object) -> bool:
        self._refuse("cannot be searched with in", "Write the condition as text: stepwell.expression('a in b').")

    def __await__(self) -> Any:
        self._refuse("needs no await", "Write the workflow with def: its steps wait by themselves.")

    def __call__(self, *_: Any, **__: Any) -> Any:
        """Refuse: a result has no methods before it is there."""
        self._refuse("has no methods to call", _COMPUTE)

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_stepwell"):
            self._refuse("cannot be changed", "Return the changed value from a step.")
        object.__setattr__(self, name, value)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._refuse("cannot be changed", "Return the changed value from a step.")


def _refusing(what: str) -> Any:
    def method(self: Reference, *_: Any) -> Any:
        self._refuse(what, _COMPUTE)

    return method


for _name in (
    "add",
    "sub",
    "mul",
    "truediv",
    "floordiv",
    "mod",
    "pow",
    "matmul",
    "lshift",
    "rshift",
    "xor",
    "divmod",
):
    setattr(Reference, f"__{_name}__", _refusing("cannot be computed with"))
    setattr(Reference, f"__r{_name}__", _refusing("cannot be computed with"))
for _name in ("neg", "pos", "abs", "round", "int", "float", "index", "complex", "trunc", "floor", "ceil"):
    setattr(Reference, f"__{_name}__", _refusing("cannot be computed with"))


def expression(source: str, *, hint: Any = None) -> Any:
    """A value by an expression of your own: what a workflow built in Python cannot say otherwise.

    Args:
        source: In the language of conditions: ``len(step_outputs.load.rows) > 3``, ``context.total``, ``error.type``.
        hint: Its type, where its fields shall be checked.
    """
    source = source.strip()
    return Reference(source, hint, atom=bool(_PATH.match(source)))


def source_of(value: Any) -> str:
    """A condition as text.

    Raises:
        BuildError: It is known already, so it can decide nothing later.
    """
    if isinstance(value, Reference):
        return value._stepwell_source
    if isinstance(value, str):
        return value
    raise BuildError(
        f"{value!r} is no condition: it is known now, and would be the same in every run",
        remedy="Compare a step's result or the input, write an expression as text, or use a plain if.",
    )


def plain(value: Any, place: str) -> Any:
    """A value as it stands in a definition: references as templates, the rest as JSON.

    Raises:
        BuildError: It has no form as JSON.
    """

    def encode(part: Any) -> Any:
        if isinstance(part, Reference):
            return str(part)
        raise TypeError(f"{type(part).__name__} {part!r:.100} has no form as JSON")

    try:
        return msgspec.to_builtins(value, enc_hook=encode, str_keys=True)
    except (TypeError, ValueError, RecursionError) as error:
        raise BuildError(
            f"cannot be written into a definition: {error}",
            place=place,
            remedy="Pass JSON-able values, Structs, dataclasses, and results of steps.",
        ) from None


def literal(value: Any) -> str:
    """A value as it is written in an expression."""
    if isinstance(value, Reference):
        return value._stepwell_source
    place = not_finite(value)
    if place is not None:
        raise BuildError("NaN and infinity have no form in an expression", place=place)
    return repr(plain(value, "a condition"))


def _operand(value: Any) -> str:
    return value._stepwell_atom if isinstance(value, Reference) else literal(value)


def _joined(atom: str, key: Any) -> str:
    if isinstance(key, str) and _PLAIN.match(key) and not keyword.iskeyword(key):
        return f"{atom}.{key}"
    return f"{atom}[{literal(key)}]"


# --- what a type says of its parts --------------------------------------------------------------------------------


def _bare(hint: Any) -> Any:
    """A type without its annotations and without None."""
    while get_origin(hint) is typing.Annotated:
        hint = get_args(hint)[0]
    if get_origin(hint) in (typing.Union, types.UnionType):
        left = [part for part in get_args(hint) if part is not type(None)]
        return _bare(left[0]) if len(left) == 1 else None
    return hint


def is_plain_value(hint: Any) -> bool:
    """Whether values of this type are texts, numbers, truth values or lists as JSON: no mappings."""
    while get_origin(hint) is typing.Annotated:
        hint = get_args(hint)[0]
    if get_origin(hint) in (typing.Union, types.UnionType):
        return all(is_plain_value(part) for part in get_args(hint) if part is not type(None))
    kind = get_origin(hint) or hint
    return kind is typing.Literal or (isinstance(kind, type) and issubclass(kind, _NO_MAPPINGS))


def _hints(kind: Any) -> dict[str, Any]:
    try:
        return get_type_hints(kind)
    except (NameError, TypeError, AttributeError):  # names that only type checkers see
        return {}


def _field(kind: Any, name: str, owner: Reference) -> tuple[Any, Any]:
    """The key under which a field of a value of this type stands in JSON, and the field's type."""
    kind = get_origin(kind) or kind
    if not isinstance(kind, type):
        return name, None
    keys: dict[str, Any] = {}
    if issubclass(kind, msgspec.Struct):
        names = kind.__struct_fields__
        keys = dict(zip(names, kind.__struct_encode_fields__, strict=True))
        if kind.__struct_config__.array_like:
            first = 0 if kind.__struct_config__.tag is None else 1
            keys = {field: number for number, field in enumerate(names, first)}
    elif dataclasses.is_dataclass(kind):
        keys = {field.name: field.name for field in dataclasses.fields(kind)}
    elif issubclass(kind, tuple) and hasattr(kind, "_fields"):
        keys = {field: number for number, field in enumerate(kind._fields)}
    else:
        return name, None
    if name not in keys:
        hint = choice(name, keys)
        raise UnknownFieldError(
            f"{kind.__name__} has no field {name!r}{hint}",
            place=repr(owner),
            remedy="Only fields can be referred to; methods and properties run in steps.",
        )
    return keys[name], _hints(kind).get(name)


def _default(kind: Any, name: str) -> str | None:
    """What a field is if it is not there; None where it has no default that can be written down."""
    kind = get_origin(kind) or kind
    value: Any = msgspec.NODEFAULT
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and not kind.__struct_config__.array_like:
        info = {field.name: field for field in msgspec.structs.fields(kind)}[name]
        value, make = info.default, info.default_factory
    elif isinstance(kind, type) and dataclasses.is_dataclass(kind):
        field = {field.name: field for field in dataclasses.fields(kind)}[name]
        value, make = (
            msgspec.NODEFAULT if given is dataclasses.MISSING else given
            for given in (field.default, field.default_factory)
        )
    else:
        return None
    if make is list or make is dict:
        value = make()
    try:
        return None if value is msgspec.NODEFAULT else literal(value)
    except BuildError:
        return None


def _item(kind: Any, key: Any) -> Any:
    origin, parts = get_origin(kind), get_args(kind)
    if isinstance(kind, type) and typing.is_typeddict(kind):
        return _hints(kind).get(key) if isinstance(key, str) else None
    if origin in (list, tuple, set, frozenset) and parts:
        return parts[0]
    if origin is dict and len(parts) == 2:
        return parts[1]
    return None
