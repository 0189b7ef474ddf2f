"""The contract: the queues of workers."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter

import pytest
from contract_tools import OnStorage, read_all, records, values

from stepwell.errors import LogClosedError, RecordTooLargeError
from stepwell.log.port import COMMANDS, CONTROL, Delivery, NewRecord, Outgoing


class QueueContract(OnStorage):
    async def test_a_queue_gives_each_record_to_one_worker(self, log, storage):
        other = await storage.open()
        workers = [await log.consume(["q"], prefetch=5), await other.consume(["q"], prefetch=5)]
        seen: Counter[str] = Counter()
        done = asyncio.Event()

        async def work(worker) -> None:
            while True:
                taken = await worker.take(3)
                seen.update(values(taken))
                await worker.settle(taken)
                if len(seen) == 60:
                    done.set()

        tasks = [asyncio.ensure_future(work(worker)) for worker in workers]
        for number in range(60):
            await log.enqueue("q", records(str(number)))
        await asyncio.wait_for(done.wait(), 4 * storage.patience)
        await asyncio.sleep(0.02)
        for task in tasks:
            task.cancel()
        assert seen == Counter({str(number): 1 for number in range(60)})

    async def test_workers_that_reach_for_the_same_records_get_different_ones(self, log, storage):
        await log.enqueue("q", records(*map(str, range(40))))
        logs = [log, await storage.open(), await storage.open()]
        workers = await asyncio.gather(*(one.consume(["q"], prefetch=14) for one in logs))
        seen: list[str] = []

        async def work(worker) -> None:
            while True:
                seen.extend(values(await worker.take(5)))

        tasks = [asyncio.ensure_future(work(worker)) for worker in workers]
        async with asyncio.timeout(storage.patience):
            while len(seen) < 40:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.02)
        for task in tasks:
            task.cancel()
        assert sorted(seen, key=int) == [str(number) for number in range(40)]

    async def test_what_was_enqueued_before_anyone_consumed_is_found(self, log):
        await log.enqueue("q", records("a", "b"))
        worker = await log.consume(["q"], prefetch=10)
        assert values(await self._take(worker, 2)) == ["a", "b"]

    async def _take(self, worker, count: int, within: float = 20) -> list[Delivery]:
        taken: list[Delivery] = []
        async with asyncio.timeout(within):
            while len(taken) < count:
                taken += await worker.take(count - len(taken))
        return taken

    async def _nothing_more(self, worker, moment: float = 0.05) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(moment):
                pytest.fail(f"came again: {await worker.take(1)}")

    async def test_deliveries_carry_what_was_enqueued(self, log):
        worker = await log.consume(["a", "b"], prefetch=10)
        await log.enqueue("b", [NewRecord("käse", b"\x00\xff", {"h": "ü"})])
        (taken,) = await self._take(worker, 1)
        assert (taken.queue, taken.key, taken.value, dict(taken.headers)) == ("b", "käse", b"\x00\xff", {"h": "ü"})

    async def test_a_worker_gets_only_what_is_in_its_queues(self, log):
        worker = await log.consume(["a"], prefetch=10)
        await log.enqueue("b", records("no"))
        await log.enqueue("a", records("yes"))
        assert values(await self._take(worker, 1)) == ["yes"]
        await self._nothing_more(worker)

    async def test_higher_priorities_are_taken_first(self, log):
        for priority, value in [("0", "c"), ("100", "a"), ("", "d"), ("50", "b"), ("nonsense", "e")]:
            await log.enqueue("q", [NewRecord("k", value.encode(), {"priority": priority})])
        worker = await log.consume(["q"], prefetch=10)
        await asyncio.sleep(0.05)
        assert values(await self._take(worker, 5)) == ["a", "b", "c", "d", "e"]

    async def test_no_more_is_in_a_workers_hands_than_it_asked_for(self, log):
        worker = await log.consume(["q"], prefetch=2)
        await log.enqueue("q", records("a", "b", "c"))
        taken = await self._take(worker, 2)
        await self._nothing_more(worker)
        await worker.settle(taken[:1])
        assert values(await self._take(worker, 1)) == ["c"]

    async def test_a_worker_that_is_resized_has_as_much_in_hand_as_it_was_last_told(self, log, storage):
        other = await storage.open()
        worker = await log.consume(["q"], prefetch=1)
        await log.enqueue("q", records("a", "b", "c"))
        taken = await self._take(worker, 1)
        await self._nothing_more(worker)
        waiting = asyncio.ensure_future(self._take(worker, 2, storage.patience))
        await asyncio.sleep(0)
        worker.resize(3)
        taken += await waiting
        assert values(taken) == ["a", "b", "c"]
        worker.resize(0)
        await worker.settle(taken)
        await log.enqueue("q", records("d"))
        await self._nothing_more(worker)
        second = await other.consume(["q"], prefetch=1)
        assert values(await self._take(second, 1, storage.patience)) == ["d"]

    async def test_what_came_while_a_worker_was_made_smaller_can_still_be_taken_or_goes_to_others(self, log, storage):
        other = await storage.open()
        worker, second = await log.consume(["q"], prefetch=4), await other.consume(["q"], prefetch=4)
        enqueued = [log.enqueue("q", records(str(number))) for number in range(8)]
        await enqueued[0]
        worker.resize(0)
        seen: list[str] = []

        async def work(one) -> None:
            while True:
                taken = await one.take(4)
                await one.release(taken) if one is worker else await one.settle(taken)
                seen.extend(values(taken) if one is second else [])

        tasks = [asyncio.ensure_future(work(one)) for one in (worker, second)]
        async with asyncio.timeout(4 * storage.patience):
            while len(seen) < 8:
                await asyncio.sleep(0.01)
        for task in tasks:
            task.cancel()
        assert sorted(seen) == [str(number) for number in range(8)]

    async def test_what_one_worker_has_no_hand_free_for_goes_to_another(self, log, storage):
        other = await storage.open()
        first = await log.consume(["q"], prefetch=1)
        await log.enqueue("q", records("a", "b"))
        assert values(await self._take(first, 1)) == ["a"]
        second = await other.consume(["q"], prefetch=1)
        assert values(await self._take(second, 1, storage.patience)) == ["b"]

    async def test_outcomes_are_appended_with_the_settlement(self, log):
        worker = await log.consume(["q"], prefetch=10)
        await log.enqueue("q", records("a", "b"))
        taken = await self._take(worker, 2)
        outcomes = [Outgoing(COMMANDS, 1, records("a done", "b done")), Outgoing(CONTROL, 0, records("c"))]
        await worker.settle(taken, outcomes)
        assert values(await read_all(log, COMMANDS, 1)) == ["a done", "b done"]
        assert values(await read_all(log, CONTROL, 0)) == ["c"]

    async def test_an_outcome_that_is_refused_settles_nothing(self, log, storage):
        worker = await log.consume(["q"], prefetch=10)
        await log.enqueue("q", records("a"))
        taken = await self._take(worker, 1)
        huge = NewRecord("k", bytes(log.max_record_bytes + 1))
        with pytest.raises(RecordTooLargeError):
            await worker.settle(taken, [Outgoing(COMMANDS, 0, records("fine")), Outgoing(COMMANDS, 1, [huge])])
        assert await log.end(COMMANDS, 0) == 0
        await worker.close()
        again = await log.consume(["q"], prefetch=10)
        assert values(await self._take(again, 1, storage.patience)) == ["a"]

    async def test_settled_in_any_order_what_is_settled_never_comes_back(self, log, storage):
        worker = await log.consume(["q"], prefetch=20)
        await log.enqueue("q", records(*map(str, range(10))))
        taken = await self._take(worker, 10)
        for number in (7, 2, 9, 0, 5):
            await worker.settle([taken[number]])
        await log.close()
        again = await storage.open()
        worker = await again.consume(["q"], prefetch=20)
        back = await self._take(worker, 5, storage.patience)
        assert sorted(values(back)) == ["1", "3", "4", "6", "8"]
        await self._nothing_more(worker)

    async def test_what_is_released_comes_back(self, log, storage):
        worker = await log.consume(["q"], prefetch=20)
        await log.enqueue("q", records("a"))
        await worker.release(await self._take(worker, 1))
        assert values(await self._take(worker, 1, storage.patience)) == ["a"]

    async def test_what_a_worker_held_when_it_closed_goes_to_another(self, log, storage):
        other = await storage.open()
        first = await log.consume(["q"], prefetch=20)
        await log.enqueue("q", records("taken", "waiting"))
        await first.take(1)
        await first.close()
        second = await other.consume(["q"], prefetch=20)
        assert sorted(values(await self._take(second, 2, storage.patience))) == ["taken", "waiting"]

    async def test_what_a_worker_held_when_it_died_goes_to_another(self, log, storage):
        other = await storage.open()
        first = await other.consume(["q"], prefetch=20)
        await log.enqueue("q", records("settled", "taken", "waiting"))
        taken = await self._take(first, 2, storage.patience)
        await first.settle(taken[:1])
        await storage.crash(other)
        second = await log.consume(["q"], prefetch=20)
        assert sorted(values(await self._take(second, 2, storage.patience))) == ["taken", "waiting"]
        await self._nothing_more(second)

    async def test_how_often_a_record_was_lost_with_its_worker_is_counted(self, log, storage):
        await log.enqueue("q", records("a"))
        seen = []
        for _ in range(4):
            other = await storage.open()
            worker = await other.consume(["q"], prefetch=5)
            (taken,) = await self._take(worker, 1, 2 * storage.patience)
            seen.append(taken.deliveries)
            await storage.crash(other)
        counted = seen if storage.counts_the_first_death else seen[1:]
        assert seen[0] == 1
        assert counted == list(range(counted[0], counted[0] + len(counted)))
        assert counted[0] <= 2

    async def test_what_is_given_back_counts_only_if_it_is_said_to_be_lost(self, log, storage):
        await log.enqueue("q", records("a"))
        for lost, expected in [(False, 1), (True, 1), (False, 2), (True, 2), (False, 3)]:
            other = await storage.open()
            worker = await other.consume(["q"], prefetch=5)
            (taken,) = await self._take(worker, 1, storage.patience)
            assert taken.deliveries == expected
            await worker.release([taken], lost=lost)
            (taken,) = await self._take(worker, 1, storage.patience)
            assert taken.deliveries == expected + lost
            await worker.close()
            await other.close()

    async def test_outcomes_are_there_exactly_when_the_settlement_is(self, log, storage):
        """Crash with settlements on their way: afterwards each entry has its outcome or waits, never both.

        A log that does not settle at once may leave both, but never neither, and nothing that it said was settled.
        """
        worker = await log.consume(["q"], prefetch=100)
        await log.enqueue("q", records(*map(str, range(100))))
        taken = await self._take(worker, 100)
        futures = [worker.settle([one], [Outgoing(COMMANDS, 0, records(one.value))]) for one in taken]
        await futures[30]
        await storage.crash(log)
        results = await asyncio.gather(*futures, return_exceptions=True)
        again = await storage.open()
        done = values(await read_all(again, COMMANDS, 0))
        worker = await again.consume(["q"], prefetch=100)
        left = [] if len(done) == 100 else values(await self._take(worker, 100 - len(done), storage.patience))
        assert len(done) > 30
        if storage.settles_at_once:
            assert sorted(done + left, key=int) == [str(number) for number in range(100)]
            return
        with contextlib.suppress(TimeoutError):
            while True:
                left += values(await self._take(worker, 1, 0.5))
        assert set(done) | set(left) == {str(number) for number in range(100)}
        settled = {one.value.decode() for one, result in zip(taken, results, strict=True) if result is None}
        assert not settled & set(left)
        assert len(left) == len(set(left))

    async def test_what_a_worker_does_not_accept_is_left_to_others(self, log, storage):
        other = await storage.open()
        picky = await log.consume(["q"], prefetch=10, accepts=lambda delivery: delivery.value.startswith(b"a"))
        await log.enqueue("q", records("a1", "b1", "a2", "b2"))
        assert values(await self._take(picky, 2)) == ["a1", "a2"]
        easy = await other.consume(["q"], prefetch=10)
        assert values(await self._take(easy, 2, storage.patience)) == ["b1", "b2"]

    async def test_a_worker_finds_what_it_accepts_behind_much_that_it_does_not(self, log, storage):
        await log.enqueue("q", records(*(["no"] * 700), "yes"))
        picky = await log.consume(["q"], prefetch=3, accepts=lambda delivery: delivery.value == b"yes")
        assert values(await self._take(picky, 1, storage.patience)) == ["yes"]

    async def test_a_queue_goes_through_reopening_in_order(self, log, storage):
        await log.enqueue("q", records("a"))
        await log.enqueue("q", records("b", "c"))
        await log.close()
        again = await storage.open()
        worker = await again.consume(["q"], prefetch=1)
        for expected in "abc":
            taken = await self._take(worker, 1, storage.patience)
            assert values(taken) == [expected]
            await worker.settle(taken)

    async def test_who_waits_for_a_closed_queue_is_told(self, log):
        worker = await log.consume(["q"], prefetch=1)
        waiting = asyncio.ensure_future(worker.take(1))
        await asyncio.sleep(0.01)
        await worker.close()
        with pytest.raises(LogClosedError):
            await waiting
        await worker.close()
