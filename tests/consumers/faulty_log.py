"""A log object to which things happen: appends that fail, land late, end in doubt, or are held up."""

from __future__ import annotations

import asyncio

from stepwell.errors import LogError
from stepwell.log.port import EVENTS, SNAPSHOTS
from stepwell.schemas.records.codec import decode_work


class FaultyLog:
    """Looks like the log that it wraps.

    Attributes:
        faults: How likely an append to events or snapshots, or an enqueue, meets trouble: 0 to 1.
        kinds: Of trouble. What is acknowledged late breaks the port's promise to keep the order.
        enqueued: Every piece of work that was sent out.
    """

    def __init__(self, log, rng):
        self._log = log
        self._rng = rng
        self.faults = 0.0
        self.kinds = ("never", "in doubt", "late", "late and acknowledged")
        self.enqueued = []
        self._held = None
        self._late = set()

    def __getattr__(self, name):
        return getattr(self._log, name)

    def hold(self):
        """Let nothing reach the events any more: the process has stopped between deciding and appending."""
        self._held = [] if self._held is None else self._held

    def let_go(self):
        """Go on where it was stopped, however late that is."""
        held, self._held = self._held or [], None
        for act, future in held:
            _pass_on(act(), future)

    async def settle(self):
        """Wait until everything late has landed."""
        while self._late:
            await asyncio.gather(*self._late, return_exceptions=True)

    def append(self, topic, partition, records):
        if topic not in (EVENTS, SNAPSHOTS):
            return self._log.append(topic, partition, records)
        return self._perhaps(lambda: self._log.append(topic, partition, records))

    def enqueue(self, queue, records):
        self.enqueued += [decode_work(record.value) for record in records]
        return self._perhaps(lambda: self._log.enqueue(queue, records))

    def _perhaps(self, act):
        future = asyncio.get_running_loop().create_future()
        if self._held is not None:
            self._held.append((act, future))
            return future
        if self._rng.random() >= self.faults:
            _pass_on(act(), future)
            return future
        error = LogError("trouble, on purpose")
        kind = self._rng.choice(self.kinds)
        if kind == "never":
            future.set_exception(error)
        elif kind == "in doubt":  # it lands, and nobody is told
            act().add_done_callback(lambda done: future.done() or future.set_exception(done.exception() or error))
        else:
            if kind == "late":
                future.set_exception(error)
            task = asyncio.ensure_future(self._later(act, future))
            self._late.add(task)
            task.add_done_callback(self._late.discard)
        return future

    async def _later(self, act, future):
        await asyncio.sleep(self._rng.random() * 0.05)
        landed = act()
        if not future.done():
            _pass_on(landed, future)
        await landed


def _pass_on(source, future):
    def done(ended):
        if future.done():
            ended.exception()
        elif ended.exception() is not None:
            future.set_exception(ended.exception())
        else:
            future.set_result(ended.result())

    source.add_done_callback(done)
