"""How an owner decides what the ones before it may have died over (``docs/adr/0030``).

Whatever was in the log when it took over is decided with care: first a claim that names what is decided next, and
only once that is durable, the deciding. As a rule it names a whole batch, which costs next to nothing. Where a
process has died over a batch, each of its commands is named and decided alone, so that the next death tells which one
it was. And what one process after the other has died over is not decided at all: its instance is quarantined.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from msgspec.structs import replace

from stepwell.consumers.engine.due import DueTimer
from stepwell.consumers.engine.misrouted import InboxRecord
from stepwell.core.decide.deaths import MOST_DEATHS, deaths_over, is_same
from stepwell.log.port import COMMANDS, STARTS
from stepwell.schemas.records.commands import Command, ContinueWorkflow, InternalCommand
from stepwell.schemas.records.partition_records import Deciding, PartitionOwned


def place_of(topic: str, offset: int) -> str:
    """How a command is named by where it stands."""
    return f"{topic}@{offset}"


class InboxEnds(NamedTuple):
    """What may have been decided before: what lies below these.

    Attributes:
        commands: An offset of ``commands``.
        starts: An offset of ``starts``.
    """

    commands: int
    starts: int


class Care:
    """What one owner takes care of.

    Args:
        until: What was there when it took over.
        deaths: The claims that tell what the processes before have died over, the newest first.
        most: How many processes may die over one command.

    Attributes:
        alone: Whether the next command is named and decided alone.
        continuing: How many instances are still to be asked whether they have more to start.
    """

    def __init__(
        self, until: InboxEnds, deaths: Sequence[PartitionOwned], *, continuing: int, most: int = MOST_DEATHS
    ) -> None:
        self._until = until
        self._deaths = deaths
        self._died_over = [claim.deciding for claim in deaths if claim.deciding is not None]
        self._most = most
        self.alone: bool = False
        self.continuing = continuing

    def of_commands(self, asked: Sequence[InboxRecord], source: int, started: int) -> Deciding | None:
        """Before some commands: what is to be named of all of them.

        Args:
            source: Offset of the last record of ``commands`` before them,
            started: and of ``starts``.
        """
        if source + 1 >= self._until.commands and started + 1 >= self._until.starts:
            self.alone = False
            return None
        offsets = [(one.topic, one.record.offset) for one in asked]
        careful = self._any_below(self._until.commands, self._until.starts, offsets)
        suspected = self._suspects(offsets)
        commands = max([source, *(offset for topic, offset in offsets if topic == COMMANDS)]) + 1
        starts = max([started, *(offset for topic, offset in offsets if topic == STARTS)]) + 1
        return self._begin(Deciding(len(asked), commands=commands, starts=starts), careful, suspected)

    def of_timers(self, due: Sequence[DueTimer], source: int, started: int) -> Deciding | None:
        """Before some timers are fired: what is to be named of all of them."""
        careful = any(one.old for one in due)
        suspected = bool(due) and any(due[0].due <= one.due for one in self._died_over)
        last = due[-1].due if due else 0
        together = Deciding(len(due), command="FireTimer", commands=source + 1, starts=started + 1, due=last)
        return self._begin(together, careful, suspected)

    def of_continuing(self, source: int, started: int) -> Deciding | None:
        """Before some instances go on with what they have deferred: what is to be named of all of them."""
        careful = self.continuing > 0
        name = ContinueWorkflow.__name__
        suspected = any(one.command == name for one in self._died_over)
        together = Deciding(self.continuing, command=name, commands=source + 1, starts=started + 1)
        return self._begin(together, careful, suspected)

    def _begin(self, together: Deciding, careful: bool, suspected: bool) -> Deciding | None:
        self.alone = careful and (suspected or together.count == 1)
        return together if careful and not self.alone else None

    def _suspects(self, offsets: Sequence[tuple[str, int]]) -> bool:
        return any(
            any(place_of(topic, offset) == one.place for topic, offset in offsets)
            if one.count == 1
            else self._any_below(one.commands, one.starts, offsets)
            for one in self._died_over
        )

    @staticmethod
    def _any_below(commands: int, starts: int, offsets: Sequence[tuple[str, int]]) -> bool:
        return any(offset < (commands if topic == COMMANDS else starts) for topic, offset in offsets)

    def look_at(self, start: int) -> None:
        """Before a start that is taken out of turn for a command: it is named alone, if it was there."""
        self.alone = self.alone or start < self._until.starts

    def name(self, command: Command | InternalCommand, place: str, source: int, started: int, due: int) -> Deciding:
        """What is to be named of one command.

        Args:
            place: Where it stands.
            due: When it is due, where it is a timer; else 0.
        """
        self.alone = True  # whatever is decided behind it, too: nothing else names that
        named = Deciding(1, command.instance_id, type(command).__name__, place, source + 1, started + 1, due)
        return replace(named, deaths=deaths_over(self._deaths, named))

    def condemns(self, named: Deciding) -> PartitionOwned | None:
        """The claim of the last process that died over a command which is not to be decided any more."""
        if named.deaths < self._most:
            return None
        return next(claim for claim in self._deaths if claim.deciding is not None and is_same(claim.deciding, named))
