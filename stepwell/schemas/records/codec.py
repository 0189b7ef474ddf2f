"""Records to bytes and back. Values are JSON, so that people can read the log with any Kafka or SQLite client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from stepwell.errors import UNREADABLE, LogCorruptedError, LogVersionError
from stepwell.schemas.records.commands import COMMANDS_VERSION, Command
from stepwell.schemas.records.events import EVENTS_VERSION, Transition
from stepwell.schemas.records.partition_records import PartitionOwned, PartitionSnapshotted
from stepwell.schemas.records.upcast import SAME_SHAPE, lift
from stepwell.schemas.records.work import CancelRuns, WorkItem

encode: Callable[[Any], bytes] = msgspec.json.Encoder().encode
"""Any of our structs as JSON."""

MOST_NESTED: Final = 500
"""How deep a command's payload may be nested. Python reads and writes some 900 levels, depending on the stack: what
is let in must be readable by everybody, wherever it is wrapped into a transition, a state or a snapshot."""

_commands: msgspec.json.Decoder[Command] = msgspec.json.Decoder(Command)
_transitions = msgspec.json.Decoder(Transition)
_owned = msgspec.json.Decoder(PartitionOwned)
_snapshotted = msgspec.json.Decoder(PartitionSnapshotted)
_work = msgspec.json.Decoder(WorkItem)
_cancels = msgspec.json.Decoder(CancelRuns)

decode_work: Callable[[bytes], WorkItem] = _work.decode
decode_cancel: Callable[[bytes], CancelRuns] = _cancels.decode
decode_owned: Callable[[bytes], PartitionOwned] = _owned.decode


def decode_command(value: bytes) -> Command:
    """Read a command.

    Raises:
        msgspec.DecodeError: It is none: not JSON, of an unknown type or a newer version, nested too deeply, or with
            fields that do not fit.
    """
    try:
        command = _commands.decode(value)
    except RecursionError:
        raise msgspec.DecodeError("nested too deeply") from None
    if command.schema > COMMANDS_VERSION:
        known = f"this Stepwell knows versions up to {COMMANDS_VERSION}"
        raise msgspec.DecodeError(f"a command of version {command.schema}; {known}")
    if is_nested_too_deeply(command, value):
        raise msgspec.DecodeError(f"nested more than {MOST_NESTED} deep")
    return command


def is_nested_too_deeply(command: Command, value: bytes) -> bool:
    """Whether nobody would read this command: senders ask before they send it.

    Args:
        value: The command, encoded.
    """
    return value.count(b"[") + value.count(b"{") > MOST_NESTED and _depth(command) > MOST_NESTED


def _depth(command: Command) -> int:
    """How deep the payloads of a command are nested."""
    level: list[Any] = [getattr(command, field) for field in command.__struct_fields__]
    depth = 0
    while level := [value for value in level if type(value) in (dict, list)]:
        depth += 1
        level = [part for value in level for part in (value.values() if type(value) is dict else value)]
    return depth


def decode_transition(value: bytes, place: str) -> Transition:
    """Read a transition of any version up to ours.

    Args:
        place: Where it was read, for messages.

    Raises:
        LogVersionError: It is of a newer version.
        LogCorruptedError: It is no transition.
    """
    try:
        transition = _transitions.decode(value)
    except msgspec.ValidationError as error:
        return _decode_old(value, place, error)
    except msgspec.DecodeError as error:
        raise _corrupted(place, error) from error
    version = transition.version
    if version == EVENTS_VERSION:
        return transition
    if SAME_SHAPE <= version < EVENTS_VERSION:
        return replace(transition, version=EVENTS_VERSION)
    return _decode_old(value, place, None)


def _decode_old(value: bytes, place: str, problem: Exception | None) -> Transition:
    try:
        raw: Any = msgspec.json.decode(value)
    except (msgspec.DecodeError, RecursionError) as error:
        raise _corrupted(place, error) from error
    if not isinstance(raw, dict) or (problem is not None and raw.get("version") == EVENTS_VERSION):
        raise _corrupted(place, problem)
    try:
        return msgspec.convert(lift(raw, place), Transition)
    except (KeyError, TypeError, ValueError) as error:  # msgspec's errors are ValueErrors
        raise _corrupted(place, error) from error


def decode_snapshotted(value: bytes, place: str) -> PartitionSnapshotted:
    """Read where a snapshot is.

    Raises:
        LogVersionError: It is of a newer version.
        LogCorruptedError: It is no such record.
    """
    try:
        record = _snapshotted.decode(value)
    except msgspec.DecodeError as error:
        raise _corrupted(place, error) from error
    if record.version > EVENTS_VERSION:
        raise LogVersionError(
            f"a snapshot of version {record.version}; this Stepwell knows versions up to {EVENTS_VERSION}",
            place=place,
            remedy="Update Stepwell (pip install --upgrade stepwell) and start it again.",
        )
    return record


def _corrupted(place: str, problem: Exception | None) -> LogCorruptedError:
    return LogCorruptedError(
        f"a record that is no transition: {problem}",
        place=place,
        remedy=f"Nothing was skipped. {UNREADABLE}",
    )
