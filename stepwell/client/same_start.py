"""Whether a start asks for the instance that there is, or for another one under its id."""

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
"""The code of the refusal: there is an instance of this id, and it was started for something else."""


def difference(found: InstanceState | StartWorkflow, workflow: str, version: str | None, input: Any) -> str:  # noqa: A002 - the word of the definition
    """What an instance was started with that a further start of its id does not say; empty where it says the same.

    Args:
        version: The version that the start names; None where it takes any.
        input: Its input, in whatever order; None where it says nothing of it.
    """
    if found.workflow != workflow:
        return f'workflow "{found.workflow}", not "{workflow}"'
    if version is not None and found.version is not None and found.version != version:
        return f"version {found.version}, not {version}"
    if input is not None and input_hash(found.input) != input_hash(msgspec.json.decode(encode(input))):
        return "another input"
    return ""


def conflict(instance_id: str, said: str, remedy: str = "") -> CommandRejectedError:
    """The refusal of a start.

    Args:
        said: What ``difference`` found.
        remedy: What to do, where Python is not what the caller writes.
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
    """Refuse a start whose id belongs to an instance that was started for something else.

    Raises:
        CommandRejectedError: It does; its code is ``instance_exists``.
    """
    try:
        found = await pending.find(instance_id)
    except (UnknownInstanceError, CommandRejectedError):
        return  # cleaned away since: nothing can be compared
    said = difference(found, workflow, version, input)
    if said:
        raise conflict(instance_id, said)
