"""The settings of steps that wait for people or for other workflows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, TypeVar, get_args

import msgspec
from msgspec import Meta, Struct

from stepwell.errors import ExpressionError
from stepwell.schemas.definitions.model import TimeLimit
from stepwell.schemas.definitions.shapes import in_words
from stepwell.schemas.definitions.step_type import Setting
from stepwell.schemas.records.step_waits import OnChildFailure, OnReject, OnTimeout

Name = Annotated[str, Meta(min_length=1, max_length=200)]
Names = tuple[Name, ...]
T = TypeVar("T", bound=Struct)

_NAME: Final = {"type": "string", "minLength": 1, "maxLength": 200}
_NAMES: Final = {**_NAME, "type": ["array", "string"], "items": _NAME}


class GateConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """The ``config`` of an ``approval_gate``.

    It stands here, not with the type's declaration, because the core decides gates by it. ``required`` counts those
    named, where some are; after the last level of ``escalate_to`` the step fails.
    """

    approvers: Annotated[
        Names | Name,
        Setting(
            "Who may decide: names, or a template that yields them.",
            default="anybody",
            schema=_NAMES,
            called=("approver",),
        ),
    ] = ()
    required: Annotated[
        int,
        Meta(ge=1, le=1000),
        Setting(
            "How many people must approve. One rejection is enough.",
            default="1",
            schema={"type": "integer", "minimum": 1, "maximum": 1000},
            called=("required_approvals",),
        ),
    ] = 1
    title: Annotated[
        str,
        Setting("What is to be decided, in a line; what a template yields becomes text.", called=("request_title",)),
    ] = ""
    message: Annotated[str, Setting("What is to be decided, at length.", called=("description",))] = ""
    timeout_seconds: Annotated[
        TimeLimit | None,
        Setting(
            "How long people have to decide, at each level; then `on_timeout` happens.",
            schema={"type": "number", "exclusiveMinimum": 0},
            parameter="deadline_seconds",
            called=("timeout",),
        ),
    ] = None
    on_timeout: Annotated[
        OnTimeout | None,
        Setting(
            "What happens after that time: `approve`, `reject`, `fail`, or `escalate`, which asks `escalate_to`.",
            default="`fail`",
            schema={"enum": list(get_args(OnTimeout))},
        ),
    ] = None
    escalate_to: Annotated[
        tuple[Names | Name, ...],
        Setting(
            "Who decides next: names, or a list of lists for several levels; after the last one the step fails.",
            schema={"type": "array", "items": _NAMES},
            called=("escalation", "escalation_approver"),
        ),
    ] = ()
    on_reject: Annotated[
        OnReject,
        Setting(
            "`continue` makes a rejection the step's output, for conditions to look at; otherwise it fails the step.",
            default="`fail`",
            schema={"enum": list(get_args(OnReject))},
        ),
    ] = "fail"


class ChildConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """The ``config`` of a ``workflow_trigger``.

    It stands here, not with the type's declaration, because the core starts children by it.
    """

    workflow: Annotated[
        Name,
        Setting("The name of a registered definition.", schema=_NAME, called=("workflow_id", "workflow_name")),
    ]
    version: Annotated[
        str | None,
        Setting(
            "The version of that definition.",
            default="the newest that is active when the child starts",
            schema={"type": ["string", "null"]},
        ),
    ] = None
    input: Annotated[
        Any,
        Setting(
            "The child's input.", default="the step's input", parameter="data", called=("parameters", "input_data")
        ),
    ] = msgspec.UNSET
    wait: Annotated[
        bool,
        Setting("Whether the step waits for the child's end.", default="true", called=("wait_for_completion",)),
    ] = True
    on_failure: Annotated[
        OnChildFailure,
        Setting(
            "`continue` makes a child that failed, or was cancelled, the step's output.",
            default="`fail`",
            schema={"enum": list(get_args(OnChildFailure))},
            parameter="on_child_failure",
        ),
    ] = "fail"
    priority: Annotated[
        Annotated[int, Meta(ge=0, le=100)] | None,
        Setting(
            "The child's priority: 0 to 100.",
            default="the parent's",
            schema={"type": "integer", "minimum": 0, "maximum": 100},
        ),
    ] = None


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
