"""What a declaration of a step type says, and the table of them that readers, checks and the core are handed.

The declarations themselves are in ``stepwell.step_types``, one file each.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import NoneType
from typing import Annotated, Any, Final, Literal, NamedTuple, get_args, get_origin, get_type_hints

from msgspec import Struct

Way = Literal["worker", "input", "output", "condition", "timer", "gate", "child"]
"""How a step comes to its outcome: a worker runs it, or the engine decides it."""

INSTANT_WAYS: Final = frozenset({"input", "output", "condition"})
"""Ways that need nothing but the state: decided at once, without a worker."""


class Setting(Struct, frozen=True):
    """What a declaration says of one setting; it stands in the annotation of a field of the ``config`` Struct.

    Attributes:
        text: What it says, in Markdown: for the docs, for editors and for docstrings.
        default: What holds where it is not written, in Markdown, if anything does.
        schema: JSON Schema of its value, where the field's type does not say enough.
        parameter: Its name in ``stepwell.steps``, where an option of every step has the setting's own.
        called: What other systems call it; dialects read it under these names.
    """

    text: str
    default: str = ""
    schema: Mapping[str, Any] | None = None
    parameter: str = ""
    called: tuple[str, ...] = ()


class Call(Struct, frozen=True):
    """The function of a type in ``stepwell.steps``, as far as the settings do not say it.

    Attributes:
        positional: The parameters that may be given by position, in their order. ``data`` is the step's input, unless
            a setting has that parameter.
        needed: The parameters that must be given besides those of required settings.
        queue: The parameter that names the step's queue, where the options name none.
    """

    positional: tuple[str, ...] = ()
    needed: tuple[str, ...] = ()
    queue: str = ""


class Field(NamedTuple):
    """A setting of a step type.

    Attributes:
        type: Of its value, without what is said about it.
        required: Whether a step cannot do without it.
    """

    name: str
    type: Any
    required: bool
    setting: Setting

    @property
    def parameter(self) -> str:
        """Its name in ``stepwell.steps``."""
        return self.setting.parameter or self.name

    @property
    def described(self) -> str:
        """What editors and docstrings say of it, in Markdown."""
        return f"{self.setting.text} Default: {self.setting.default}." if self.setting.default else self.setting.text


class StepType(Struct, frozen=True, kw_only=True, gc=False):
    """The declaration of a built-in step type.

    Attributes:
        name: As definitions name it.
        text: What it does, as a sentence in Markdown: for the docs, and for the docstring of its function.
        takes: What it makes of its input, where that is not what every step does, and
        gives: what its output is: both for the docs.
        config: What its ``config`` holds: a Struct, each of whose fields has a ``Setting``. None for whatever a
            handler likes.
        open: Whether ``config`` may hold other keys besides.
        result: What its output is, for workflows written in Python. ``Any`` where that depends on the step.
        aliases: What other systems call it. Read, never written: the canonical form has one name for each.
        way: How it comes to its outcome.
        attempts: Whether it has attempts; without, it takes neither ``retry`` nor ``timeout_seconds``.
        takes_handler: Whether it names a handler.
        check: Yields what is wrong with the literal settings, as ``place: message``. It gets the ``config``, its
            place, and what pays for compiling schemas.
        unknown_keys_last: Whether keys that are no settings are reported after what ``check`` finds, not before it.
        planned: The ``config`` whose templates are filled in when a step runs, made from the one that is written.
        names_handler: The name of the handler that runs a step, from its queue and its ``config`` filled in.
        credentials: Yields the places within ``config`` of credentials that are written out.
        adopt: Turns values that other systems write into what the type takes; gets the settings under their own
            names, and changes them in place.
        together: What editors are told besides: JSON Schema of which settings go with which.
        runs: The function that runs it in a worker: ``module:function``. A module without a dot is one of
            ``consumers/worker/builtin``; one that needs nothing of a worker but its step's context can be the
            declaration's own, by its full name.
        runs_for_services: The same for workers that run what others have written; by default ``runs``.
        blocking: Whether that function blocks, and is called in a thread.
        call: Its function in ``stepwell.steps``; None where it has none.
    """

    name: str
    text: str
    takes: str = ""
    gives: str
    config: type[Struct] | None = None
    open: bool = False
    result: Any = Any
    aliases: tuple[str, ...] = ()
    way: Way = "worker"
    attempts: bool = True
    takes_handler: bool = False
    check: Callable[[Mapping[str, Any], str, Any], Iterator[str]] | None = None
    unknown_keys_last: bool = False
    planned: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None
    names_handler: Callable[[str, Mapping[str, Any]], str] | None = None
    credentials: Callable[[Mapping[str, Any]], Iterator[str]] | None = None
    adopt: Callable[[Any], None] | None = None
    together: Mapping[str, Any] = {}
    runs: str = ""
    runs_for_services: str = ""
    blocking: bool = False
    call: Call | None = None

    @property
    def keys(self) -> tuple[str, ...]:
        """What its ``config`` may hold, in the order of the declaration."""
        return () if self.config is None else self.config.__struct_fields__

    @property
    def required(self) -> tuple[str, ...]:
        """What its ``config`` cannot do without: the fields that have no default, which come first."""
        return () if self.config is None else self.keys[: len(self.keys) - len(self.config.__struct_defaults__)]

    @property
    def closed(self) -> bool:
        """Whether its ``config`` may hold nothing else."""
        return self.config is not None and not self.open


class StepTypes:
    """The table of declarations.

    Args:
        declared: In the order in which messages list them.

    Attributes:
        names: Of the types.
        aliases: What other systems call them, with the name of each.
    """

    def __init__(self, declared: Iterable[StepType]) -> None:
        self._by_name = {one.name: one for one in declared}
        self.names: tuple[str, ...] = tuple(self._by_name)
        self.aliases: Mapping[str, str] = {alias: one.name for one in self._by_name.values() for alias in one.aliases}

    def get(self, name: str) -> StepType | None:
        """The declaration of a type; None for a type that is not among them."""
        return self._by_name.get(name)

    def __iter__(self) -> Iterator[StepType]:
        return iter(self._by_name.values())

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __getitem__(self, name: str) -> StepType:
        return self._by_name[name]

    def renamed(self, name: str) -> Mapping[str, str]:
        """The settings of a type by what other systems call them; nothing for what is no built-in type."""
        declared = self._by_name.get(name)
        if declared is None:
            return {}
        return {other: field.name for field in fields_of(declared) for other in field.setting.called}


def fields_of(declared: StepType) -> tuple[Field, ...]:
    """The settings of a type, in the order of the declaration.

    Raises:
        TypeError: A field has no ``Setting``.
    """
    return () if declared.config is None else _fields(declared.config)


@functools.cache
def _fields(config: type[Struct]) -> tuple[Field, ...]:
    hints = get_type_hints(config, include_extras=True)
    needed = len(config.__struct_fields__) - len(config.__struct_defaults__)
    return tuple(
        _field(config, name, hints[name], required=number < needed)
        for number, name in enumerate(config.__struct_fields__)
    )


def _field(config: type[Struct], name: str, hint: Any, *, required: bool) -> Field:
    found = [part for part in getattr(hint, "__metadata__", ()) if isinstance(part, Setting)]
    if not found:
        raise TypeError(f"{config.__name__}.{name}: has no text for editors")
    return Field(name, hint.__origin__, required, found[0])


def schema_of(field: Field) -> dict[str, Any]:
    """JSON Schema of the value of a setting, as far as its type or its declaration says."""
    if field.setting.schema is not None:
        return dict(field.setting.schema)
    return dict(_SCHEMAS.get(_plain(field.type), {}))


def _plain(kind: Any) -> Any:
    """The class of a type: without what is said about it, without its parameters and without None."""
    while get_origin(kind) is Annotated:
        kind = kind.__origin__
    arms = [arm for arm in get_args(kind) if arm is not NoneType] if NoneType in get_args(kind) else []
    return _plain(arms[0]) if len(arms) == 1 else get_origin(kind) or kind


_SCHEMAS: Final[Mapping[Any, Mapping[str, Any]]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    dict: {"type": "object"},
    Mapping: {"type": "object"},
    list: {"type": "array"},
    tuple: {"type": "array"},
}
