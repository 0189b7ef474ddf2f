"""Heartbeats: steps that take longer than a moment are reported as started, and so is how far they are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from typing import Any, Final

from stepwell.consumers.worker import settings
from stepwell.consumers.worker.context import StepContext
from stepwell.consumers.worker.failures import describe
from stepwell.consumers.worker.results import plain
from stepwell.logs import Logger
from stepwell.schemas.records.codec import encode, is_nested_too_deeply
from stepwell.schemas.records.commands import Command, HeartbeatStep, ReportStarted
from stepwell.schemas.records.work import WorkItem

_logger = Logger("stepwell.worker")

REPORT_AFTER: Final = 0.5  # seconds in hand before a step is reported as started: short steps cost no record
HEARTBEAT_EVERY: Final = 1.0  # seconds between two heartbeats with progress, at the least
SWEEP_EVERY: Final = 0.25  # seconds; how exact the two above are


class _RunReports:
    """What a run has said of itself, and what of that was reported."""

    __slots__ = ("heard", "item", "progress", "reported", "since")

    def __init__(self, item: WorkItem, since: float) -> None:
        self.item = item
        self.since = since
        self.heard = 0.0
        self.progress: list[Any] = []  # the newest, if it was not sent yet
        self.reported = False


class Heartbeats:
    """Tells the engine of a worker's runs while they last.

    Args:
        say: Sends a command that nobody waits for.
        limit: The most bytes that a command may have.
        name: Who the worker is, for people.
    """

    def __init__(self, say: Callable[[Command], None], limit: int, name: str) -> None:
        self._say = say
        self._limit = limit
        self._name = name
        self._every = settings.heartbeat_seconds()  # None: as often as ever
        self._runs: dict[Hashable, _RunReports] = {}
        self._news = asyncio.Event()  # a run has begun, or has said how far it is

    def expect(self, key: Hashable, item: WorkItem, ctx: StepContext) -> None:
        """A run begins."""
        loop = asyncio.get_running_loop()
        run = self._runs[key] = _RunReports(item, loop.time())
        ctx.report_to(lambda progress: loop.call_soon_threadsafe(self._heard, run, progress))
        self._news.set()

    def lost_before(self, key: Hashable, deliveries: int) -> Command:
        """It was in the hands of workers that have died: gives what is to be told of that before it begins."""
        run = self._runs[key]
        run.reported = True
        item, step = run.item, run.item.step
        return ReportStarted(item.instance_id, step.step_id, step.run, worker=self._name, deliveries=deliveries)

    def forget(self, key: Hashable) -> None:
        """It has ended."""
        self._runs.pop(key, None)

    def _heard(self, run: _RunReports, progress: Any) -> None:
        run.progress = [progress]
        self._news.set()

    async def run(self) -> None:
        """Report until cancelled."""
        while True:
            if all(run.reported and not run.progress for run in self._runs.values()):
                self._news.clear()  # nothing to report, however long what runs may take
                await self._news.wait()
            await asyncio.sleep(SWEEP_EVERY)
            now = asyncio.get_running_loop().time()
            for run in list(self._runs.values()):
                item, step = run.item, run.item.step
                if not run.reported and now - run.since >= REPORT_AFTER:
                    run.reported = True
                    self._say(ReportStarted(item.instance_id, step.step_id, step.run, worker=self._name))
                if run.reported and run.progress and now - run.heard >= (self._every or HEARTBEAT_EVERY):
                    run.heard = now
                    self._say(self._heartbeat(item, run.progress.pop()))

    def _heartbeat(self, item: WorkItem, progress: Any) -> HeartbeatStep:
        """A heartbeat with its progress, if that can be shown at all."""
        step = item.step
        try:
            beat = HeartbeatStep(item.instance_id, step.step_id, step.run, plain(progress, "progress"))
            value = encode(beat)
            if len(value) <= self._limit and not is_nested_too_deeply(beat, value):
                return beat
            problem = "it is too large"
        except BaseException as error:  # methods of foreign objects are called, and these run in the loop
            problem = describe(error).message
        _logger.warning("progress cannot be shown", instance_id=item.instance_id, step_id=step.step_id, why=problem)
        return HeartbeatStep(item.instance_id, step.step_id, step.run)
