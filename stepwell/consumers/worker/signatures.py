"""What functions take: their parameters, and the types of those, each read only where it matters."""

from __future__ import annotations

import contextlib
import functools
import inspect
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final, get_args, get_type_hints

from stepwell.consumers.worker.context import StepContext
from stepwell.errors import HandlerError

CONTEXT_NAMES: Final = ("ctx", "context")

_NAMES_CONTEXT: Final = re.compile(r"(?:^|[^\w])StepContext(?:$|[^\w])")


class Signature:
    """A function's parameters.

    Args:
        place: The handler, for messages.

    Attributes:
        parameters: As they are written, ``self`` and what a partial has given left out.

    Raises:
        HandlerError: It cannot be read, or the function returns no result, but yields.
    """

    def __init__(self, place: str, function: Callable[..., Any]) -> None:
        self._place = place
        try:
            inner = inspect.unwrap(innermost(function))
        except ValueError as error:  # it wraps itself
            raise HandlerError(f"its signature cannot be read: {error}", place=place) from None
        if inspect.isgeneratorfunction(inner) or inspect.isasyncgenfunction(inner):
            raise HandlerError(
                "yields, and a step has one result", place=place, remedy="Return it; a list, where there are many."
            )
        try:
            # From Python 3.14 on annotations are read when they are asked for: one that cannot be shall not matter.
            options = {} if sys.version_info < (3, 14) else {"annotation_format": 3}
            self.whole: inspect.Signature = inspect.signature(function, **options)  # type: ignore[arg-type]
        except (TypeError, ValueError, NameError) as error:
            raise HandlerError(f"its signature cannot be read: {error}", place=place) from error
        self.parameters: Mapping[str, inspect.Parameter] = self.whole.parameters
        self._names = _names_of(inner)

    def is_context(self, parameter: inspect.Parameter) -> bool:
        """Whether a parameter is annotated as a ``StepContext``; where only type checkers can import that, too."""
        if parameter.annotation is parameter.empty:
            return False
        try:
            hint = self._hint(parameter)
        except Exception:  # a name that only type checkers see
            return bool(_NAMES_CONTEXT.search(_text(parameter.annotation)))
        return hint is StepContext or StepContext in get_args(hint)

    def type_of(self, parameter: inspect.Parameter) -> Any:
        """A parameter's type; ``Any`` without an annotation.

        Raises:
            HandlerError: It cannot be read.
        """
        if parameter.annotation is parameter.empty:
            return Any
        try:
            return self._hint(parameter)
        except Exception as error:  # it is foreign code
            raise HandlerError(
                f"the type of its parameter {parameter.name!r} cannot be read: {error}",
                place=self._place,
                remedy=f"Import what {_text(parameter.annotation)!r} names at the top of the module, not under `if "
                "TYPE_CHECKING:` and not in a function; or leave the annotation out, and take the data as it is.",
            ) from error

    def _hint(self, parameter: inspect.Parameter) -> Any:
        return _read(parameter.annotation, self._names)


def readable_hints(function: Callable[..., Any]) -> dict[str, Any]:
    """The types of a function's parameters and of its ``return``, by name; without those that only type checkers can
    read.
    """
    inner = inspect.unwrap(innermost(function))
    names = _names_of(inner)
    found: dict[str, Any] = {}
    for name, annotation in getattr(inner, "__annotations__", {}).items():
        with contextlib.suppress(Exception):  # it is foreign code
            found[name] = _read(annotation, names)
    return found


def _read(annotation: Any, names: Mapping[str, Any]) -> Any:
    def alone() -> None: ...

    alone.__annotations__ = {"it": annotation}
    return get_type_hints(alone, globalns=dict(names))["it"]


def innermost(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function that a partial or a callable object comes down to."""
    while isinstance(function, functools.partial):
        function = function.func
    if inspect.isroutine(function) or inspect.isclass(function):
        return function
    return function.__call__  # type: ignore[no-any-return, operator]


def _names_of(function: Callable[..., Any]) -> Mapping[str, Any]:
    """What the names in a function's annotations may mean: those of its module, and those that it closes over."""
    if inspect.isclass(function):
        return vars(sys.modules.get(function.__module__, sys))
    function = getattr(function, "__func__", function)
    names = dict(getattr(function, "__globals__", {}))
    code, cells = getattr(function, "__code__", None), getattr(function, "__closure__", None)
    for name, cell in zip(code.co_freevars if code else (), cells or (), strict=True):
        try:
            names[name] = cell.cell_contents
        except ValueError:  # it has no value yet
            continue
    return names


def _text(annotation: Any) -> str:
    return str(getattr(annotation, "__forward_arg__", annotation))
