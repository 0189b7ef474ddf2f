"""Compares a start with the existing instance of its id: is it the same start, or another one?"""

from __future__ import annotations

from typing import Any

import msgspec

from stepwell.consumers.reading.pending import PendingInstances
from stepwell.core.fold.state import InstanceState
from stepwell.errors import CommandRejectedError, UnknownInstanceError
from stepwell.projections.input_hash import input_hash
from stepwell.schemas.records.codec import encode
from stepwell.schemas.records.commands import StartWorkflow

EXISTS = "instance_exists"
"""The code of the refusal of a start whose id belongs to an instance that was started with other arguments."""


def difference(found: InstanceState | StartWorkflow, workflow: str, version: str | None, input: Any) -> str:  # noqa: A002 - the word of the definition
    """Describe how an instance differs from another start of its id; empty if it does not.

    Args:
        found: The instance, or its pending start.
        workflow: The name of the workflow that the start asks for.
        version: The version that the start asks for; None if it accepts any.
        input: The input of the start; None if it gives none. The order of keys does not matter.
    """
    if found.workflow != workflow:
        return f'workflow "{found.workflow}", not "{workflow}"'
    if version is not None and found.version is not None and found.version != version:
        return f"version {found.version}, not {version}"
    if input is not None and input_hash(found.input) != input_hash(msgspec.json.decode(encode(input))):
        return "another input"
    return ""


def conflict(instance_id: str, said: str, remedy: str = "") -> CommandRejectedError:
    """Make the error that refuses a start.

    Args:
        instance_id: The id of the existing instance.
        said: The result of ``difference``.
        remedy: The remedy for callers that do not write Python; by default the one for Python.
    """
    return CommandRejectedError(
        EXISTS,
        f'instance "{instance_id}" exists already, with {said}',
        instance_id=instance_id,
        remedy=remedy or 'Choose another id; or say if_exists="use" to be given the one that there is.',
    )


async def check_same(
    pending: PendingInstances,
    instance_id: str,
    workflow: str,
    version: str | None,
    input: Any,  # noqa: A002
) -> None:
    """Check that the existing instance of an id was started with the same arguments.

    Raises:
        CommandRejectedError: It was not; the code is ``instance_exists``.
    """
    try:
        found = await pending.find(instance_id)
    except (UnknownInstanceError, CommandRejectedError):
        return  # the instance was cleaned away: there is nothing to compare
    said = difference(found, workflow, version, input)
    if said:
        raise conflict(instance_id, said)
