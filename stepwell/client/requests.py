"""Commands and their answers: what a client asks of the engines, and how it hears what became of it."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final

from msgspec import Struct

from stepwell.arguments import check_numbers, check_texts, rejected
from stepwell.consumers.reading.histories import look_up
from stepwell.consumers.reading.subscriber import Answer, Subscriber
from stepwell.core.decide.answers import ALREADY_FINISHED
from stepwell.errors import CommandRejectedError, visible
from stepwell.log.partitioner import partition_for
from stepwell.log.port import COMMANDS, ENGINES, STARTS, Log, NewRecord
from stepwell.schemas.definitions.bounds import not_finite
from stepwell.schemas.records.codec import decode_command, encode
from stepwell.schemas.records.commands import Command, StartWorkflow
from stepwell.schemas.records.events import CommandNoted, CommandRejected, Event
from stepwell.schemas.records.sender import NOBODY, Sender

ANSWER_TIMEOUT: Final = 30.0  # seconds; an engine answers in milliseconds, one that takes over needs a few seconds
FIRST_LOOK: Final = 0.1  # seconds without an answer before one asks whether any engine is there


class Asking:
    """Sends commands, and waits for what answers them.

    Args:
        log: Whose engines are asked.
        subscriber: Hears the answers.
    """

    def __init__(self, log: Log, subscriber: Subscriber) -> None:
        self._log = log
        self._subscriber = subscriber
        self._looking = asyncio.Lock()

    async def send(
        self, command: Command, *, sender: Sender = NOBODY, timeout: float = ANSWER_TIMEOUT, first: bool = False
    ) -> Answer | None:
        """Send a command and wait for its answer.

        Args:
            sender: Who asks; stands in the headers of the command, and of what answers it.
            first: Whether its id was made for it just now, so that nobody can have sent it before.

        Returns:
            What answers it; None where no engine is live to answer.

        Raises:
            CommandRejectedError: The engine will not follow it, or could not even read it.
            TimeoutError: No answer yet; the command is in the log and will be decided.
        """
        given: object = command
        if not isinstance(given, Struct) or not hasattr(given, "instance_id"):
            raise rejected(f"{command!r:.100} is no command")
        command_id: str = getattr(command, "command_id", "")
        instance_id = command.instance_id
        check_texts(rejected, instance_id=instance_id, command_id=command_id)
        check_numbers(rejected, timeout=timeout)
        try:
            value = encode(command)
            _check_numbers(command, value)
            decode_command(value)
        except UnicodeEncodeError:  # an argument of the terminal that is no UTF-8 comes as such
            raise CommandRejectedError(
                "invalid_command", "a text in it is no UTF-8", instance_id=visible(instance_id[:200])
            ) from None
        except (TypeError, ValueError) as error:  # an engine could only put it aside, and nobody would answer
            raise CommandRejectedError("invalid_command", str(error), instance_id=instance_id[:200]) from None
        partition = partition_for(instance_id, self._log.partitions)
        answer = await self._subscriber.expect(instance_id, command_id)
        try:
            topic = STARTS if isinstance(command, StartWorkflow) else COMMANDS
            await self._log.append(topic, partition, [NewRecord(instance_id, value, sender.headers)])
            found = await self._answered(instance_id, command_id, answer, timeout, first=first)
            if found is not None and not first and _may_be_a_repeat(found.event):
                found = await self._answered_before(instance_id, command_id) or found
        finally:
            self._subscriber.give_up(instance_id, command_id, answer)
        if found is not None and isinstance(found.event, CommandRejected):
            raise CommandRejectedError(
                found.event.code, found.event.message, instance_id=instance_id, position=found.position
            )
        return found

    async def _answered(
        self, instance_id: str, command_id: str, answer: asyncio.Future[Answer], timeout: float, *, first: bool
    ) -> Answer | None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        patience, looked = FIRST_LOOK, first
        while True:
            # A future of its own, so that the timer does not end the answer; asyncio.wait would cost twice as much.
            waiting: asyncio.Future[None] = loop.create_future()
            end = partial(_end, waiting)
            timer = loop.call_later(min(patience, max(0.0, deadline - loop.time())), end)
            answer.add_done_callback(end)
            try:
                await waiting
            finally:
                timer.cancel()
                answer.remove_done_callback(end)
            if answer.done():
                return answer.result()
            if not looked:
                looked = True
                before = await self._answered_before(instance_id, command_id, answer)
                if answer.done() or before is not None:
                    return answer.result() if answer.done() else before
            if not await self.engine_is_live():
                return None
            patience = 1.0
            if loop.time() >= deadline:
                raise TimeoutError(
                    f"{instance_id}: no answer within {timeout:g} s; the command is in the log and will be decided"
                )

    async def _answered_before(
        self, instance_id: str, command_id: str, answer: asyncio.Future[Answer] | None = None
    ) -> Answer | None:
        """What the same command was answered when it was sent before: a repeat changes nothing, and nobody says so.

        Looked up once, and only where the answer takes long: some logs read a whole partition for it. What is decided
        from now on is heard.

        Args:
            answer: Once this has come, it is not worth looking: under load, many wait for their turn to look.
        """
        if not command_id:
            return None
        async with self._looking:
            if answer is not None and answer.done():
                return None
            found = await look_up(self._log, instance_id)
        partition = partition_for(instance_id, self._log.partitions)
        return next(
            (
                Answer(event, partition, accepted.record.offset)
                for accepted in found.left
                for event in accepted.transition.events
                if getattr(event, "command_id", "") == command_id
            ),
            None,
        )

    async def engine_is_live(self) -> bool:
        """Whether any engine works on this log right now."""
        return bool(await self._log.members(ENGINES))


def _may_be_a_repeat(event: Event) -> bool:
    """Whether an engine says so where it has forgotten its first answer: the instance has left its memory."""
    return isinstance(event, CommandNoted) or (isinstance(event, CommandRejected) and event.code == ALREADY_FINISHED)


def _check_numbers(command: Command, value: bytes) -> None:
    """Refuse NaN and infinity, which would be written as null.

    Args:
        value: The command, encoded. What holds no null need not be looked through.

    Raises:
        ValueError: There is one; it says where.
    """
    if b"null" in value:
        for field in command.__struct_fields__:
            place = not_finite(getattr(command, field))
            if place is not None:
                at = f"{field}.{place}".removesuffix(".").replace(".[", "[")
                raise ValueError(
                    f"{at}: is NaN or infinity, which JSON cannot hold; give null, or the number as a text"
                )


def _end(waiting: asyncio.Future[None], _: object = None) -> None:
    if not waiting.done():
        waiting.set_result(None)
