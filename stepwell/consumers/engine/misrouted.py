"""Commands that arrived in a partition where their instance does not live.

It takes one setting to put them there: librdkafka's default partitioner hashes keys with CRC32, Kafka's own (and
ours) with murmur2; and a record without a key goes anywhere. Decided where it lies, such a start would make an
instance that nobody finds. So the owner sends it on to where it belongs, and says so in its own partition
(``docs/adr/0013``):

- first the forwarded copy is durable, then the note that covers the command's place: no crash loses it;
- a copy that is sent twice changes nothing twice: it has a ``command_id`` made of the place where it arrived, unless
  its sender gave it one; outcomes of steps are known by their run;
- it cannot circle: whoever owns the partition that an id hashes to never sends it on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, NamedTuple

from msgspec.structs import replace

from stepwell.consumers.engine.deciding import id_to_answer
from stepwell.consumers.engine.ledger import Decided
from stepwell.consumers.reading.dead_letters import letters_of
from stepwell.log.partitioner import partition_for
from stepwell.log.port import DEAD_LETTERS, Log, NewRecord, Record
from stepwell.logs import Logger
from stepwell.schemas.records.codec import decode_command, encode
from stepwell.schemas.records.commands import Command
from stepwell.schemas.records.events import EVENTS_VERSION, CommandNoted, CommandRejected, Transition
from stepwell.schemas.records.sender import forwarded

_logger = Logger("stepwell.owner")

FORWARDED: Final = "forwarded-from"  # header of a copy: where its sender had put it


class InboxRecord(NamedTuple):
    """A record of the inbox.

    Attributes:
        command: What it holds; None where it cannot be decoded,
        problem: and why.
    """

    topic: str
    record: Record
    command: Command | None
    problem: str = ""


def read_commands(topic: str, records: Sequence[Record]) -> list[InboxRecord]:
    """Decode what has arrived."""
    found = []
    for record in records:
        try:
            found.append(InboxRecord(topic, record, decode_command(record.value)))
        except ValueError as error:  # msgspec's errors are ValueErrors
            found.append(InboxRecord(topic, record, None, str(error)))
    return found


class MisroutedCommands:
    """Sends on what belongs elsewhere, and puts aside what nobody can read."""

    def __init__(self, log: Log, partition: int) -> None:
        self._log = log
        self._partition = partition
        self._told = False

    def is_misrouted(self, command: Command) -> bool:
        """Whether a command's instance lives in another partition."""
        return partition_for(command.instance_id, self._log.partitions) != self._partition

    async def bring_to_safety(self, asked: Sequence[InboxRecord]) -> None:
        """Copy what is not decided here, and return once the copies are durable.

        Misrouted commands go to where they belong, what cannot be decoded to the dead letters.

        Raises:
            LogError: Nothing is known about the copies: claim the partition anew, and they are sent again.
        """
        copies: dict[tuple[str, int], list[NewRecord]] = {}
        for one in asked:
            if one.command is None:
                copies.setdefault((DEAD_LETTERS, self._partition), []).extend(self._letters(one))
            elif self.is_misrouted(one.command):
                value = self._copy(one)
                if len(value) <= self._log.max_record_bytes:
                    instance_id = one.command.instance_id
                    place = one.topic, partition_for(instance_id, self._log.partitions)
                    header = {FORWARDED: self._place(one), **forwarded(one.record.headers)}
                    copies.setdefault(place, []).append(NewRecord(instance_id, value, header))
        if copies:
            await asyncio.gather(*(self._log.append(*place, records) for place, records in copies.items()))

    def note(self, one: InboxRecord, command: Command, at: int) -> Decided:
        """What the partition says of a misrouted command: the transition that covers its place."""
        name, owner = type(command).__name__, partition_for(command.instance_id, self._log.partitions)
        why = (
            f"arrived at {self._place(one)} under the key {_short(one.record.key)}, but its instance lives in "
            f"partition {owner}: the sender must use the instance id as key, and Kafka's partitioner (murmur2)"
        )
        event: CommandNoted | CommandRejected = CommandNoted(name, f"{why}. Sent on to it")
        if len(self._copy(one)) > self._log.max_record_bytes:
            event = CommandRejected(name, "wrong_partition", f"{why}. Too large to be sent on", id_to_answer(command))
        if not self._told:  # a producer with the wrong setting sends thousands
            self._told = True
            _logger.warning("a command in the wrong partition", instance_id=command.instance_id, reason=event.message)
        transition = Transition(EVENTS_VERSION, at, command.instance_id, 0, (event,))
        return Decided(transition, encode(transition), None)

    def _letters(self, one: InboxRecord) -> list[NewRecord]:
        headers = {"reason": one.problem, "topic": one.topic, "offset": str(one.record.offset)}
        _logger.warning("undecodable command put aside", partition=self._partition, **headers)
        return letters_of(one.record.key, one.record.value, headers, self._log.max_record_bytes)

    def _copy(self, one: InboxRecord) -> bytes:
        if getattr(one.command, "command_id", None) != "":
            return one.record.value
        return encode(replace(one.command, command_id=f"from-{self._place(one)}"))  # type: ignore[type-var]

    def _place(self, one: InboxRecord) -> str:
        return f"{one.topic}[{self._partition}]@{one.record.offset}"


def _short(key: str) -> str:
    return repr(key) if len(key) <= 100 else repr(key[:100] + "…")
