"""Functions as steps: called in a workflow function they record a step, elsewhere they are what they are."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, Unpack, cast, overload

from stepwell.arguments import check_texts
from stepwell.builder.recording import OPTIONS, StepOptions, recorder
from stepwell.consumers.worker.context import StepContext
from stepwell.consumers.worker.handlers import registered
from stepwell.consumers.worker.parameters import Parameters, refuse_no_function, refuse_unknown
from stepwell.consumers.worker.signatures import readable_hints
from stepwell.errors import BuildError

P = ParamSpec("P")
R = TypeVar("R")


class StepFunction(Generic[P, R]):
    """A function that is a step wherever a workflow calls it; made by ``step``.

    Attributes:
        function: The function as it was written.
        name: The handler's name in definitions.
    """

    def __init__(self, function: Callable[..., Any], name: str, options: StepOptions) -> None:
        self.function = function
        self.name = name
        self.options = options
        self._parameters = Parameters(name, function)
        self.__name__: str = str(getattr(function, "__name__", name))
        self.__qualname__ = str(getattr(function, "__qualname__", self.__name__))
        self.__module__ = str(function.__module__)
        self.__doc__ = function.__doc__
        self.__wrapped__ = function

    def __repr__(self) -> str:
        return f"<step function {self.name}>"

    @property
    def __stepwell_function__(self) -> Callable[..., Any]:
        """What workers call, with one argument for each parameter of that name."""
        return self.function

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """In a workflow function: record a step, and return a reference to its result. Elsewhere: call the function.

        Raises:
            BuildError: The arguments do not fit, or cannot be written into a definition.
        """
        building = recorder()
        if building is None:
            return cast(R, self.function(*args, **kwargs))
        given = self._parameters.bind(args, kwargs)
        step = {"handler": self.name, **({"input": given} if given else {})}
        return cast(R, building.add(self.__name__, step, self.options, self._result()))

    def using(self, **options: Unpack[StepOptions]) -> StepFunction[P, R]:
        """The same function with other options: ``charge.using(id="charge_eu", condition=order.eu)(order)``.

        Raises:
            BuildError: An option that there is none of.
        """
        refuse_unknown(f"{self.__name__}.using", options, OPTIONS)
        made = StepFunction.__new__(type(self))
        made.__dict__.update(self.__dict__)
        made.options = {**self.options, **options}
        return made

    def as_compensation(self, place: str) -> dict[str, Any]:
        """What stands under a step's ``compensate``: its one parameter gets the output of the step to be undone.

        Raises:
            BuildError: It has more parameters that something must be given for.
        """
        needed = self._parameters.needed
        if len(needed) > 1:
            raise BuildError(
                f"{self.name} cannot undo a step by itself: it takes {', '.join(needed)}",
                place=place,
                remedy="Give it one parameter, for the output of the step; or write stepwell.Compensation("
                f'"{self.name}", input={{…}}), with templates.',
            )
        first = next(iter(self._parameters.names), None)
        made: dict[str, Any] = {"handler": self.name}
        if first is not None:
            made["input"] = {first: "{{ output }}"}
        retry, seconds = self.options.get("retry"), self.options.get("timeout_seconds")
        if retry is not None:
            made["retry"] = {"max_attempts": retry} if isinstance(retry, int) else retry
        if seconds is not None:
            made["timeout_seconds"] = seconds
        if self.options.get("queue"):
            made["queue"] = self.options["queue"]
        return made

    def _result(self) -> Any:
        return readable_hints(self.function).get("return")


class StepDecorator(Protocol):
    """What ``step(…)`` returns."""

    @overload
    def __call__(
        self, function: Callable[Concatenate[StepContext, P], Coroutine[Any, Any, R]], /
    ) -> StepFunction[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> StepFunction[P, R]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[StepContext, P], R], /) -> StepFunction[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> StepFunction[P, R]: ...


@overload
def step(function: Callable[Concatenate[StepContext, P], Coroutine[Any, Any, R]], /) -> StepFunction[P, R]: ...
@overload
def step(function: Callable[P, Coroutine[Any, Any, R]], /) -> StepFunction[P, R]: ...
@overload
def step(function: Callable[Concatenate[StepContext, P], R], /) -> StepFunction[P, R]: ...
@overload
def step(function: Callable[P, R], /) -> StepFunction[P, R]: ...
@overload
def step(*, name: str = "", **options: Unpack[StepOptions]) -> StepDecorator: ...
def step(function: Callable[..., Any] | None = None, /, *, name: str = "", **options: Unpack[StepOptions]) -> Any:
    """Make a function a step of workflows that are built in Python, and a handler that workers find.

    Its parameters are filled by name from the step's input and converted to their types. A ``StepContext`` is given
    by itself; put it first, so that mypy knows that a workflow does not pass it.

    Args:
        name: The handler's name in definitions; without one, ``module.function``. Keep it when code moves.
        options: What holds for every step that it becomes; ``using`` changes it for one.

    Raises:
        HandlerError: It takes what cannot be given by name, or the name belongs to another function.
        BuildError: An option that there is none of; or the name is no text.
    """
    refuse_unknown("@stepwell.step", options, ("name", *OPTIONS))
    check_texts(BuildError, name=name)

    def make(written: Callable[..., Any]) -> StepFunction[Any, Any]:
        refuse_no_function("@stepwell.step", written, 'Its name is an option: @stepwell.step(name="charge").')
        made: StepFunction[Any, Any] = StepFunction(written, name or stable_name(written), options)
        registered.register(made.name, made)
        return made

    return make if function is None else make(function)


def stable_name(function: Callable[..., Any]) -> str:
    """``module.function``, as another process would import it."""
    module = function.__module__
    if module == "__main__":
        main = sys.modules["__main__"]
        spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
        module = spec.name if spec is not None else Path(file).stem if file else module
    qualified = str(getattr(function, "__qualname__", "")) or type(function).__name__
    return f"{module}.{qualified.replace('<locals>.', '')}"


def is_coroutine_function(function: Callable[..., Any]) -> bool:
    """Whether it is written with ``async def``."""
    return inspect.iscoroutinefunction(function)
