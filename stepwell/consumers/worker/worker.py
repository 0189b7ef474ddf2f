"""The worker: runs the handlers of the steps on its queues, and reports what became of them.

Handlers run at least once. A step is forgotten by its queue only together with its outcome (or after it, where the
log cannot do both at once), so a worker that dies between the two makes another one run the step again, under the
same idempotency key.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

from stepwell.consumers.reading.dead_letters import letters_of
from stepwell.consumers.worker import settings
from stepwell.consumers.worker.calling import Call, contain
from stepwell.consumers.worker.cancellations import Cancellations, covers
from stepwell.consumers.worker.context import StepContext
from stepwell.consumers.worker.failures import describe, worker_lost
from stepwell.consumers.worker.handlers import Handler, Handlers
from stepwell.consumers.worker.heartbeats import Heartbeats
from stepwell.consumers.worker.intake import Intake, Slots
from stepwell.consumers.worker.outbox import Outbox, place
from stepwell.consumers.worker.peers import Peers
from stepwell.consumers.worker.repeats import Repeats
from stepwell.consumers.worker.reports import OUTCOME_SHARE, Outcome, completed, effort, failed, returned, timed_out
from stepwell.consumers.worker.results import as_json
from stepwell.consumers.worker.runs import Run
from stepwell.consumers.worker.threads import Threads
from stepwell.core.fold.attempts import UNKNOWN
from stepwell.errors import HandlerError, LogClosedError, LogError
from stepwell.log.partitioner import partition_for
from stepwell.log.port import AGAIN, COMMANDS, DEAD_LETTERS, Delivery, Log, NewRecord, Outgoing, WorkQueue
from stepwell.logs import Logger
from stepwell.process import process_name
from stepwell.schemas.records.codec import decode_work, encode
from stepwell.schemas.records.commands import Command
from stepwell.schemas.records.work import WorkItem
from stepwell.tasks import cancel_and_wait

_logger = Logger("stepwell.worker")

PASS_ON_EVERY: Final = 0.25  # seconds between two looks at what is at hand and not for us
REMEMBERED: Final = 10_000  # runs and cancellations that a worker remembers, to know repeats

_Key = tuple[str, int, int]  # instance, when it began, run

Ended = Callable[[StepContext, Command | None, asyncio.Future[None] | None], object]
"""Hears of a run that has left its worker's hands. It is given the run's context; what is reported, or None if nobody
waits for it any more; and a future that is done once that is in the log, or None if the step was given back."""


class Worker:
    """Runs steps.

    Args:
        handlers: What it can run.
        queues: What it takes steps from.
        concurrency: How many steps at once.
        only: Which work it takes at all; None for whatever it has a handler for.
        hand_back: Return steps for which neither it nor any other live worker of its queues has a handler, so
            that a person hears of it; otherwise they stay in the queue until a worker comes that has it.
        name: Who it is, for people; without one, host and process id.
        max_deliveries: How often a run is handed out to workers that die before it counts as an attempt that failed;
            without it, what the environment says (``settings``).
        intake: Says how many steps it has at once and when it takes the next; without it, ``concurrency`` does.
        ended: Called for every run that leaves this worker's hands; see ``Ended``.
    """

    def __init__(
        self,
        log: Log,
        handlers: Handlers,
        *,
        queues: Iterable[str] = ("default",),
        concurrency: int | None = None,
        only: Callable[[str], bool] | None = None,
        hand_back: bool = True,
        name: str = "",
        max_deliveries: int | None = None,
        intake: Intake | None = None,
        ended: Ended | None = None,
    ) -> None:
        self._max_deliveries = max_deliveries or settings.max_deliveries()
        self._log = log
        self._handlers = handlers
        self._queues = settings.listed(queues)
        self.concurrency: int = concurrency or settings.concurrency()
        self._intake = intake or Slots(self.concurrency)
        self._ended = ended
        self._only = only
        self._hand_back = hand_back
        self._name = name or process_name()
        self._asking: set[asyncio.Task[None]] = set()
        self._runs: dict[_Key, Run] = {}
        self._settled: OrderedDict[_Key, None] = OrderedDict()
        self._cancellations = Cancellations(log)
        self._repeats = Repeats(log)
        self._limit = int(log.max_record_bytes * OUTCOME_SHARE)
        self._heartbeats = Heartbeats(self._say, self._limit, self._name)
        self._stopping = False
        self._threads: Threads | None = None
        self._peers: Peers
        self._queue: WorkQueue
        self._outbox: Outbox
        self._failure: asyncio.Future[None]

    async def run(self, at_work: Callable[[], None] | None = None, *, grace: float = 0.0) -> None:
        """Work until cancelled.

        Args:
            at_work: Called once it may take steps.
            grace: On the way out, seconds that running handlers get to finish; what has not begun goes back to
                the queue at once, what is not done by then, then.

        Raises:
            LogError: The log cannot be used.
        """
        loop = asyncio.get_running_loop()
        contain(loop)
        self._failure = loop.create_future()
        about = {
            "name": self._name,
            "queues": ",".join(self._queues),
            "concurrency": str(self.concurrency),
            "handlers": ",".join(self._handlers.names()),
            "prefixes": ",".join(self._handlers.prefixes),
        }
        self._peers = Peers(self._log, self._queues, about)
        await self._cancellations.catch_up()  # before the first step is taken: it may be cancelled already
        prefetch = self._intake.prefetch
        self._queue = await self._log.consume(self._queues, prefetch=prefetch, accepts=self._accepts, about=about)
        self._intake.open(self._queue)
        self._outbox = Outbox(self._log, self._queue, self._reported)
        if at_work is not None:
            at_work()
        taking = asyncio.ensure_future(self._take())
        tasks = [taking, asyncio.ensure_future(self._listen()), asyncio.ensure_future(self._heartbeats.run())]
        try:
            await asyncio.wait((*tasks, self._failure), return_when=asyncio.FIRST_COMPLETED)
            for done in (self._failure, *tasks):
                if done.done():
                    done.result()
        except LogClosedError:
            pass
        finally:
            self._stopping = True
            await cancel_and_wait(taking)
            await self._let_finish(grace)  # what runs is listened to, and told of, to its end
            await cancel_and_wait(*tasks)
            await self._stop()
            if not self._failure.cancel():
                self._failure.exception()  # asked for, so that asyncio does not complain where we were cancelled

    def look_again(self) -> None:
        """Look once more at what was passed over: what ``only`` says has changed."""
        if hasattr(self, "_outbox") and not self._stopping:
            self._release([])

    async def _let_finish(self, grace: float) -> None:
        running = [run.over for run in self._runs.values()]
        if not running or grace <= 0:
            return
        _logger.info("finishing", steps=len(running), grace=grace)
        giving = asyncio.ensure_future(self._give_back())
        try:
            await asyncio.wait(running, timeout=grace)
        finally:
            await cancel_and_wait(giving)

    async def _give_back(self) -> None:
        """Let others have at once what was at hand and has not begun."""
        while True:
            self._release(list(await self._queue.take(REMEMBERED)))
            await asyncio.sleep(PASS_ON_EVERY)  # some logs deliver what is not accepted: let it not go round hot

    async def _stop(self) -> None:
        runs = list(self._runs.values())
        for run in runs:
            run.stopped = True
            run.give_up()
        await cancel_and_wait(*self._asking)
        if waiting := [run.over for run in runs if run.call is not None]:
            await asyncio.wait(waiting)
        self._outbox.flush()
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)
        with suppress(LogError):  # the log strikes us off once it can, and what ended us is told
            await self._queue.close()

    # --- taking ---------------------------------------------------------------------------------------------

    def _accepts(self, delivery: Delivery) -> bool:
        if self._stopping:
            return False
        if self._only is not None and not self._only(delivery.key):
            return False
        handler = delivery.headers.get("handler", "")
        if self._handlers.knows("python", handler) or self._handlers.knows(handler, ""):
            return True
        return self._hand_back and not self._peers.is_left(handler)

    async def _take(self) -> None:
        while True:
            for delivery in await self._intake.take():
                self._begin(delivery)

    def _begin(self, delivery: Delivery) -> None:
        try:
            item = decode_work(delivery.value)
        except ValueError as error:
            self._put_aside(delivery, str(error))
            return
        key = _key(item)
        at_work = self._runs.get(key)
        # Where the queue took us for dead, it may give out anew, to us, what we have in hand. Settling that would
        # forget the record before its outcome is safe.
        if (at_work and place(delivery) == place(at_work.delivery)) or self._outbox.is_repeat(delivery):
            return
        if at_work or key in self._settled or self._cancellations.covers(item):
            self._outbox.settle(delivery, None)
            return
        try:
            lost = delivery.deliveries > self._max_deliveries
            found = None if lost else self._handlers.find(item.step.step_type, item.step.handler)
        except HandlerError as error:
            self._ask(self._pass_on(delivery, item, describe(error).message))
            return
        run = self._runs[key] = Run(item, delivery)
        self._intake.begin()
        self._heartbeats.expect(key, item, run.ctx)
        if AGAIN in delivery.headers or delivery.deliveries > 1:
            self._ask(self._call_if_wanted(run, found))
        elif found is not None:
            self._call(run, found)

    def _ask(self, question: Coroutine[Any, Any, None]) -> None:
        """Ask the log before anything becomes of a step."""
        task = asyncio.ensure_future(question)
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)
        task.add_done_callback(self._reported)

    async def _pass_on(self, delivery: Delivery, item: WorkItem, reason: str) -> None:
        """Leave a step whose handler this worker lacks to those that have it; hand it back where there are none."""
        name = item.step.handler or item.step.step_type
        if await self._peers.knows(name):
            if self._peers.is_left(name):
                await asyncio.sleep(PASS_ON_EVERY)  # some logs deliver what is not accepted: let it not go round hot
            else:
                self._peers.leave(name, lambda: self._release([]))  # so that what was passed over is looked at
            self._release([delivery])
        else:
            self._outbox.settle(delivery, returned(item, reason))

    def _put_aside(self, delivery: Delivery, reason: str) -> None:
        """Move what cannot be decoded to the dead letters. If it was a step, its timeout will be noticed."""
        headers = {"reason": reason, "queue": delivery.queue}
        _logger.warning("undecodable work put aside", **headers)
        letters = letters_of(delivery.key, delivery.value, headers, self._log.max_record_bytes)
        partition = partition_for(delivery.key, self._log.partitions)
        self._queue.settle([delivery], [Outgoing(DEAD_LETTERS, partition, letters)]).add_done_callback(self._reported)

    def _release(self, deliveries: list[Delivery], *, lost: bool = False) -> None:
        self._queue.release(deliveries, lost=lost).add_done_callback(self._reported)

    # --- running --------------------------------------------------------------------------------------------

    async def _call_if_wanted(self, run: Run, handler: Handler | None) -> None:
        deliveries = run.delivery.deliveries
        if not await self._repeats.is_wanted(run.item):
            run.cancelled = True  # it was settled before
        elif handler is not None and deliveries > 1:
            await self._said(self._heartbeats.lost_before(_key(run.item), deliveries))  # should this one die as well
        self._call(run, handler)

    def _call(self, run: Run, handler: Handler | None) -> None:
        """Call its handler; None where it was handed out too often."""
        if run.cancelled or handler is None:
            self._over(run)
            self._intake.end()
            return
        step = run.item.step
        run.call = Call(
            handler,
            step.input,
            run.ctx,
            seconds=step.timeout_seconds,
            threads=self._pool,
            finish=partial(as_json, updates=run.ctx.updates),
            over=partial(self._over, run),
            ended=self._intake.end,
        )

    def _over(self, run: Run) -> None:
        """The handler is done, or nobody waits for it any more."""
        key = _key(run.item)
        self._runs.pop(key, None)
        self._heartbeats.forget(key)
        run.over.set_result(None)
        try:
            self._conclude(run)
        except Exception as error:  # a bug of ours, which asyncio would merely tell
            if not self._failure.done():
                self._failure.set_exception(error)

    def _conclude(self, run: Run) -> None:
        """Tell what became of a run."""
        call = run.call
        came = None if call is None else call.came
        if call is not None and ((run.stopped and call.left) or (came is not None and came.back)):
            self._release([run.delivery], lost=came is not None and came.lost)  # somebody else shall run it
            if self._ended is not None:
                self._ended(run.ctx, None, None)
            return
        self._remember(run.item)
        outcome: Outcome | None = None  # where nobody waits for one
        if call is None and not run.cancelled:
            outcome = failed(run.item, worker_lost(run.delivery.deliveries - 1), UNKNOWN)
        elif call is not None and not run.cancelled:
            outcome = self._outcome(run.item, call)
        sent = self._outbox.settle(run.delivery, outcome)
        if self._ended is not None:
            self._ended(run.ctx, None if outcome is None else outcome[0], sent)

    def _outcome(self, item: WorkItem, call: Call) -> Outcome:
        came = call.came
        if came is None or call.late:
            took = asyncio.get_running_loop().time() - call.began
            return timed_out(item, effort(self._name, took, 0.0 if came is None else came.cpu))
        made = effort(self._name, came.at - call.began, came.cpu)
        if came.error is not None:
            return failed(item, came.error, made)
        output, context = came.result
        return completed(item, output, context, made, self._limit)

    def _pool(self) -> Threads:
        if self._threads is None:
            self._threads = Threads(self.concurrency)
        return self._threads

    def _remember(self, item: WorkItem) -> None:
        self._settled[_key(item)] = None
        if len(self._settled) > REMEMBERED:
            self._settled.popitem(last=False)

    # --- reporting ------------------------------------------------------------------------------------------

    def _reported(self, future: asyncio.Future[Any]) -> None:
        error = None if future.cancelled() else future.exception()
        if error is not None and not isinstance(error, LogClosedError) and not self._failure.done():
            self._failure.set_exception(error)

    def _say(self, command: Command) -> None:
        self._said(command).add_done_callback(self._reported)

    def _said(self, command: Command) -> asyncio.Future[Sequence[int]]:
        partition = partition_for(command.instance_id, self._log.partitions)
        return self._log.append(COMMANDS, partition, [NewRecord(command.instance_id, encode(command))])

    # --- cancelling -----------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        while True:
            for cancel in await self._cancellations.next():
                for run in list(self._runs.values()):
                    if covers(cancel, run.item):
                        run.cancelled = True
                        run.give_up()


def _key(item: WorkItem) -> _Key:
    """What a run is known by."""
    return item.instance_id, item.began, item.step.run
