"""What an ``input`` step asks of its data, and where templates are in settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final

from stepwell.core.expressions.json_schema import MOST_PROBLEMS, compile_schema, misfits
from stepwell.core.expressions.meter import Meter
from stepwell.core.expressions.values import kind
from stepwell.errors import ExpressionError

_CHECKS: Final = ("schema", "required")


def has_template(value: Any) -> bool:
    """Whether there is a ``{{ … }}`` anywhere in a JSON value."""
    if isinstance(value, str):
        return "{{" in value
    if isinstance(value, Mapping):
        return any(map(has_template, value.values()))
    return isinstance(value, (list, tuple)) and any(map(has_template, value))


class InputCheck:
    """What an ``input`` step asks of its data.

    Args:
        config: The step's ``config``.
        meter: What pays for seeing whether its schema is one; as for ``compile_schema``.

    Raises:
        ExpressionError: It asks for what cannot be asked for; ``place`` is the path within ``config``.
    """

    __slots__ = ("_required", "_validator")

    def __init__(self, config: Mapping[str, Any], meter: Meter | None = None) -> None:
        required = config.get("required", ())
        names = (required,) if isinstance(required, str) else required
        if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) and name for name in names):
            message = f"names of fields are needed, such as [customer.name], not {kind(required)}"
            raise ExpressionError(message, place=".required")
        if has_template(config.get("schema")) or has_template(names):
            raise ExpressionError("must be written out: it is checked when the definition is", place=_written(config))
        self._required = tuple(tuple(name.split(".")) for name in names)
        self._validator = None
        if "schema" in config:
            try:
                self._validator = compile_schema(config["schema"], meter)
            except ExpressionError as error:
                raise error.said(error.message, place=f".schema{error.place}", remedy=error.remedy) from None

    def problem(self, data: Any, meter: Meter | None = None) -> str:
        """What is wrong with the data, each problem with its path; empty if nothing is.

        Args:
            meter: What pays; by default one of its own.

        Raises:
            LimitError: It takes too much work.
        """
        return "; ".join(islice(self._problems(data, meter or Meter()), MOST_PROBLEMS))

    def _problems(self, data: Any, meter: Meter) -> Iterator[str]:
        for path in self._required:
            value = data
            for key in path:
                value = value.get(key) if isinstance(value, Mapping) else None
            if value is None:
                yield f"{'.'.join(path)}: is missing"
        if self._validator is not None:
            yield from misfits(self._validator, data, meter=meter)


def input_check(config: Mapping[str, Any], meter: Meter | None = None) -> InputCheck | None:
    """What an ``input`` step asks of its data; None where it asks for nothing.

    Raises:
        ExpressionError: As ``InputCheck``.
    """
    return InputCheck(config, meter) if any(key in config for key in _CHECKS) else None


def _written(config: Mapping[str, Any]) -> str:
    return ".schema" if has_template(config.get("schema")) else ".required"
