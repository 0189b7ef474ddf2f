"""In which order starts are taken that wait: by priority, and of one priority the oldest first."""

from types import SimpleNamespace

import pytest

from stepwell.consumers.engine import start_order
from stepwell.consumers.engine.start_order import TURN_EVERY, StartOrder
from stepwell.log.port import STARTS, Record
from stepwell.schemas.records.codec import encode
from stepwell.schemas.records.events import WorkflowStarted
from tests.workbench import Claimant, accepted, client_on, events_of, running, send, start, steps, workflow


def waiting(*priorities):
    """What waits, looked at whole."""
    made = StartOrder(SimpleNamespace(partitions=1), 0, 0)
    for offset, priority in enumerate(priorities):
        made._note(Record(offset, "", encode(start(f"i{offset}", priority=priority)), {}, 0))
    return made


def taken(made, count, position=0, *, ahead=1_000):
    """The order in which starts are taken, one by one."""
    found, had = [], set()
    while len(found) < count:
        while position in had:
            position += 1
        chosen = made.choose(1, [position], ahead)
        found += chosen.ahead or [position]
        had.update(chosen.ahead or [position])
    return found


def test_higher_priorities_go_first_and_of_one_priority_the_oldest():
    assert taken(waiting(0, 5, 0, 9, 5, 9), 6) == [3, 5, 1, 4, 0, 2]


def test_one_start_of_some_is_the_oldest_so_that_none_waits_for_ever():
    order = taken(waiting(0, 0, *[9] * 50), 2 * TURN_EVERY)
    assert order.index(0) == TURN_EVERY - 1
    assert order.index(1) == 2 * TURN_EVERY - 1


def test_only_so_many_are_ahead_of_their_turn_at_once():
    assert taken(waiting(0, 0, 9), 1, ahead=0) == [0]


@pytest.mark.parametrize("again", [False, True])
async def test_a_start_of_high_priority_behind_thousands_goes_before_almost_all_of_them(open_log, monkeypatch, again):
    """Also for whoever takes over in between: what was taken out of turn is not taken twice."""
    log = await open_log(partitions=1)
    async with client_on(log) as client:
        await client.register(workflow(*steps("a")))
    low = [f"low{number:04}" for number in range(3_000)]
    high = ["high1", "high2"]
    await send(log, *map(start, low), *(start(name, priority=100) for name in high), topic=STARTS)
    claimant = Claimant(log)
    async with running(claimant.run()):
        await claimant.idle() if not again else None
    if again:
        monkeypatch.setattr(start_order, "TURN_EVERY", 3)
        claimant = Claimant(log)
        async with running(claimant.run()):
            await claimant.idle()
    order = [transition.instance_id for transition, _ in events_of(await accepted(log), WorkflowStarted)]
    assert sorted(order) == sorted([*low, *high])
    assert [name for name in order if name in high] == high
    assert [name for name in order if name not in high] == low
    assert order.index("high2") < 10
