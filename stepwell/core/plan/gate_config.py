"""The settings of steps that wait for people or for other workflows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Struct

from stepwell.errors import ExpressionError
from stepwell.schemas.definitions.model import TimeLimit
from stepwell.schemas.definitions.shapes import in_words
from stepwell.schemas.records.step_waits import OnChildFailure, OnReject, OnTimeout

Name = Annotated[str, Meta(min_length=1, max_length=200)]
Names = tuple[Name, ...]
T = TypeVar("T", bound=Struct)


class GateConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """The ``config`` of an ``approval_gate``.

    Attributes:
        approvers: Who may decide; nobody named means anybody.
        required: How many must approve; of those named, where some are.
        timeout_seconds: How long each level has.
        on_timeout: What happens then; ``escalate`` asks ``escalate_to``, and fails after the last level.
        escalate_to: Who decides next; a list of lists for several levels.
        on_reject: ``continue`` makes a rejection the step's output; otherwise it fails the step.
    """

    approvers: Names | Name = ()
    required: Annotated[int, Meta(ge=1, le=1000)] = 1
    title: str = ""
    message: str = ""
    timeout_seconds: TimeLimit | None = None
    on_timeout: OnTimeout | None = None
    escalate_to: tuple[Names | Name, ...] = ()
    on_reject: OnReject = "fail"


class ChildConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """The ``config`` of a ``workflow_trigger``.

    Attributes:
        input: The child's input; without one, the step's.
        wait: Whether the step waits for the child's end.
        on_failure: ``continue`` makes the end of a child that did not complete the step's output.
        priority: The child's; without one, the parent's.
    """

    workflow: Name
    version: str | None = None
    input: Any = msgspec.UNSET
    wait: bool = True
    on_failure: OnChildFailure = "fail"
    priority: Annotated[int, Meta(ge=0, le=100)] | None = None


def read_gate(config: Mapping[str, Any], *, whole: bool = True) -> GateConfig:
    """Check the settings of an ``approval_gate``.

    Args:
        whole: Whether all of them are there. Some may be templates that are not filled in yet.

    Raises:
        ExpressionError: They are wrong; the message names the setting.
    """
    gate = _read(config, GateConfig)
    if not whole:
        return gate
    approvers, levels = names_of(gate.approvers), levels_of(gate.escalate_to)
    if gate.on_timeout is not None and gate.timeout_seconds is None:
        raise ExpressionError("config.on_timeout: there is no timeout_seconds after which it would happen")
    if levels and gate.on_timeout not in (None, "escalate"):
        raise ExpressionError(f'config.escalate_to: nobody is asked where on_timeout is "{gate.on_timeout}"')
    if gate.on_timeout == "escalate" and not levels:
        raise ExpressionError('config.escalate_to: "escalate" needs to know whom to ask')
    if levels and gate.timeout_seconds is None:
        raise ExpressionError("config.escalate_to: there is no timeout_seconds after which they would be asked")
    for number, level in enumerate(levels):
        if not level:
            raise ExpressionError(
                f"config.escalate_to[{number}]: names nobody, so anybody could decide; name somebody"
            )
    for level in (approvers, *levels):
        if level and gate.required > len(level):
            listed = ", ".join(level)
            raise ExpressionError(f"config.required: {gate.required} must approve, and {len(level)} may: {listed}")
    return gate


def read_child(config: Mapping[str, Any]) -> ChildConfig:
    """Check the settings of a ``workflow_trigger``.

    Raises:
        ExpressionError: They are wrong; the message names the setting.
    """
    return _read(config, ChildConfig)


def _read(config: Mapping[str, Any], kind: type[T]) -> T:
    try:
        return msgspec.convert(config, kind)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$")
        place = where.rstrip("`") if where else ""
        name = place.removeprefix(".")
        words = in_words(what, f"child.{name}" if kind is ChildConfig else name)
        raise ExpressionError(f"config{place}: {words}") from None


def names_of(value: Names | Name) -> Names:
    """Some names, or one, as names; each once."""
    return tuple(dict.fromkeys((value,) if isinstance(value, str) else value))


def levels_of(value: tuple[Names | Name, ...]) -> tuple[Names, ...]:
    """The levels of an escalation: each its names. A plain list of names is one level."""
    if all(isinstance(level, str) for level in value):
        return (names_of(value),) if value else ()  # type: ignore[arg-type]
    return tuple(names_of(level) for level in value)
