"""A short form of the chaos suite. The long one: ``python -m tests.chaos --seed 1 --seeds 5 --seconds 120``."""

from __future__ import annotations

import asyncio
import shutil

import pytest

from tests.chaos.plan import draw
from tests.chaos.run import Settings, play

pytestmark = [pytest.mark.slow]


def held(settings, tmp_path):
    """Make a run; fail with all that did not hold, and with the command that makes it again."""
    report = asyncio.run(play(settings, tmp_path / "chaos"))
    assert not report.problems, "\n".join([*report.problems, f"again: {settings.again}"])
    return report.figures


@pytest.fixture
def here(request):
    """Where the brokers come from: our own, which can be killed; without Java those of the other tests, which stay."""
    return "" if shutil.which("java") else f"kafka://{request.getfixturevalue('kafka_broker')}"


def test_what_is_promised_holds_while_everything_breaks(here, tmp_path):
    figures = held(Settings(1, 15, engines=2, workers=2, log=here), tmp_path)
    assert figures["acknowledged"] > 20
    assert figures["claims"] > 4
    assert figures["snapshots"]
    assert figures["recovery"]["all"]["n"]


@pytest.mark.skipif(not shutil.which("java"), reason="three brokers need Java")
def test_one_of_three_brokers_may_die(tmp_path):
    figures = held(Settings(2, 12, brokers=3, engines=2, workers=2), tmp_path)
    assert figures["faults"]["kill broker"]


@pytest.mark.parametrize("bug", ["outcomes of one turn lost"])
def test_a_deliberate_bug_is_found(bug, here, tmp_path):
    for seed in (2, 3, 4):
        settings = Settings(seed, 12, engines=2, workers=2, log=here, bug=bug, healed_within=5)
        if asyncio.run(play(settings, tmp_path / f"chaos-{seed}")).problems:
            return
    pytest.fail("nothing was found wrong")


def test_a_plan_hangs_on_its_seed_alone_and_leaves_no_kind_of_fault_out():
    plan = draw(7, 60, engines=3, workers=3, brokers=1)
    assert plan == draw(7, 60, engines=3, workers=3, brokers=1) != draw(8, 60, engines=3, workers=3, brokers=1)
    assert {fault.kind for fault in plan} == {
        "kill engine", "kill worker", "freeze engine", "freeze worker", "repeat command", "repeat record", "kill broker",
    }  # fmt: skip
