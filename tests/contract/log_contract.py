"""What every log has to do, written once against the port; each implementation's tests subclass ``LogContract``.

A subclass gives the fixture ``storage``. Everything that a test opens through it is closed afterwards.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Protocol

import pytest

from stepwell.errors import LogClosedError, LogError, RecordTooLargeError
from stepwell.log.port import COMMANDS, CONTROL, DEFINITIONS, EVENTS, Delivery, Log, NewRecord, Outgoing, Record


class Storage(Protocol):
    """Where one test's records are: a file, a broker's namespace, a simulated world. It has 4 partitions.

    Attributes:
        patience: Seconds within which what happens in one process is seen by another, a death too.
    """

    patience: float

    async def open(self) -> Log:
        """A log object on this storage; each one stands for a process of its own."""

    async def crash(self, log: Log) -> None:
        """End a log object as ``kill -9`` ends a process: nothing is finished, nothing is given back."""

    async def close(self) -> None:
        """Close whatever is open still."""


def records(*values: str | bytes, key: str = "k") -> list[NewRecord]:
    return [NewRecord(key, value.encode() if isinstance(value, str) else value) for value in values]


def values(found: Sequence[Record] | Sequence[Delivery]) -> list[str]:
    return [one.value.decode() for one in found]


async def read_all(log: Log, topic: str, partition: int) -> list[Record]:
    found: list[Record] = []
    while more := await log.read(topic, partition, found[-1].offset + 1 if found else 0, limit=100):
        found += more
    return found


class LogContract:
    """Subclass it as ``TestXyzLog`` and give the fixture ``storage``."""

    @pytest.fixture
    async def storage(self) -> Storage:
        raise NotImplementedError

    @pytest.fixture
    async def log(self, storage: Storage) -> AsyncIterator[Log]:
        yield await storage.open()
        await storage.close()

    # Appending.

    async def test_offsets_of_a_partition_are_contiguous_from_0(self, log):
        assert list(await log.append(EVENTS, 1, records("a", "b"))) == [0, 1]
        assert list(await log.append(EVENTS, 1, records("c"))) == [2]
        assert [record.offset for record in await log.read(EVENTS, 1, 0)] == [0, 1, 2]

    async def test_partitions_and_topics_count_by_themselves(self, log):
        for topic, partition in [(EVENTS, 0), (EVENTS, 3), (COMMANDS, 0), (COMMANDS, 3), (CONTROL, 0)]:
            assert list(await log.append(topic, partition, records("x"))) == [0]
            assert await log.end(topic, partition) == 1

    async def test_appends_keep_the_order_of_the_calls(self, log):
        futures = [log.append(EVENTS, 2, records(f"{number}.0", f"{number}.1")) for number in range(300)]
        offsets = [offset for future in futures for offset in await future]
        assert offsets == list(range(600))
        assert values(await read_all(log, EVENTS, 2)) == [
            f"{number}.{part}" for number in range(300) for part in (0, 1)
        ]

    async def test_concurrent_writers_each_keep_their_order(self, log):
        async def write(writer: int) -> None:
            pending = []
            for number in range(50):
                pending.append(log.append(COMMANDS, writer % 4, records(f"{writer}:{number}", key=str(writer))))
                if number % 7 == writer % 7:
                    await asyncio.sleep(0)
            await asyncio.gather(*pending)

        await asyncio.gather(*(write(writer) for writer in range(12)))
        for writer in range(12):
            mine = [one for one in await read_all(log, COMMANDS, writer % 4) if one.key == str(writer)]
            assert values(mine) == [f"{writer}:{number}" for number in range(50)]

    async def test_an_append_of_nothing_gives_no_offsets(self, log):
        assert list(await log.append(EVENTS, 0, [])) == []
        assert await log.end(EVENTS, 0) == 0

    async def test_bytes_and_text_come_back_as_they_went_in(self, log):
        seed = random.randrange(1 << 32)
        print(f"seed {seed}")  # noqa: T201
        dice = random.Random(seed)
        written = [
            NewRecord("", b""),
            NewRecord("käse-🧀-\N{ZERO WIDTH JOINER}", bytes(range(256)), {"ключ": "значение 🗝", "empty": ""}),
            NewRecord("a\nb'\"\\;--", b"\x00\xff\x00", {"quote": "\"'\\\n\t"}),
            *(
                NewRecord(str(dice.random()), dice.randbytes(dice.randrange(3000)), {"n": str(dice.random())})
                for _ in range(50)
            ),
        ]
        await log.append(EVENTS, 0, written)
        for found in (await read_all(log, EVENTS, 0), await self._seen_by_another(log, EVENTS, 0)):
            assert [(one.key, one.value, dict(one.headers)) for one in found] == [
                (key, value, dict(headers)) for key, value, headers in written
            ]

    async def _seen_by_another(self, log: Log, topic: str, partition: int) -> list[Record]:
        other = await self.opened.open()
        found = await read_all(other, topic, partition)
        await other.close()
        return found

    @pytest.fixture(autouse=True)
    def _remember(self, storage):
        self.opened = storage

    async def test_what_a_caller_changes_after_the_append_changes_nothing(self, log):
        headers = {"a": "1"}
        future = log.append(EVENTS, 0, [NewRecord("k", b"", headers)])
        headers["a"] = "2"
        await future
        assert (await log.read(EVENTS, 0, 0))[0].headers == {"a": "1"}

    async def test_a_record_that_is_too_large_fails_alone_and_leaves_nothing(self, log):
        huge = bytes(log.max_record_bytes + 1)
        before = log.append(EVENTS, 0, records("before"))
        refused = log.append(EVENTS, 0, [NewRecord("k", b"small"), NewRecord("k", huge)])
        after = log.append(EVENTS, 0, records("after"))
        with pytest.raises(RecordTooLargeError) as caught:
            await refused
        assert caught.value.size >= len(huge)
        assert caught.value.limit == log.max_record_bytes
        assert caught.value.remedy
        assert [list(await before), list(await after)] == [[0], [1]]
        assert values(await read_all(log, EVENTS, 0)) == ["before", "after"]

    async def test_the_largest_record_fits(self, log):
        largest = bytes(log.max_record_bytes)
        await log.append(EVENTS, 0, [NewRecord("k", largest)])
        assert (await log.read(EVENTS, 0, 0))[0].value == largest

    async def test_a_partition_that_is_not_there_is_refused(self, log):
        with pytest.raises(LogError):
            await log.append(EVENTS, log.partitions, records("x"))
        with pytest.raises(LogError):
            await log.append(EVENTS, -1, records("x"))

    async def test_what_was_acknowledged_is_there_after_reopening(self, log, storage):
        await log.append(EVENTS, 0, records("a", "b"))
        await log.append(DEFINITIONS, 0, records("d"))
        await log.close()
        again = await storage.open()
        assert again.partitions == log.partitions
        assert values(await read_all(again, EVENTS, 0)) == ["a", "b"]
        assert values(await read_all(again, DEFINITIONS, 0)) == ["d"]
        assert list(await again.append(EVENTS, 0, records("c"))) == [2]

    async def test_what_was_acknowledged_survives_a_crash(self, log, storage):
        await log.append(EVENTS, 0, records("a", "b"))
        await storage.crash(log)
        again = await storage.open()
        assert values(await read_all(again, EVENTS, 0)) == ["a", "b"]

    async def test_two_writers_of_a_partition_interleave_without_holes(self, log, storage):
        other = await storage.open()

        async def write(mine: Log, name: str) -> list[tuple[int, str]]:
            written = []
            for number in range(40):
                texts = [f"{name}{number}.{part}" for part in range(number % 3 + 1)]
                written += zip(await mine.append(EVENTS, 0, records(*texts)), texts, strict=True)
                if number % 5 == 0:
                    await asyncio.sleep(0.001)
            return written

        said = dict(itertools.chain(*await asyncio.gather(write(log, "a"), write(other, "b"))))
        for mine in (log, other):
            found = await read_all(mine, EVENTS, 0)
            assert [one.offset for one in found] == list(range(len(said)))
            assert {one.offset: one.value.decode() for one in found} == said

    # Reading.

    async def test_a_read_gives_at_most_its_limit_from_its_offset(self, log):
        await log.append(EVENTS, 0, records(*map(str, range(50))))
        assert values(await log.read(EVENTS, 0, 10, limit=3)) == ["10", "11", "12"]
        assert values(await log.read(EVENTS, 0, 48, limit=10)) == ["48", "49"]
        assert list(await log.read(EVENTS, 0, 50)) == []
        assert list(await log.read(EVENTS, 0, 99)) == []

    async def test_a_partition_that_was_never_written_is_empty(self, log):
        assert list(await log.read(EVENTS, 3, 0)) == []
        assert await log.end(EVENTS, 3) == 0

    async def test_records_carry_the_time_of_their_append(self, log):
        await log.append(EVENTS, 0, records("a"))
        await log.append(EVENTS, 0, records("b"))
        first, second = await log.read(EVENTS, 0, 0)
        assert 0 < first.timestamp <= second.timestamp

    async def test_a_read_waits_for_the_first_record(self, log):
        waiting = asyncio.ensure_future(log.read(EVENTS, 0, 0, wait=10))
        await asyncio.sleep(0.02)
        assert not waiting.done()
        await log.append(EVENTS, 0, records("a"))
        assert values(await asyncio.wait_for(waiting, 2)) == ["a"]

    async def test_a_read_without_end_waits_for_its_offset_alone(self, log):
        waiting = asyncio.ensure_future(log.read(EVENTS, 0, 2, wait=None))
        await log.append(EVENTS, 1, records("other partition"))
        await log.append(EVENTS, 0, records("a", "b"))
        await asyncio.sleep(0.02)
        assert not waiting.done()
        await log.append(EVENTS, 0, records("c"))
        assert values(await asyncio.wait_for(waiting, 2)) == ["c"]

    async def test_a_read_gives_up_when_its_time_has_passed(self, log):
        loop = asyncio.get_running_loop()
        before = loop.time()
        assert list(await log.read(EVENTS, 0, 0, wait=0.05)) == []
        assert 0.045 <= loop.time() - before < 2

    async def test_a_waiting_read_can_be_cancelled(self, log):
        waiting = asyncio.ensure_future(log.read(EVENTS, 0, 0, wait=None))
        await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await log.append(EVENTS, 0, records("a"))
        assert values(await log.read(EVENTS, 0, 0)) == ["a"]

    async def test_many_readers_see_the_same(self, log):
        async def follow() -> list[str]:
            seen: list[Record] = []
            while len(seen) < 200:
                seen += await log.read(EVENTS, 0, len(seen), limit=7, wait=5)
            return values(seen)

        readers = [asyncio.ensure_future(follow()) for _ in range(5)]
        for number in range(0, 200, 4):
            await log.append(EVENTS, 0, records(*(str(number + part) for part in range(4))))
        for reader in readers:
            assert await reader == [str(number) for number in range(200)]

    async def test_a_read_is_woken_by_another_process(self, log, storage):
        other = await storage.open()
        waiting = asyncio.ensure_future(log.read(EVENTS, 0, 0, wait=None))
        await asyncio.sleep(0.02)
        await other.append(EVENTS, 0, records("from afar"))
        assert values(await asyncio.wait_for(waiting, storage.patience)) == ["from afar"]

    async def test_a_follower_sees_every_record_of_two_processes_once_and_in_order(self, log, storage):
        other = await storage.open()
        seen: list[Record] = []

        async def follow() -> None:
            while len(seen) < 120:
                seen.extend(await log.read(EVENTS, 0, len(seen), limit=10, wait=None))

        async def write(mine: Log, name: str) -> None:
            for number in range(60):
                await mine.append(EVENTS, 0, records(f"{name}{number}", key=name))

        await asyncio.wait_for(asyncio.gather(follow(), write(log, "a"), write(other, "b")), 4 * storage.patience)
        assert [one.offset for one in seen] == list(range(120))
        for name in "ab":
            assert values([one for one in seen if one.key == name]) == [f"{name}{number}" for number in range(60)]

    async def test_the_end_is_the_next_offset_of_anyone(self, log, storage):
        other = await storage.open()
        await log.append(EVENTS, 0, records("a"))
        assert await other.end(EVENTS, 0) == 1
        await other.append(EVENTS, 0, records("b", "c"))
        assert await log.end(EVENTS, 0) == 3

    async def test_read_key_gives_the_records_of_one_key(self, log):
        keys = ["order-1", "order-2", "order-10"]
        for number in range(30):
            await log.append(EVENTS, 0, records(str(number), key=keys[number % 3]))
        await log.append(EVENTS, 1, records("elsewhere", key="order-1"))
        assert values(await log.read_key(EVENTS, 0, "order-1")) == [str(number) for number in range(0, 30, 3)]
        assert values(await log.read_key(EVENTS, 0, "order-1", offset=10)) == ["12", "15", "18", "21", "24", "27"]
        assert list(await log.read_key(EVENTS, 0, "order")) == []

    async def test_read_key_finds_all_among_many_records(self, log):
        total = 6000
        for start in range(0, total, 500):
            batch = [NewRecord(f"key-{n % 97}", str(n).encode()) for n in range(start, start + 500)]
            await log.append(EVENTS, 2, batch)
        await log.append(EVENTS, 2, records("last", key="key-5"))
        found = await log.read_key(EVENTS, 2, "key-5")
        assert values(found) == [*(str(n) for n in range(total) if n % 97 == 5), "last"]
        assert [one.offset for one in found][-1] == total
        assert values(await log.read_key(EVENTS, 2, "key-5", offset=total - 50)) == [
            *(str(n) for n in range(total - 50, total) if n % 97 == 5),
            "last",
        ]

    async def test_read_key_works_without_an_index(self, log):
        await log.append(COMMANDS, 0, [*records("a", key="x"), *records("b", key="y"), *records("c", key="x")])
        assert values(await log.read_key(COMMANDS, 0, "x")) == ["a", "c"]
        assert values(await log.read_key(COMMANDS, 0, "x", offset=1)) == ["c"]

    # Forgetting.

    async def test_deleting_loses_nothing_from_its_offset_on(self, log):
        await log.append(EVENTS, 0, records(*map(str, range(20)), key="k"))
        await log.append(EVENTS, 1, records("other"))
        await log.delete_before(EVENTS, 0, 12)
        kept = await read_all(log, EVENTS, 0)
        assert values(kept)[-8:] == [str(number) for number in range(12, 20)]
        assert values(await log.read_key(EVENTS, 0, "k", offset=12)) == [str(number) for number in range(12, 20)]
        assert values(await log.read(EVENTS, 0, 0, limit=1)) == [str(kept[0].offset)]
        assert values(await read_all(log, EVENTS, 1)) == ["other"]

    @pytest.mark.parametrize("reopened", [False, True])
    async def test_offsets_go_on_after_everything_was_deleted(self, log, storage, reopened):
        await log.append(EVENTS, 0, records("a", "b", "c"))
        await log.delete_before(EVENTS, 0, 3)
        if reopened:
            await log.close()
            log = await storage.open()
        assert await log.end(EVENTS, 0) == 3
        assert list(await log.append(EVENTS, 0, records("d"))) == [3]
        assert values(await log.read(EVENTS, 0, 3)) == ["d"]

    async def test_another_process_that_deletes_leads_no_one_to_use_an_offset_twice(self, log, storage):
        other = await storage.open()
        await log.append(EVENTS, 0, records("a"))
        await other.append(EVENTS, 0, records("b", "c"))
        await other.delete_before(EVENTS, 0, 3)
        assert list(await log.append(EVENTS, 0, records("d"))) == [3]

    # Queues.

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

    async def test_what_was_enqueued_before_anyone_consumed_is_found(self, log):
        await log.enqueue("q", records("a", "b"))
        worker = await log.consume(["q"], prefetch=10)
        assert values(await self._take(worker, 2)) == ["a", "b"]

    async def _take(self, worker, count: int, within: float = 5) -> list[Delivery]:
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

    async def test_outcomes_are_there_exactly_when_the_settlement_is(self, log, storage):
        """Crash with settlements on their way: afterwards each entry has its outcome or waits, never both."""
        worker = await log.consume(["q"], prefetch=100)
        await log.enqueue("q", records(*map(str, range(100))))
        taken = await self._take(worker, 100)
        futures = [worker.settle([one], [Outgoing(COMMANDS, 0, records(one.value))]) for one in taken]
        await futures[30]
        await storage.crash(log)
        await asyncio.gather(*futures, return_exceptions=True)
        again = await storage.open()
        done = values(await read_all(again, COMMANDS, 0))
        worker = await again.consume(["q"], prefetch=100)
        left = [] if len(done) == 100 else values(await self._take(worker, 100 - len(done), storage.patience))
        assert sorted(done + left, key=int) == [str(number) for number in range(100)]
        assert len(done) > 30

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

    # Groups.

    async def test_a_member_alone_gets_all_partitions(self, log):
        place = await log.join("engines")
        assert await self._gets(place, frozenset(range(log.partitions))) == frozenset(range(log.partitions))

    async def _gets(self, place, wanted: frozenset[int]) -> frozenset[int]:
        async with asyncio.timeout(self.opened.patience):
            now = await place.assignment()
            while now != wanted:
                now = await place.changed(now)
        return now

    async def _share_out(self, places) -> list[frozenset[int]]:
        """Wait until the members' assignments are a partition of all the partitions."""
        async with asyncio.timeout(self.opened.patience):
            while True:
                shares = [await place.assignment() for place in places]
                if sorted(number for share in shares for number in share) == [0, 1, 2, 3]:
                    return shares
                await asyncio.sleep(0.005)

    async def test_the_assignments_of_a_group_are_a_partition_of_the_partitions(self, log, storage):
        places = [await log.join("engines")]
        for count in (2, 3, 4, 5):
            other = await storage.open()
            places.append(await other.join("engines"))
            shares = await self._share_out(places)
            assert max(map(len, shares)) - min(map(len, shares)) <= 1, (count, shares)
        while len(places) > 1:
            await places.pop(0).leave()
            shares = await self._share_out(places)
            assert max(map(len, shares)) - min(map(len, shares)) <= 1, shares

    async def test_a_member_that_joins_takes_its_share_and_the_others_are_told(self, log, storage):
        first = await log.join("engines")
        all_of_them = await self._gets(first, frozenset(range(4)))
        waiting = asyncio.ensure_future(first.changed(all_of_them))
        await asyncio.sleep(0.01)
        other = await storage.open()
        second = await other.join("engines")
        left = await asyncio.wait_for(waiting, storage.patience)
        assert len(left) == 2
        assert await self._gets(second, all_of_them - left) == all_of_them - left

    @pytest.mark.parametrize("how", ["leaves", "closes", "crashes"])
    async def test_when_a_member_goes_the_others_take_over(self, log, storage, how):
        first = await log.join("engines")
        other = await storage.open()
        second = await other.join("engines")
        await self._share_out([first, second])
        waiting = asyncio.ensure_future(first.changed(await first.assignment()))
        await asyncio.sleep(0.01)
        if how == "leaves":
            await second.leave()
        elif how == "closes":
            await other.close()
        else:
            await storage.crash(other)
        assert await asyncio.wait_for(waiting, storage.patience) == frozenset(range(4))

    async def test_groups_do_not_share_with_each_other(self, log):
        one, other = await log.join("engines"), await log.join("projections")
        assert await self._gets(one, frozenset(range(4))) == await self._gets(other, frozenset(range(4)))

    async def test_the_members_of_a_group_are_known_with_what_they_say(self, log, storage):
        other = await storage.open()
        await log.join("engines", {"host": "a"})
        worker = await other.consume(["q"], prefetch=1, about={"host": "b", "ü": "ß"})
        (engine,) = await self._members(log, "engines", 1)
        assert (engine.group, dict(engine.about)) == ("engines", {"host": "a"})
        (seen,) = await self._members(log, "workers", 1)
        assert (seen.group, dict(seen.about)) == ("workers", {"host": "b", "ü": "ß"})
        assert seen.id != engine.id
        await worker.close()
        await self._members(log, "workers", 0)
        await storage.crash(other)
        await self._members(log, "workers", 0)

    async def _members(self, log: Log, group: str, count: int):
        async with asyncio.timeout(self.opened.patience):
            while len(found := await log.members(group)) != count:
                await asyncio.sleep(0.005)
        return found

    async def test_a_dead_member_is_no_longer_listed(self, log, storage):
        other = await storage.open()
        await other.join("engines")
        await self._members(log, "engines", 1)
        await storage.crash(other)
        await self._members(log, "engines", 0)

    # Closing.

    async def test_close_finishes_what_was_appended(self, log, storage):
        futures = [log.append(EVENTS, 0, records(str(number))) for number in range(100)]
        await log.close()
        assert all(future.done() for future in futures)
        again = await storage.open()
        assert values(await read_all(again, EVENTS, 0)) == [str(number) for number in range(100)]

    async def test_who_waits_when_the_log_closes_is_told(self, log):
        worker, place = await log.consume(["q"], prefetch=1), await log.join("engines")
        waiting = [
            asyncio.ensure_future(waiter)
            for waiter in (
                log.read(EVENTS, 0, 0, wait=None),
                worker.take(1),
                place.changed(await self._gets(place, frozenset(range(4)))),
            )
        ]
        await asyncio.sleep(0.01)
        await log.close()
        for waiter in waiting:
            with pytest.raises(LogClosedError):
                await asyncio.wait_for(waiter, 2)

    async def test_a_closed_log_says_so(self, log):
        await log.close()
        await log.close()
        with pytest.raises(LogClosedError):
            await log.append(EVENTS, 0, records("a"))
        with pytest.raises(LogClosedError):
            await log.enqueue("q", records("a"))
        with pytest.raises(LogClosedError):
            await log.read(EVENTS, 0, 0)
        with pytest.raises(LogClosedError):
            await log.end(EVENTS, 0)
        with pytest.raises(LogClosedError):
            await log.join("engines")
