"""Finding the code of a step: registered functions, dotted paths from allowed modules, built-in types."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, TypeVar, overload

import msgspec

from stepwell.arguments import check_functions, check_texts
from stepwell.consumers.worker import settings
from stepwell.consumers.worker.context import StepContext
from stepwell.consumers.worker.importing import import_function, may_be_imported
from stepwell.consumers.worker.input_types import check_type, convert, is_structured
from stepwell.consumers.worker.parameters import Parameters, refuse_no_function, refuse_unknown
from stepwell.consumers.worker.signatures import CONTEXT_NAMES, Signature, innermost
from stepwell.errors import BuildError, HandlerError, StepTypeError
from stepwell.schemas.definitions.custom_types import (
    CustomType,
    check_name,
    find_type,
    remember_type,
)
from stepwell.schemas.definitions.installed_types import installed_types
from stepwell.step_types.table import BUILT_IN
from stepwell.suggest import suggest

Function = TypeVar("Function", bound=Callable[..., Any])


class Handler:
    """A function made ready to run.

    It may take nothing, its input, or its input and a ``StepContext`` (second, or annotated as one). An input
    annotated with a type of its own (a msgspec Struct, a dataclass, a TypedDict) is converted to it. A function under
    ``@stepwell.step`` takes each key of its input as the parameter of that name.

    Attributes:
        name: What definitions call it.
        function: What is called with ``arguments``.
        origin: The function as it was written.
        asynchronous: Whether it is a coroutine function; others run in threads.
        config: What ``ctx.config`` is made; None leaves it a mapping.
    """

    def __init__(self, name: str, function: Callable[..., Any], config: type[msgspec.Struct] | None = None) -> None:
        check_functions(HandlerError, **{f"the handler {name!r}": function})
        self.name = name
        written = getattr(function, "__stepwell_function__", None)
        self.origin: Callable[..., Any] = written or function
        self.asynchronous: bool = _is_asynchronous(self.origin)
        self.config = config
        self._parameters = None if written is None else Parameters(name, written)
        self._arguments: list[str] = []
        self._input_type: Any = None
        if self._parameters is None:
            self._arguments, self._input_type = _signature(name, function)
        self.function: Callable[..., Any] = function if self._parameters is None else self._parameters.positional

    def arguments(self, data: Any, ctx: StepContext) -> list[Any]:
        """What to call it with.

        Raises:
            msgspec.ValidationError: The input, or the step's ``config``, does not fit its type.
        """
        if self.config is not None:
            ctx.config = msgspec.convert(ctx.config, self.config, strict=False)
        if self._parameters is not None:
            return self._parameters.fill(data, ctx)
        if self._input_type is not None:
            data = convert(data, self._input_type)
        return [ctx if wanted == "ctx" else data for wanted in self._arguments]


def _is_asynchronous(function: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(innermost(function))


def _signature(name: str, function: Callable[..., Any]) -> tuple[list[str], Any]:
    place = f"handler {name!r}"
    signature = Signature(place, function)
    wanted: list[str] = []
    input_type: Any = None
    optional = False  # whether all that follows has a default
    for parameter in signature.parameters.values():
        positional = parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        if positional and not optional:
            if signature.is_context(parameter) or (parameter.name in CONTEXT_NAMES and len(wanted) == 1):
                wanted.append("ctx")
                continue
            if "data" not in wanted:
                wanted.append("data")
                hint = signature.type_of(parameter)
                if is_structured(hint):
                    check_type(hint, place, parameter.name)
                    input_type = hint
                continue
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            if "data" not in wanted:
                raise HandlerError(
                    f"takes its input as {parameter}, and gets it as one value",
                    place=place,
                    remedy="Take one parameter, named data, say; with @stepwell.step, the keys of the input are "
                    "parameters by name.",
                )
        elif parameter.default is parameter.empty:
            raise HandlerError(
                f"takes a parameter {parameter.name!r} that nothing is given for",
                place=place,
                remedy="A handler takes its input and, if it likes, a StepContext named ctx.",
            )
        else:
            optional = positional
    return wanted, input_type


class Handlers:
    """The handlers that a worker can run.

    Args:
        prefixes: Modules, or prefixes of them, from which definitions may name functions by dotted path: public
            ones that are defined there. Nothing else is ever imported because a definition says so. None for no
            paths at all: what was registered, and nothing else.
        builtin: Handlers of the built-in step types, by type.
        installed: Whether step types that installed packages bring are among them.
    """

    def __init__(
        self,
        prefixes: Iterable[str] | None = (),
        builtin: Mapping[str, Callable[[Any, StepContext], Any]] | None = None,
        *,
        installed: bool = True,
    ) -> None:
        self.prefixes: tuple[str, ...] = settings.listed(prefixes or ())
        self.strict: bool = prefixes is None
        self._with_installed = installed
        self._registered: dict[str, Handler] = {}
        self._imported: dict[str, Handler] = {}
        known: object = builtin or {}
        if not isinstance(known, Mapping):
            raise HandlerError(f"builtin are functions by step type, not {known!r:.100}")
        self._builtin = {kind: Handler(kind, function) for kind, function in (builtin or {}).items()}

    def register(self, name: str, function: Callable[..., Any], config: type[msgspec.Struct] | None = None) -> None:
        """Make a function known under a name.

        Args:
            config: What ``ctx.config`` is made for it.

        Raises:
            HandlerError: The name is taken by another function, or the function takes what it cannot be given.
        """
        check_texts(HandlerError, name=name)
        known = self._registered.get(name)
        made = Handler(name, function, config)
        if known is not None and known.origin is not made.origin and not _same_source(known.origin, made.origin):
            raise HandlerError(
                "is registered twice, for different functions",
                place=f"handler {name!r}",
                remedy="Give each function a name of its own.",
            )
        self._registered[name] = made

    def replace(self, name: str, function: Callable[..., Any]) -> None:
        """Let a function stand in for whatever a name means otherwise; a dotted path will do."""
        check_texts(HandlerError, name=name)
        self._registered[name] = Handler(name, function)

    def update(self, other: Handlers) -> None:
        """Take over what is registered elsewhere."""
        given: object = other
        if not isinstance(given, Handlers):
            raise HandlerError(f"other are Handlers, not {given!r:.100}")
        self._registered.update(other._registered)

    def names(self) -> list[str]:
        """All registered names, built-in types, and step types that installed packages bring."""
        return sorted({*self._registered, *self._builtin, *self._types()})

    def _types(self) -> Collection[str]:
        return installed_types() if self._with_installed else ()

    def agents(self) -> list[str]:
        """The agents that have a handler of their own: each is the name of a queue."""
        names = (name.partition(f"{AGENT_TASK}:")[2] for name in self._registered)
        return sorted(filter(None, names))

    def knows(self, step_type: str, name: str) -> bool:
        """Whether ``find`` would find it."""
        if step_type == "python" and not self._may_know(name):
            return False
        try:
            self.find(step_type, name)
        except HandlerError:
            return False
        return True

    def _may_know(self, name: str) -> bool:
        return (
            name in self._registered
            or may_be_imported(name, self.prefixes)
            or is_agent_task(name)
            or ("." not in name and name in self._types())
        )

    def find(self, step_type: str, name: str) -> Handler:
        """The handler of a step.

        Args:
            step_type: ``python``, or a built-in type.
            name: For ``python``: a registered name, a step type of an installed package, or a dotted path. For
                ``agent_task``: ``agent_task:`` and the agent's id.

        Raises:
            HandlerError: There is none; the message says why, and what would help.
        """
        if step_type == AGENT_TASK or is_agent_task(name):
            return self._agent(name)
        if step_type != "python":
            builtin = self._builtin.get(step_type)
            if builtin is None:
                raise HandlerError(f"this worker has no step type {step_type!r}", place=f"handler {step_type!r}")
            return builtin
        found = self._registered.get(name) or self._imported.get(name)
        if found is None:
            found = self._imported[name] = self._installed(name) or Handler(name, self._import(name))
        return found

    def _agent(self, name: str) -> Handler:
        """The handler of one agent, or else that of all."""
        found = self._registered.get(name) or self._registered.get(AGENT_TASK)
        if found is None:
            agent = name.partition(":")[2]
            known = suggest(name, [other for other in self._registered if is_agent_task(other)])
            raise HandlerError(
                f'nobody does the tasks of the agent "{agent}"{known}',
                place=f"handler {name!r}",
                remedy=f'Register a function with @stepwell.handler("{name}"), or one for all agents with '
                f'@stepwell.handler("{AGENT_TASK}"), in a module named by --handlers.',
            )
        return found

    def _installed(self, name: str) -> Handler | None:
        if not self._with_installed:
            return None
        try:
            found = find_type(name, BUILT_IN)
        except StepTypeError as error:
            raise HandlerError(error.message, place=f"handler {name!r}", remedy=error.remedy) from None
        return None if found is None else Handler(name, found.function, found.config)

    def _import(self, name: str) -> Callable[..., Any]:
        place = f"handler {name!r}"
        if self.strict or "." not in name:
            only = ", and this worker runs no others" if self.strict else ""
            other = "start with --no-strict-handlers" if self.strict else "name it by a dotted path"
            raise HandlerError(
                f"is not registered{only}{suggest(name, self._registered)}",
                place=place,
                remedy=f'Register it with @stepwell.handler("{name}") in a module named by --handlers, or {other}.',
            )
        return import_function(name, self.prefixes)


AGENT_TASK = "agent_task"


def is_agent_task(name: str) -> bool:
    """Whether this is how the task of one agent is called."""
    return name.startswith(f"{AGENT_TASK}:")


def _same_source(one: Callable[..., Any], other: Callable[..., Any]) -> bool:
    """Whether two functions are one and the same, imported twice (as when a module is reloaded)."""
    names = ("__module__", "__qualname__")
    return all(getattr(one, name, None) == getattr(other, name, None) for name in names)


registered: Handlers = Handlers()
"""What ``@stepwell.handler`` fills; every worker of this process has it."""


@overload
def handler(name: Function, /) -> Function: ...
@overload
def handler(name: str | None = None) -> Callable[[Function], Function]: ...
def handler(name: Any = None, **unknown: Any) -> Any:
    """Make a function the handler of a name; written ``@handler`` alone, of its own.

    Args:
        name: What definitions call it; without one, the function's own name.

    Returns:
        A decorator that returns the function as it is.

    Raises:
        HandlerError: The name belongs to another function, or the function takes what it cannot be given.
        BuildError: An option that there is none of.
    """
    refuse_unknown("@stepwell.handler", unknown, ("name",))

    def register(function: Function) -> Function:
        refuse_no_function("@stepwell.handler", function, 'Give it a name as a text: @stepwell.handler("charge").')
        registered.register(named or _own_name(function), function)
        return function

    named = name if isinstance(name, str) else None
    return register if name is None or named is not None else register(name)


def _own_name(function: Callable[..., Any]) -> str:
    return str(getattr(innermost(function), "__name__", type(function).__name__))


_NO_NAME: Any = None


def step_type(
    name: str = _NO_NAME, *, config: type[msgspec.Struct] | None = None, description: str = "", **unknown: Any
) -> Callable[[Function], Function]:
    """Make a function a step type of its own: ``type: name`` in a definition.

    Such a step is read as a ``python`` step with this name for its handler. The type must be known where the
    definition is read and where the step is run: in a module named by ``--handlers``, or in an installed package
    that names it in the entry point group ``stepwell.step_types``.

    Args:
        name: What definitions call it: letters, digits, dashes and underscores; no built-in type.
        config: A msgspec Struct. A step's ``config`` is checked against it when the definition is read, and the
            function finds an instance of it as ``ctx.config``.
        description: For people; by default the first line of the function's docstring.

    Returns:
        A decorator that returns the function as it is.

    Raises:
        StepTypeError: The name is taken or none, or ``config`` is no Struct.
        BuildError: An option that there is none of.
    """
    refuse_unknown("@stepwell.step_type", unknown, ("name", "config", "description"))
    if callable(name) or name is _NO_NAME:
        remedy = f'Write @stepwell.step_type("{_own_name(name) if callable(name) else "geocode"}").'
        raise BuildError("@stepwell.step_type needs a name", remedy=remedy)
    check_name(name, BUILT_IN, config)

    def register(function: Function) -> Function:
        refuse_no_function("@stepwell.step_type", function, f'Write @stepwell.step_type("{name}") above it.')
        registered.register(name, function, config)
        about = description or (inspect.getdoc(function) or "").partition("\n")[0]
        remember_type(CustomType(name, function, config, about))
        return function

    return register
