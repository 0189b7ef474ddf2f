"""The names of instances' workflows. Only the first event of an instance says it; whoever begins later looks back."""

from __future__ import annotations

from typing import Final

from stepwell.consumers.reading.events import EventReader
from stepwell.consumers.reading.snapshots import SurpriseError, load_snapshot
from stepwell.core.fold.acceptance import KIND, TRANSITION
from stepwell.log.port import EVENTS, Log
from stepwell.schemas.records.events import (
    Transition,
    WorkflowCancelled,
    WorkflowCompleted,
    WorkflowFailed,
    WorkflowReopened,
    WorkflowStarted,
)

_ENDS: Final = (WorkflowCompleted, WorkflowFailed, WorkflowCancelled)
_BATCH: Final = 1_000


class Names:
    """The workflows' names of the instances that are live."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}

    def of(self, transition: Transition) -> str:
        """The name for a transition's events; empty where it is not known."""
        name = self.known.get(transition.instance_id, "")
        for event in transition.events:
            if isinstance(event, WorkflowStarted):
                name = self.known[transition.instance_id] = event.workflow
            elif isinstance(event, WorkflowReopened):
                name = self.known[transition.instance_id] = str(event.state.get("workflow", ""))
            elif isinstance(event, _ENDS):
                self.known.pop(transition.instance_id, None)
        return name

    async def learn(self, log: Log, partition: int, offset: int) -> None:
        """Learn the names of all instances that were live right before a record.

        The newest snapshot knows them, where it is older than the record; else all that the log holds is read.
        """
        reader = EventReader(log, partition)
        found = Names()
        try:
            state = await load_snapshot(log, reader, await log.end(EVENTS, partition))
        except SurpriseError:  # it was superseded meanwhile
            position = 0
        else:
            position = reader.position if reader.position <= offset else 0
            found.known = {one.id: one.workflow for one in state.instances.values()}
        while position < offset:
            records = await log.read(EVENTS, partition, position, limit=min(_BATCH, offset - position))
            if not records:
                break
            for record in records:
                if record.headers.get(KIND) == TRANSITION and record.offset < offset:
                    found.of(reader.decode(record))
            position = records[-1].offset + 1
        self.known = found.known | self.known
