"""The contract: appending, reading, forgetting."""

from __future__ import annotations

import asyncio
import itertools
import random

import pytest
from contract_tools import OnStorage, read_all, records, values

from stepwell.errors import LogError, RecordTooLargeError
from stepwell.log.port import COMMANDS, CONTROL, DEFINITIONS, EVENTS, FEED, Log, NewRecord, Record
from tests.patience import HANG


class RecordContract(OnStorage):
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
        assert values(await asyncio.wait_for(waiting, HANG)) == ["a"]

    async def test_a_read_without_end_waits_for_its_offset_alone(self, log):
        waiting = asyncio.ensure_future(log.read(EVENTS, 0, 2, wait=None))
        await log.append(EVENTS, 1, records("other partition"))
        await log.append(EVENTS, 0, records("a", "b"))
        await asyncio.sleep(0.02)
        assert not waiting.done()
        await log.append(EVENTS, 0, records("c"))
        assert values(await asyncio.wait_for(waiting, HANG)) == ["c"]

    async def test_a_read_gives_up_when_its_time_has_passed(self, log):
        loop = asyncio.get_running_loop()
        before = loop.time()
        assert list(await log.read(EVENTS, 0, 0, wait=0.05)) == []
        assert 0.045 <= loop.time() - before < 9

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

    async def test_known_keys_are_those_of_which_there_are_records(self, log):
        for topic in (EVENTS, COMMANDS):
            await log.append(topic, 1, records("a", key="one") + records("b", key="two") + records("c", key="one"))
            await log.append(topic, 2, records("d", key="elsewhere"))
            assert await log.known_keys(topic, 1, ["two", "one", "none", "elsewhere"]) == {"one", "two"}
            assert await log.known_keys(topic, 1, []) == set()
            assert await log.known_keys(topic, 3, ["one"]) == set()

    async def test_freeing_space_loses_nothing(self, log):
        await log.append(EVENTS, 0, [NewRecord("k", bytes(10_000))] * 50 + records("last"))
        await log.delete_before(EVENTS, 0, 50)
        await log.free_space()
        assert values(await log.read(EVENTS, 0, 50)) == ["last"]
        assert await log.end(EVENTS, 0) == 51

    async def test_a_topic_that_every_log_has_is_there(self, log):
        assert await log.is_there(EVENTS)
        if await log.is_there(FEED):  # which Kafka does without until somebody has made it
            assert await log.end(FEED, 0) == 0

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
