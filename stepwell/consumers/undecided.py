"""Instances whose start is in the log, but that no engine has decided about yet."""

from __future__ import annotations

import contextlib
import itertools

import msgspec

from stepwell.consumers.definitions import Definitions
from stepwell.consumers.histories import events_of, unknown_instance
from stepwell.consumers.views import InstanceView, StepView
from stepwell.errors import CommandRejectedError, UnknownInstanceError
from stepwell.log.partitioner import partition_for
from stepwell.log.port import COMMANDS, STARTS, Log
from stepwell.schemas.codec import decode_command
from stepwell.schemas.commands import StartWorkflow
from stepwell.schemas.events import CommandRejected


async def undecided(log: Log, definitions: Definitions, instance_id: str) -> InstanceView:
    """An instance of status ``pending``: it was asked for, and that is all.

    Raises:
        UnknownInstanceError: Nobody has asked for it.
        CommandRejectedError: It was asked for, and the engine would not start it.
    """
    rejected: dict[str, CommandRejected] = {}
    unknown = unknown_instance(instance_id)
    try:
        answers = [record.event for record in await events_of(log, instance_id)]
        rejected = {answer.command_id: answer for answer in answers if isinstance(answer, CommandRejected)}
    except UnknownInstanceError as error:  # which may say that it was cleaned away
        unknown = error
    partition = partition_for(instance_id, log.partitions)
    asked = [await log.read_key(topic, partition, instance_id) for topic in (COMMANDS, STARTS)]
    for record in itertools.chain.from_iterable(asked):
        with contextlib.suppress(msgspec.DecodeError):  # an engine will put it among the dead letters
            command = decode_command(record.value)
            if not isinstance(command, StartWorkflow) or command.command_id in rejected:
                continue
            await definitions.catch_up()
            wanted = definitions.resolve(command.workflow, command.version)
            return InstanceView(
                instance_id=instance_id,
                workflow=command.workflow,
                version=command.version or "",
                status="pending",
                steps={step_id: StepView("pending") for step_id in wanted.steps} if wanted else {},
                input=command.input,
                priority=command.priority,
            )
    for answer in reversed(rejected.values()):
        if answer.command == "StartWorkflow":
            raise CommandRejectedError(
                answer.code, f"its start was rejected: {answer.message}", instance_id=instance_id
            )
    raise unknown
