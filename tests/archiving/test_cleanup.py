"""Cleaning up: what is gone is gone everywhere, what is there is there everywhere, and everything is still counted."""

from __future__ import annotations

import pytest

from stepwell.archiving.reading import Archive
from stepwell.consumers.takeover import take_over
from stepwell.core.evolve import fold
from stepwell.errors import UnknownInstanceError
from stepwell.projections.store import Store
from tests.archiving.conftest import LATER, rebuilt, take_snapshots, world, write_more
from tests.projections.worlds import dump, histories

SEEDS = range(8)


async def opened(client):
    """The file that a client's read models are in."""
    queries = await client.views.models.catch_up()
    return await Store.open(queries.path)


def figures(statistics):
    """Statistics but for where the archived ones are counted."""
    return [(one.workflow, one.total, one.completed, one.failed, one.cancelled, one.success_rate, one.duration,
             one.steps) for one in statistics]  # fmt: skip


@pytest.mark.rows("O17")
@pytest.mark.parametrize("seed", SEEDS)
async def test_read_models_that_were_cleaned_are_those_that_are_made_anew_from_what_is_left(
    seed, log, client, tmp_path
):
    rnd, found, writers = await world(log, seed)
    before = await client.statistics(steps=True)
    hours = await client.views.hours(0)
    report = await client.cleanup(finished_before=LATER, archive=tmp_path / "old.gz")

    cleaned, anew = await opened(client), await rebuilt(log, tmp_path / "anew")
    assert await dump(cleaned) == await dump(anew), f"seed {seed}"
    assert figures(await client.statistics(steps=True)) == figures(before)
    assert await client.views.hours(0) == hours
    gone = {one.id for one in Archive(tmp_path / "old.gz")} if report.instances else set()
    assert len(gone) == report.instances == sum(one.archived for one in await client.statistics())
    _, total = await client.instances()
    assert total == len(found) - len(gone)
    for name, transitions in found.items():
        if name in gone:
            with pytest.raises(UnknownInstanceError, match="cleaned away"):
                await client.get(name)
        else:
            assert (await client.get(name)).sequence == fold(transitions).sequence
    # Its owners go on: take-over, further instances, another snapshot, another cleanup.
    for partition in writers:
        await take_over(log, partition, "x", 0)
        await writers[partition].claim()
    more = histories(rnd, 4, prefix="more-")
    await write_more(writers, rnd, more)
    await take_snapshots(writers)
    again = await client.cleanup(finished_before=LATER, archive=tmp_path / "older.gz")
    assert {one.id for one in Archive(tmp_path / "older.gz")}.isdisjoint(gone) if again.instances else True
    await client.views.models.catch_up()
    third = await rebuilt(log, tmp_path / "third")
    assert await dump(cleaned) == await dump(third), f"seed {seed}"
    for store in (cleaned, anew, third):
        await store.close()
