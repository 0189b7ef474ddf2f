"""Parameters by name: how a step function is called with a mapping, and how a call becomes one."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from stepwell.consumers.worker.context import StepContext
from stepwell.consumers.worker.input_types import check_type, convert, is_structured
from stepwell.consumers.worker.signatures import CONTEXT_NAMES, Signature
from stepwell.errors import BuildError, HandlerError
from stepwell.suggest import suggest


def refuse_unknown(what: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Refuse options that there are none of: dropped silently, they would not do what somebody meant by them.

    Args:
        what: What they were given to: ``@stepwell.step``.

    Raises:
        BuildError: There is one.
    """
    options = list(dict.fromkeys(known))
    for name in given:
        if name not in options:
            raise BuildError(
                f'{what} has no option "{name}"{suggest(name, options)}', remedy=f"It takes {', '.join(options)}."
            )


def refuse_no_function(what: str, given: Any, remedy: str) -> None:
    """Refuse to decorate what cannot be called.

    Args:
        what: The decorator: ``@stepwell.step``.

    Raises:
        BuildError: It cannot be.
    """
    if not callable(given):
        raise BuildError(f"{what} stands above a function, and got {given!r:.100}", remedy=remedy)


class Parameters:
    """What a step function takes: each parameter by its name, and a ``StepContext`` where it asks for one.

    Attributes:
        names: Its parameters, without the context.
        needed: Those that have no default.

    Raises:
        HandlerError: It takes ``*args`` or ``**kwargs``, or its types cannot be read.
    """

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self._name = name
        self._function = function
        place = f"handler {name!r}"
        signature = Signature(place, function)
        for parameter in signature.parameters.values():
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                raise HandlerError(
                    f"takes {parameter}, and a step's parameters have names",
                    place=place,
                    remedy="Name each parameter; pass a list or a mapping as one.",
                )
        self._all = tuple(signature.parameters.values())
        self._context = {
            parameter.name
            for parameter in self._all
            if signature.is_context(parameter)
            or (parameter.name in CONTEXT_NAMES and parameter.annotation is parameter.empty)
        }
        passed = [parameter for parameter in self._all if parameter.name not in self._context]
        self._types = {parameter.name: signature.type_of(parameter) for parameter in passed}
        for parameter in passed:
            if parameter.default is parameter.empty and is_structured(self._types[parameter.name]):
                check_type(self._types[parameter.name], place, parameter.name)
        self._signature = signature.whole.replace(parameters=passed, return_annotation=inspect.Signature.empty)
        self.names: tuple[str, ...] = tuple(parameter.name for parameter in passed)
        self.needed: tuple[str, ...] = tuple(
            parameter.name for parameter in passed if parameter.default is parameter.empty
        )

    def bind(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of a call by name; what is left out is left to the function's own defaults.

        Raises:
            BuildError: They do not fit.
        """
        try:
            return dict(self._signature.bind(*args, **kwargs).arguments)
        except TypeError as error:
            raise BuildError(
                f"{self._name}: {error}", remedy=f"It takes ({', '.join(self.names)}), without a context."
            ) from None

    def fill(self, data: Any, ctx: StepContext) -> list[Any]:
        """A value for each parameter, in order.

        Raises:
            msgspec.ValidationError: One is missing, or does not fit its type.
        """
        if not isinstance(data, dict):
            if self.needed:
                raise msgspec.ValidationError(
                    f"Expected a mapping with {', '.join(self.needed)}, got `{type(data).__name__}`"
                )
            data = {}
        missing = [name for name in self.needed if name not in data]
        if missing:
            raise msgspec.ValidationError(f"Nothing is given for the parameter {', '.join(missing)}")
        return [ctx if parameter.name in self._context else self._value(parameter, data) for parameter in self._all]

    def _value(self, parameter: inspect.Parameter, data: dict[str, Any]) -> Any:
        name = parameter.name
        if name not in data:
            return parameter.default
        try:
            return convert(data[name], self._types[name])
        except msgspec.ValidationError as error:
            text, at, path = str(error).partition(" - at `$")
            raise msgspec.ValidationError(f"{text} - at `$.{name}{path if at else '`'}") from None

    @property
    def positional(self) -> Callable[..., Any]:
        """The function, taking all that it takes in order, keyword-only parameters too."""
        keywords = [parameter.name for parameter in self._all if parameter.kind is parameter.KEYWORD_ONLY]
        if not keywords:
            return self._function
        function, split = self._function, len(self._all) - len(keywords)

        def call(*values: Any) -> Any:
            return function(*values[:split], **dict(zip(keywords, values[split:], strict=True)))

        return call
