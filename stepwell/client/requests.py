"""Commands and their answers: sends a command to the engines, and waits for the event that answers it."""

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

ANSWER_TIMEOUT: Final = 30.0  # seconds; an engine answers in milliseconds, but a take-over lasts a few seconds
FIRST_LOOK: Final = 0.1  # seconds without an answer before the client checks whether an engine is live


class Asking:
    """Sends commands, and waits for their answers.

    Args:
        log: The log of the engines.
        subscriber: Reads the answers.
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
            command: The command.
            sender: Who sends it; the headers of the command and of its answer contain it.
            timeout: Seconds to wait for the answer.
            first: Whether the command's id is new, so that the command cannot have been sent before.

        Returns:
            The answer; None if no engine is live.

        Raises:
            CommandRejectedError: The engine rejected or could not read the command, or it cannot be encoded.
            TimeoutError: There is no answer yet; the command is in the log and will be decided.
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
        except UnicodeEncodeError:  # an argument of the command line may be no valid UTF-8
            raise CommandRejectedError(
                "invalid_command", "a text in it is no UTF-8", instance_id=visible(instance_id[:200])
            ) from None
        except (TypeError, ValueError) as error:  # an engine could not decode it, and would not answer
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
            # A separate future, so that the timer does not end `answer`. asyncio.wait would cost twice as much.
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
        """Find the answer to an earlier sending of the same command: an engine does not answer a repeated command.

        This looks only once, and only if the answer takes long: some logs read a whole partition for it. The
        subscriber sees every answer that is decided from now on.

        Args:
            answer: If this is done, the search is skipped: under load, many commands wait for their turn to search.
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
        """Return whether an engine works on this log right now."""
        return bool(await self._log.members(ENGINES))


def _may_be_a_repeat(event: Event) -> bool:
    """Whether an event may answer a repeated command whose first answer the engine has forgotten.

    An engine forgets its answers to an instance when the instance leaves its memory.
    """
    return isinstance(event, CommandNoted) or (isinstance(event, CommandRejected) and event.code == ALREADY_FINISHED)


def _check_numbers(command: Command, value: bytes) -> None:
    """Refuse NaN and infinity, which would be encoded as null.

    Args:
        command: The command.
        value: The encoded command. Only a command whose encoding contains a null is searched.

    Raises:
        ValueError: The command contains NaN or infinity; the error names the place.
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
