"""The objects that ``Client.start`` accepts: their types for type checkers, and what a start of each means.

A start by name gives ``Run[Any]``: the type of the output is not known. A start of a workflow that
``@stepwell.workflow`` made gives, for instance, ``Run[Receipt]``: its function says what it takes and returns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypedDict, TypeVar

import msgspec
from msgspec import Struct

from stepwell.consumers.worker.failures import ReportedError
from stepwell.consumers.worker.input_types import convert, is_structured
from stepwell.consumers.worker.results import plain
from stepwell.errors import CommandRejectedError
from stepwell.schemas.definitions.model import Definition

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stepwell.builder.workflows import Workflow

In_contra = TypeVar("In_contra", contravariant=True)
Out_co = TypeVar("Out_co", covariant=True)


class StartOptions(TypedDict, total=False):
    """The options of ``Client.start``, which describes each of them."""

    id: str | None
    version: str | None
    priority: int
    timeout_seconds: float | None
    watch: bool
    if_exists: Literal["refuse", "use"]


class WithoutInput(Protocol[Out_co]):
    """A workflow whose function can be called without arguments."""

    @property
    def children(self) -> Sequence[Any]:
        """The workflows that it calls."""
        ...

    def __call__(self) -> Out_co:
        """Call the function of the workflow."""
        ...


class WithInput(Protocol[In_contra, Out_co]):
    """A workflow whose function can be called with one argument: its input."""

    @property
    def children(self) -> Sequence[Any]:
        """The workflows that it calls."""
        ...

    def __call__(self, data: In_contra, /) -> Out_co:
        """Call the function of the workflow."""
        ...


class ToStart(Struct, frozen=True):
    """The arguments of a start.

    Attributes:
        workflow: The name of the definition.
        version: The version of the given ``Workflow`` or ``Definition``; None for the newest active version.
        input: The input, as JSON data.
        returns: The type of the output; ``Any`` if it is not known.
    """

    workflow: str
    version: str | None
    input: Any
    returns: Any


def to_start(workflow: object, data: object, instance_id: str) -> ToStart:
    """Derive the arguments of a start from what was given to ``Client.start``.

    Args:
        workflow: A name, a ``Definition``, or a workflow that is written in Python.
        data: Its input.
        instance_id: The id of the instance, for messages.

    Raises:
        CommandRejectedError: ``workflow`` is not a workflow, or the input cannot be written as JSON, or does not fit
            the parameters of the workflow's function.
        BuildError: The workflow's function does something that cannot be recorded.
        DefinitionError: The workflow's function builds no valid definition.
    """
    if isinstance(workflow, str):
        return ToStart(workflow, None, _json(data, instance_id), Any)
    if isinstance(workflow, Definition):
        return ToStart(workflow.name, workflow.version, _json(data, instance_id), Any)
    from stepwell.builder.workflows import Workflow  # noqa: PLC0415 - who starts by name has written none

    if isinstance(workflow, Workflow):
        version, name = workflow.definition.version, workflow.name
        return ToStart(name, version, _input(workflow, data, instance_id), workflow.returns)
    remedy = "Give it a workflow's name, what @stepwell.workflow has made, or a stepwell.Definition."
    if callable(workflow):
        remedy = f"Put @stepwell.workflow above the function, and register what it makes. {remedy}"
    raise CommandRejectedError(
        "invalid_command", f"{workflow!r:.100} is no workflow", instance_id=instance_id, remedy=remedy
    )


def _json(data: object, instance_id: str) -> Any:
    try:
        return None if data is None else plain(data, "input")
    except (TypeError, ReportedError) as error:
        raise CommandRejectedError(
            "invalid_command", str(error).replace("; return ", "; give "), instance_id=instance_id
        ) from None


def _input(workflow: Workflow[Any, Any], data: object, instance_id: str) -> Any:
    """Convert and check the input for a workflow's function: one value, or a value for each parameter."""
    made = _json(data, instance_id)
    types = workflow.takes
    if isinstance(types, Mapping):
        if data is not None and not isinstance(data, Mapping) and workflow.fits_one:
            made = {next(iter(types)): made}  # order(5) and start(order, 5) are the same
        if isinstance(made, dict):
            for name, value in made.items():
                _check(workflow.name, value, types.get(name, Any), f"input.{name}", instance_id)
    elif data is not None:
        _check(workflow.name, made, types, "input", instance_id)
    return made


def _check(workflow: str, value: Any, wanted: Any, place: str, instance_id: str) -> None:
    if not is_structured(wanted):
        return
    try:
        convert(value, wanted)
    except msgspec.ValidationError as error:
        text, at, path = str(error).partition(" - at `$")
        where = f"{place}{path.removesuffix('`')}" if at else place
        raise CommandRejectedError(
            "invalid_input", f"workflow {workflow}: {where}: {text}", instance_id=instance_id
        ) from None
    except Exception:  # msgspec does not know the type, or the user's code fails: leave the check to the steps
        return
