"""A cleanup right after the work: what just finished is in no snapshot yet, unless one is asked for."""

import time

import pytest

from tests.workbench import (
    client_on,
    handlers_of,
    plain,
    refolded,
    refolded_from_snapshot,
    stage,
    steps,
    work,
    workflow,
)

ONE = workflow(*steps("a"))


def soon():
    return time.time_ns() // 1_000_000 + 60_000


@pytest.mark.parametrize("live", [False, True])
async def test_what_has_just_finished_can_go_once_a_snapshot_is_asked_for(log, live):
    async with stage(log, handlers_of(work=work), ONE) as client:
        for number in range(8):
            await (await client.start("w", {}, id=f"i{number}")).result(timeout=30)
        if live:  # the engine does not know yet that it was replaced: it writes late, in every partition
            report = await client.cleanup(finished_before=soon(), archive=None, snapshot_now=True)
            for number in range(12):
                await (await client.start("w", {}, id=f"later{number}")).result(timeout=30)
    async with client_on(log) as client:
        if not live:
            held = await client.cleanup(finished_before=soon(), archive=None)
            assert (held.instances, held.kept) == (0, 8)
            report = await client.cleanup(finished_before=soon(), archive=None, snapshot_now=True)
        assert (report.instances, report.kept) == (8, 0), report
        left, _ = await client.instances()
        assert sorted(row.instance_id for row in left) == (sorted(f"later{n}" for n in range(12)) if live else [])
        with pytest.raises(ValueError, match="dry_run"):
            await client.cleanup(finished_before=soon(), archive=None, snapshot_now=True, dry_run=True)


async def test_a_snapshot_that_is_asked_for_holds_what_the_events_add_up_to(log):
    async with stage(log, None, ONE) as client:
        for number in range(8):
            await client.start("w", {}, id=f"i{number}")
        await client.cleanup(finished_before=soon(), archive=None, snapshot_now=True)
    for partition in range(log.partitions):
        state, snapshot = await refolded_from_snapshot(log, partition)
        assert plain(state) == plain(await refolded(log, partition))
        assert snapshot is not None or not state.instances
