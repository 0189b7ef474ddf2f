"""Workflow functions: run once, with references for values, they give a definition."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, Generic, ParamSpec, TypeVar, cast, overload

import msgspec

from stepwell.arguments import texts
from stepwell.builder.functions import is_coroutine_function
from stepwell.builder.recording import Recorder, recorder
from stepwell.builder.references import Reference, is_plain_value, literal, plain
from stepwell.consumers.worker.parameters import refuse_no_function, refuse_unknown
from stepwell.consumers.worker.signatures import readable_hints
from stepwell.errors import BuildError, StepwellError
from stepwell.language import load_definition
from stepwell.schemas.definitions.dump import to_yaml
from stepwell.schemas.definitions.model import Definition, WhenSkipped

P = ParamSpec("P")
R = TypeVar("R")


class Workflow(Generic[P, R]):
    """A workflow that is written as a function; made by ``workflow``.

    Attributes:
        name: What it is called in the log.
        function: The function as it was written.
    """

    def __init__(self, function: Callable[P, R], name: str, about: Mapping[str, Any]) -> None:
        self.function = function
        self.name = name
        self._about = about
        self.__name__: str = function.__name__
        self.__doc__ = function.__doc__
        self.__module__ = function.__module__
        self.__wrapped__ = function

    def __repr__(self) -> str:
        return f"<workflow {self.name}>"

    @cached_property
    def definition(self) -> Definition:
        """What it compiles to. The function runs once, when this is first asked for.

        Raises:
            BuildError: It does with a result what cannot be done before it is there.
            DefinitionError: What it builds is no valid definition.
        """
        place = f"workflow {self.name!r}"
        if is_coroutine_function(self.function):
            raise BuildError(
                "is written with async def",
                place=place,
                remedy="Write def: a workflow function only says what depends on what. Its steps may be async.",
            )
        building = self._recorder
        with building.at_work():
            try:
                result = cast("Callable[..., Any]", self.function)(**self._inputs(place))
            except StepwellError as error:
                raise _placed(error, place, self.function) from error
            except Exception as error:
                raise _placed(BuildError(f"{type(error).__name__}: {error}"), place, self.function, error) from error
        made = {
            "name": self.name,
            **plain({key: value for key, value in self._about.items() if value is not None}, place),
            "steps": list(building.steps.values()),
        }
        if building.error_handlers:
            made["error_handlers"] = building.error_handlers
        if result is not None:
            made["output"] = plain(result, f"{place}, what it returns")
        return load_definition(made, place=place)

    @cached_property
    def _recorder(self) -> Recorder:
        return Recorder()

    @property
    def children(self) -> list[Workflow[Any, Any]]:
        """The workflows that it calls, and those that they call; each once, itself not.

        Raises:
            BuildError: As for ``definition``.
            DefinitionError: Likewise.
        """
        found: dict[str, Workflow[Any, Any]] = {self.name: self}
        waiting: list[Workflow[Any, Any]] = [self]
        while waiting:
            one = waiting.pop()
            _ = one.definition
            for name, child in one._recorder.children.items():
                if name not in found:
                    found[name] = child
                    waiting.append(child)
        return list(found.values())[1:]

    def to_yaml(self) -> str:
        """The definition as a file would hold it."""
        return to_yaml(self.definition)

    @cached_property
    def _parameters(self) -> list[inspect.Parameter]:
        return list(inspect.signature(self.function).parameters.values())

    @cached_property
    def _hints(self) -> dict[str, Any]:
        return readable_hints(self.function)

    @cached_property
    def _takes_all(self) -> bool:
        """Whether its one parameter is the whole input, as a mapping is, and not a key of it, as a number is."""
        if len(self._parameters) != 1 or self._parameters[0].default is not inspect.Parameter.empty:
            return False
        return not is_plain_value(self._hints.get(self._parameters[0].name))

    @property
    def takes(self) -> Any:
        """The type of its input, where one parameter is the whole of it; else those of its keys, by name."""
        types = {one.name: self._hints.get(one.name, Any) for one in self._parameters}
        return next(iter(types.values())) if self._takes_all else types

    @cached_property
    def fits_one(self) -> bool:
        """Whether its function can be called with one argument, without a name."""
        try:
            inspect.signature(self.function).bind(None)
        except TypeError:
            return False
        return True

    @property
    def returns(self) -> Any:
        """The type of its output; ``Any`` where its function does not say it, or nothing can be made of it."""
        return self._hints.get("return", Any)

    def _inputs(self, place: str) -> dict[str, Any]:
        """A reference for each parameter: the whole input, or its key of that name."""
        hints = self._hints
        made: dict[str, Any] = {}
        for parameter in self._parameters:
            if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                raise BuildError(f"takes {parameter}, and the input's keys have names", place=place)
            hint = hints.get(parameter.name)
            if self._takes_all:
                made[parameter.name] = Reference("input", hint)
            elif parameter.default is parameter.empty:
                made[parameter.name] = Reference(f"input.{parameter.name}", hint)
            else:
                name, default = parameter.name, literal(parameter.default)
                made[name] = Reference(f"input.{name} if '{name}' in input else {default}", hint, atom=False)
        return made

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """In another workflow function: a step that runs this workflow as a child. Elsewhere: call the function.

        Raises:
            BuildError: The arguments do not fit.
        """
        building = recorder()
        if building is None:
            return self.function(*args, **kwargs)
        try:
            given: Any = dict(inspect.signature(self.function).bind(*args, **kwargs).arguments)
        except TypeError as error:
            raise BuildError(f"workflow {self.name!r}: {error}") from None
        if self._takes_all:
            (given,) = given.values()
        config: dict[str, Any] = {"workflow": self.name, "input": given}
        if self._about.get("version"):
            config["version"] = str(self._about["version"])
        step = {"type": "workflow_trigger", "config": config}
        building.children[self.name] = self
        return cast(R, building.add(self.__name__, step, {}, self._hints.get("return"), sub=".output"))


def _placed(
    error: StepwellError, place: str, function: Callable[..., Any], origin: BaseException | None = None
) -> BuildError:
    """The same error, with the line of the workflow function in which it came up."""
    code = function.__code__
    lines = [
        frame.lineno
        for frame in traceback.extract_tb((origin or error).__traceback__)
        if frame.filename == code.co_filename and frame.name == code.co_name
    ]
    where = f"{place}, line {lines[-1]}" if lines else place
    text = f"{error.place}: {error.message}" if error.place else error.message
    return BuildError(text, place=where, remedy=error.remedy)


_OPTIONS = (
    "name", "version", "description", "tags", "input_schema", "default_timeout_seconds", "max_parallel_steps",
    "when_skipped",
)  # fmt: skip


@overload
def workflow(function: Callable[P, R], /) -> Workflow[P, R]: ...
@overload
def workflow(
    name: str | None = None,
    /,
    *,
    version: str | None = None,
    description: str | None = None,
    tags: Sequence[str] = (),
    input_schema: Mapping[str, Any] | type | None = None,
    default_timeout_seconds: float | None = None,
    max_parallel_steps: int | None = None,
    when_skipped: WhenSkipped | None = None,
) -> Callable[[Callable[P, R]], Workflow[P, R]]: ...
def workflow(
    name: Any = None,
    /,
    *,
    version: str | None = None,
    description: str | None = None,
    tags: Sequence[str] = (),
    input_schema: Mapping[str, Any] | type | None = None,
    default_timeout_seconds: float | None = None,
    max_parallel_steps: int | None = None,
    when_skipped: WhenSkipped | None = None,
    **unknown: Any,
) -> Any:
    """Make a function a workflow: the steps that it calls are its steps, and what it returns is its output.

    Its parameters are keys of the input. A single one that is a mapping (a Struct, a dataclass, a TypedDict, a dict)
    or has no type is the whole input.

    Args:
        name: What it is called; without one, the function's name.
        version: Without one, it is made from the content, so that each change is a version of its own.
        description: Without one, the first line of the function's docstring.
        input_schema: JSON Schema that inputs must fit, or a type from which it is made.
        default_timeout_seconds: For a whole instance.
        max_parallel_steps: How many steps of one instance may be under way at once, but for those that only wait.
        when_skipped: What steps do where one that they depend on was skipped: ``run``, or ``skip`` as well.

    Raises:
        BuildError: An option that there is none of, tags that are no texts, or an ``input_schema`` that is none.
    """
    refuse_unknown("@stepwell.workflow", unknown, _OPTIONS)
    named = texts(BuildError, "tags", tags)

    def make(function: Callable[..., Any], called: str | None) -> Workflow[Any, Any]:
        schema = input_schema
        if schema is not None and not isinstance(schema, Mapping):
            own = getattr(schema, "model_json_schema", None)  # pydantic's
            try:
                schema = own() if own is not None else msgspec.json.schema(schema)
            except TypeError as error:
                raise BuildError(f"no JSON Schema can be made of the input_schema: {error}") from None
        about = {
            "version": version,
            "description": description or (inspect.getdoc(function) or "").partition("\n")[0] or None,
            "tags": list(named) or None,
            "input_schema": schema,
            "default_timeout_seconds": default_timeout_seconds,
            "max_parallel_steps": max_parallel_steps,
            "when_skipped": when_skipped,
        }
        return Workflow(function, called or function.__name__, about)

    if name is not None and not isinstance(name, str):
        refuse_no_function("@stepwell.workflow", name, 'Give it a name as a text: @stepwell.workflow("order").')
        return make(name, None)
    return lambda function: make(function, name)
