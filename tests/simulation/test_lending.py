"""Worlds whose steps are all lent to remote workers, which forget, dawdle, release, and speak too late."""

from __future__ import annotations

import asyncio
from collections import Counter
from types import SimpleNamespace

import pytest

from stepwell.consumers.worker.failures import describe
from stepwell.consumers.worker.remote.lending import Lending
from stepwell.errors import LeaseLostError, LogError, UnknownClaimError
from tests.simulation import actors
from tests.simulation.scene import HANDLERS
from tests.simulation.world import simulate

pytestmark = pytest.mark.rows("B8")

LEASE = 3.0  # seconds; handlers take up to ten


class RemoteWorker:
    """A worker that has nothing but the five calls."""

    def __init__(self, world, lending, name, lacking, counts):
        self.world = world
        self.lending = lending
        self.name = name
        self.handlers = [name for name in HANDLERS if name != lacking]
        self.counts = counts
        self.limit = world.dice.choice((1, 3, 20))
        self.running = set()

    async def run(self):
        try:
            while True:
                found = await self.lending.claim(
                    self.name, ["default"], self.handlers, limit=self.limit, wait=2, lease=LEASE
                )
                for step in found:
                    self.counts["claimed"] += 1
                    task = asyncio.ensure_future(self.work(step))
                    self.running.add(task)
                    task.add_done_callback(self.running.discard)
        finally:
            for task in self.running:
                task.cancel()

    async def work(self, step):
        dice, stormy = self.world.dice, self.world.stormy
        if stormy and dice.random() < 0.05:
            self.counts["forgotten"] += 1
            return
        beating = asyncio.ensure_future(self.beat(step)) if dice.random() < 0.7 else None
        try:
            if stormy and dice.random() < 0.05:
                await self.lending.release(step.claim)
                self.counts["released"] += 1
                return
            updates = {}
            ctx = SimpleNamespace(
                instance_id=step.instance_id,
                step_id=step.step_id,
                run=step.run,
                set=updates.__setitem__,
                heartbeat=lambda progress: None,
            )
            try:
                output = await self.world.hands._work(step.input, ctx)
            except Exception as error:
                reported = await self.lending.fail(step.claim, describe(error))
            else:
                reported = await self.lending.complete(step.claim, output, updates)
            self.counts[reported.outcome] += 1
        except (LeaseLostError, UnknownClaimError) as error:
            self.counts[getattr(error, "reason", "unknown")] += 1
        except LogError:
            self.counts["trouble"] += 1
        finally:
            if beating is not None:
                beating.cancel()

    async def beat(self, step):
        while True:
            await asyncio.sleep(LEASE / 3)
            try:
                if self.lending.heartbeat(step.claim, self.world.dice.choice((None, 1, {"at": 2}))).cancelled:
                    self.counts["told of its cancellation"] += 1
                    return
            except (LeaseLostError, UnknownClaimError):
                return


def server_of(counts):
    """In place of a worker: a server that lends to some remote ones."""

    def server(world):
        dice = world.dice
        lacking = dice.choice(HANDLERS) if dice.random() < 0.15 and world.some_worker_is_complete else None
        world.some_worker_is_complete = True
        number = dice.choice((1, 2, 3))

        async def body(log):
            lending = Lending(log, linger=dice.choice((0.5, 10)), clock=world.storage.now)
            workers = [
                asyncio.ensure_future(
                    RemoteWorker(world, lending, f"{log.name}-{one // 2}", lacking if one else None, counts).run()
                )
                for one in range(number)
            ]
            try:
                await asyncio.gather(*workers)
            finally:
                for worker in workers:
                    worker.cancel()
                await asyncio.gather(*workers, return_exceptions=True)
                await lending.close()

        return body

    return server


def test_every_law_holds_where_all_steps_are_lent(monkeypatch):
    counts = Counter()
    monkeypatch.setattr(actors, "worker", server_of(counts))
    for seed in range(250):
        result = simulate(seed)
        assert result.problem is None, f"seed {seed}: {result.problem!r}"
    kinds = ("claimed", "completed", "failed", "expired", "cancelled", "timed_out", "released", "lost", "forgotten")
    assert not [kind for kind in kinds if not counts[kind]], counts
    assert counts["told of its cancellation"]
