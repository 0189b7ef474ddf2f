"""The contract: groups that share out the partitions, and who is in them."""

from __future__ import annotations

import asyncio

import pytest
from contract_tools import OnStorage

from stepwell.log.port import Log


class GroupContract(OnStorage):
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

    @pytest.mark.parametrize("turns", [1, 2, 3])
    async def test_who_is_cancelled_while_joining_is_no_member_and_keeps_no_partition(self, log, storage, turns):
        given_up = asyncio.ensure_future(log.join("engines"))
        for _ in range(turns):
            await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.gather(given_up, return_exceptions=True)
        other = await (await storage.open()).join("engines")
        assert await self._gets(other, frozenset(range(log.partitions))) == frozenset(range(log.partitions))
        assert len(await log.members("engines")) == 1

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
