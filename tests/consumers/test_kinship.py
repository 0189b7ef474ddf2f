"""Families of instances, as events make them."""

import pytest

from stepwell.consumers.reading.kinship import Family
from tests.workbench import stage, steps, until, workflow

LEAF = workflow(*steps("x"), name="leaf")
MIDDLE = workflow(
    {"id": "m", "type": "workflow_trigger", "config": {"workflow": "leaf", "wait": False}}, name="middle"
)
TOP = workflow({"id": "t", "type": "workflow_trigger", "config": {"workflow": "middle"}}, name="top")


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_family_holds_children_and_theirs_whether_waited_for_or_not(log, when):
    async with stage(log, None, LEAF, MIDDLE, TOP) as client:
        grown = []
        family = Family(client.subscriber, "one")
        family.grown = lambda: grown.append(1)
        if when == "before":
            await family.begin()
        await client.start("top", id="one")
        await client.start("leaf", id="one.t.9")
        await client.wait("one.t.1.m.1", lambda _: True, timeout=30)
        if when == "after":
            await family.begin()
        await until(lambda: "one.t.1.m.1" in family)
        assert "one.t.1" in family
        assert "one.t.9" not in family
        assert len(grown) == 2
        await family.end()
        assert not client.subscriber._watches.keys() & {"one.t.1", "one.t.1.m.1"}
