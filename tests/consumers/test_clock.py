"""What time it is in a partition, whatever the machines' clocks say."""

import pytest

from stepwell.consumers.engine.clock import Clock, PartitionClock
from stepwell.consumers.engine.engine import Engine
from stepwell.logs import Logger
from stepwell.process import now_ms
from stepwell.schemas.records.events import StepWaiting
from tests.workbench import accepted, client_on, ends, events_of, running, until, workflow

YEARS = 10 * 365 * 24 * 3_600_000
HOUR = 3_600_000


class Wall:
    """A wall clock that somebody sets."""

    def __init__(self):
        self.off = 0

    def __call__(self):
        return now_ms() + self.off


class Hands:
    """The two clocks of a machine, set by hand."""

    def __init__(self):
        self.wall = self.steady = 0

    def read(self):
        return self.wall, self.steady


def waiting(seconds):
    return workflow({"id": "nap", "type": "wait", "config": {"seconds": seconds}})


@pytest.fixture
def told(monkeypatch):
    heard = []
    monkeypatch.setattr(Logger, "warning", lambda self, event, **values: heard.append(event))
    return heard


def test_time_is_the_wall_clock_s_where_that_is_not_behind():
    hands = Hands()
    hands.wall = 1_000
    time = PartitionClock(hands, 0, 500)
    assert time.now() == 1_000
    hands.wall, hands.steady = 9_000, 10
    assert time.now() == 9_000


def test_while_the_clock_is_behind_time_goes_on_as_fast_as_seconds_pass():
    hands = Hands()
    time = PartitionClock(hands, 0, 50_000)
    assert time.now() == 50_000
    hands.wall, hands.steady = 7, 1_500
    assert time.now() == 51_500
    hands.wall, hands.steady = 3, 1_501
    assert time.now() == 51_501


def test_after_a_jump_there_and_back_time_goes_on_from_where_it_was():
    hands = Hands()
    time = PartitionClock(hands, 0, 0)
    hands.wall, hands.steady = YEARS, 10
    assert time.now() == YEARS
    hands.wall, hands.steady = 20, 30
    assert time.now() == YEARS + 20


async def test_a_jump_of_minutes_is_told_once_in_either_direction(told):
    wall = Wall()
    clock = Clock(wall)
    clock.read()
    wall.off += HOUR
    clock.read()
    clock.read()
    wall.off -= HOUR
    clock.read()
    assert told == ["this machine's clock has jumped", "this machine's clock was set back"]


async def test_a_partition_that_is_ahead_of_the_clock_is_told_of(told):
    PartitionClock(Clock(), 0, now_ms() + HOUR)
    PartitionClock(Clock(), 0, now_ms() + 1_000)
    assert told == ["the partition is ahead of this machine's clock; its time goes on from there"]


async def test_a_wait_that_began_under_a_clock_years_ahead_ends_after_its_seconds_once_the_clock_is_right(log):
    wall = Wall()
    async with client_on(log) as client:
        await client.register(waiting(0.5))
        wall.off = YEARS
        async with running(Engine(log, clock=wall).run()):
            await until(client.engine_is_live)
            await client.start("w", id="one")
            wall.off = 0
            await client.start("w", id="two")  # decided later, in the same partition or another
            await ends(client, "one", "two")


async def test_a_host_whose_clock_is_an_hour_behind_keeps_the_delays_of_what_it_takes_over(open_log):
    log, wall = await open_log(partitions=1), Wall()
    async with client_on(log) as client:
        await client.register(waiting(0.5))
        wall.off = HOUR
        async with running(Engine(log, clock=wall).run()):
            await until(client.engine_is_live)
            await client.start("w", id="one")
        async with running(Engine(log).run()):
            await ends(client, "one")
        (waited,) = [event for _, event in events_of(await accepted(log), StepWaiting)]
        assert waited.due > now_ms() + HOUR // 2


async def test_timers_fire_soon_after_the_wall_clock_has_moved_on_alone(log):
    """A laptop that was asleep: the event loop's own timers know nothing of the hours."""
    wall = Wall()
    async with client_on(log) as client:
        await client.register(waiting(3_600))
        async with running(Engine(log, clock=wall).run()):
            await until(client.engine_is_live)
            await client.start("w", id="one")
            wall.off = 2 * HOUR
            await ends(client, "one")
