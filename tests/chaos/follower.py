"""A reader beside the system, by the acceptance rule in its own words: what counts, when it was seen, who owns what."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from typing import NamedTuple

from stepwell.errors import LogClosedError, LogError
from stepwell.log.port import EVENTS, Log, Record
from stepwell.schemas.records.codec import decode_transition
from stepwell.schemas.records.events import (
    Transition,
    WorkflowCancelled,
    WorkflowCompleted,
    WorkflowFailed,
    WorkflowReopened,
    WorkflowStarted,
)

ENDS = {WorkflowCompleted: "completed", WorkflowFailed: "failed", WorkflowCancelled: "cancelled"}


class Seen(NamedTuple):
    """A transition that counts.

    Attributes:
        at: When it was seen here, in seconds since 1970.
        created: When its owner made the record, likewise.
    """

    at: float
    created: float
    partition: int
    transition: Transition


class Rule:
    """The acceptance rule over one partition."""

    def __init__(self) -> None:
        self.position = 0
        self.epoch, self.index = -1, 0
        self.owner = ""
        self.claims = self.refused = self.snapshots = 0
        self.digest = hashlib.sha256()

    def take(self, record: Record) -> bool:
        """Whether a record is a transition of an instance that counts."""
        if record.offset != self.position:
            raise AssertionError(f"a hole in events: {record.offset} where {self.position} should be")
        self.position += 1
        headers = dict(record.headers)
        self.digest.update(json.dumps([record.offset, record.key, sorted(headers.items())]).encode() + record.value)
        if headers["kind"] == "claim":
            self.epoch, self.index = record.offset, 0
            self.owner = json.loads(record.value)["owner"]
            self.claims += 1
            return False
        if (int(headers["epoch"]), int(headers["index"])) != (self.epoch, self.index + 1):
            self.refused += 1
            return False
        self.index += 1
        if headers["kind"] == "snapshot-taken":
            self.snapshots += 1
            return False
        return True


class Follower:
    """Follows all events partitions while the run goes on.

    Attributes:
        seen: Every transition that counts, in the order in which they came by.
        ended: How instances that have ended did.
        answers: When commands were answered, by their ids.
        problems: What must never be.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self.rules = [Rule() for _ in range(log.partitions)]
        self.seen: list[Seen] = []
        self.started: set[str] = set()
        self.ended: dict[str, str] = {}
        self.answers: dict[str, float] = {}
        self.problems: list[str] = []
        self._waiting: dict[str, asyncio.Event] = {}
        self._tasks = [asyncio.ensure_future(self._follow(number)) for number in range(log.partitions)]

    def owned_by(self, name: str) -> list[int]:
        """The partitions that an engine has claimed last."""
        return [number for number, rule in enumerate(self.rules) if rule.owner == name]

    async def end_of(self, instance_id: str) -> str:
        """Wait for an instance's end; its status then."""
        while instance_id not in self.ended:
            await self._waiting.setdefault(instance_id, asyncio.Event()).wait()
            self._waiting.pop(instance_id, None)
        return self.ended[instance_id]

    async def _follow(self, number: int) -> None:
        rule = self.rules[number]
        while True:
            try:
                records = await self._log.read(EVENTS, number, rule.position, wait=None)
            except LogClosedError:
                return
            except LogError:  # the broker is away: that is what we are here for
                await asyncio.sleep(0.1)
                continue
            try:
                for record in records:
                    if rule.take(record):
                        self._note(number, record)
            except Exception as error:
                self.problems.append(f"events[{number}]: {type(error).__name__}: {error}")
                return

    def _note(self, number: int, record: Record) -> None:
        transition = decode_transition(record.value, f"events[{number}]@{record.offset}")
        self.seen.append(Seen(time.time(), record.timestamp / 1000, number, transition))
        instance_id = transition.instance_id
        for event in transition.events:
            self.answers.setdefault(getattr(event, "command_id", ""), time.time())
            if type(event) in ENDS:
                self.ended[instance_id] = ENDS[type(event)]
                if instance_id in self._waiting:
                    self._waiting[instance_id].set()
            elif isinstance(event, WorkflowReopened):
                self.ended.pop(instance_id, None)
            elif isinstance(event, WorkflowStarted):
                self.started.add(instance_id)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
