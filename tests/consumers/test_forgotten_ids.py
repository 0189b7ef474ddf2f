"""An id that is used again after its partition has forgotten it."""

import pytest
from msgspec.structs import replace

from stepwell.consumers.engine.tenure import Tenure
from stepwell.consumers.reading.histories import events_of
from stepwell.core.fold import finished
from stepwell.core.fold.finished import FinishedWindow
from stepwell.log.port import EVENTS, STARTS
from stepwell.schemas.records.feed import FeedHead, attributes
from stepwell.schemas.records.statuses import WorkflowStatus
from tests.patience import HANG
from tests.workbench import handlers_of, send, stage, start, steps, until, workflow

KEYS = []


async def work(data, ctx):
    KEYS.append(ctx.idempotency_key)
    return {}


@pytest.fixture
def short_memory(monkeypatch):
    """Ids are forgotten after two to three ends, and not after 10,000: else these tests would take minutes."""
    KEYS.clear()
    monkeypatch.setattr(finished, "BLOCK", 1)
    monkeypatch.setattr(finished, "BLOCKS", 2)


async def fill(client, count):
    for number in range(count):
        await (await client.start("w", {}, id=f"other{number}")).result(timeout=HANG)


def test_the_window_says_when_it_has_forgotten_somebody():
    window = FinishedWindow()
    for number in range(finished.BLOCK * (finished.BLOCKS + 1)):
        assert not window.forgets
        window = window.add(f"i{number}", WorkflowStatus.COMPLETED, 1, "")
    assert window.forgets
    assert "i0" not in window


async def test_on_the_file_log_a_forgotten_id_is_looked_up(log, short_memory):
    async with stage(log, handlers_of(work=work), workflow(*steps("a"))) as client:
        await (await client.start("w", {"n": 1}, id="one")).result(timeout=HANG)
        await fill(client, 24)
        again = await client.start("w", {"n": 1}, id="one")
        assert again.existed
        await send(log, start("one", input={"n": 1}), topic=STARTS)  # by any producer, and beside others
        await fill(client, 26)
        assert (await again.result(timeout=HANG)).status == "completed"
        assert len([key for key in KEYS if key.startswith("one:")]) == 1
        assert sum(record.type == "workflow.started" for record in await events_of(log, "one")) == 1


async def test_a_start_that_nobody_looked_up_ahead_is_looked_up_as_it_is_decided(log, short_memory, monkeypatch):
    async def nothing(self, commands, *, anew=False):
        """Look nothing up."""

    monkeypatch.setattr(Tenure, "_recall", nothing)
    async with stage(log, handlers_of(work=work), workflow(*steps("a"))) as client:
        await (await client.start("w", {"n": 1}, id="one")).result(timeout=HANG)
        await fill(client, 24)
        await send(log, start("one", input={"n": 1}), topic=STARTS)
        await fill(client, 26)
        assert len([key for key in KEYS if key.startswith("one:")]) == 1
        assert sum(record.type == "workflow.started" for record in await events_of(log, "one")) == 1


async def test_where_ids_cannot_be_looked_up_a_second_life_has_keys_and_events_of_its_own(
    log, short_memory, monkeypatch
):
    about = replace(log.describe(), finds_keys=False)
    monkeypatch.setattr(type(log), "describe", lambda _: about)
    async with stage(log, handlers_of(work=work), workflow(*steps("a"))) as client:
        await (await client.start("w", {"n": 1}, id="one")).result(timeout=HANG)
        await fill(client, 24)
        again = await client.start("w", {"n": 2}, id="one")
        assert not again.existed
        await until(lambda: len([key for key in KEYS if key.startswith("one:")]) == 2)
        first, second = (key for key in KEYS if key.startswith("one:"))
        assert first == "one:a:1"
        assert second.startswith("one:a:1@")
        await again.result(timeout=HANG)
        events = await events_of(log, "one")
        heads = [FeedHead(one.instance_id, one.sequence, one.at, "w", one.life) for one in events]
        ids = [attributes(head, one.event, "", "")["id"] for head, one in zip(heads, events, strict=True)]
        assert len(set(ids)) == len(ids) == 8
        assert ids[0] == "one:1"


async def test_keys_are_looked_up_by_the_index_and_behind_it(log):
    async with stage(log, None, workflow(*steps("a"))) as client:
        for number in range(8):
            await client.start("w", {}, id=f"i{number}")
        found = set()
        for partition in range(log.partitions):
            found |= await log.known_keys(EVENTS, partition, {f"i{number}" for number in range(12)})
        assert found == {f"i{number}" for number in range(8)}
