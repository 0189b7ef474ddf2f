"""Approvals and child workflows in virtual time, with crashes at the wrong moments."""

from __future__ import annotations

import pytest

from stepwell.errors import CommandRejectedError
from stepwell.testing import World, failing, simulate, stub

DAYS = 86_400.0

PURCHASE = {
    "name": "purchase",
    "steps": [
        {
            "id": "gate", "type": "approval_gate",
            "config": {
                "approvers": ["ann"], "timeout_seconds": 3 * DAYS, "on_timeout": "escalate", "escalate_to": ["bob"],
            },
        },
        {"id": "buy", "handler": "buy", "depends_on": ["gate"]},
    ],
}  # fmt: skip
PARENT = {
    "name": "parent",
    "steps": [
        {"id": "before", "handler": "before"},
        {"id": "sub", "type": "workflow_trigger", "depends_on": ["before"], "config": {"workflow": "child"}},
        {"id": "end", "type": "output", "depends_on": ["sub"]},
    ],
}
CHILD = {
    "name": "child",
    "steps": [{"id": "work", "handler": "work"}, {"id": "o", "type": "output", "depends_on": ["work"]}],
}


@pytest.mark.rows("O4", "T3")
def test_an_approval_waits_for_days_through_crashes():
    async def scenario(world: World) -> None:
        await world.register(PURCHASE)
        run = await world.start("purchase", {"what": "tea"}, id="one")  # the gate asks in the same transition
        await world.crash()
        await world.advance(days=2)
        await world.crash()
        await world.client.approve("one", by="ann", comment="fine")
        assert (await run.result()).steps["gate"].output["by"] == "ann"

    simulate(scenario, handlers={"buy": stub({"bought": True})})


@pytest.mark.rows("O4")
def test_an_escalation_comes_when_it_is_due_though_nobody_was_there():
    async def scenario(world: World) -> None:
        await world.register(PURCHASE)
        run = await world.start("purchase", id="one")
        await world.crash()
        asked = await world.until("approval.required")
        assert asked.event.approvers == ("bob",)
        with pytest.raises(CommandRejectedError, match="may not decide"):
            await world.client.approve("one", by="ann")
        await world.client.reject("one", by="bob")
        assert (await run.result()).error.type == "ApprovalRejected"

    simulate(scenario, handlers={"buy": stub()})


@pytest.mark.rows("O2", "R17")
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("moment", ["child.requested", "workflow.started", "workflow.completed", "step.succeeded"])
def test_a_crash_at_any_moment_loses_no_child_and_starts_none_twice(moment, seed):
    ran = []

    async def work(data):
        ran.append(data)
        return {"v": len(ran)}

    async def scenario(world: World) -> None:
        await world.register(PARENT)
        await world.register(CHILD)
        run = await world.start("parent", {"n": 1}, id="one")
        await world.crash_when(lambda record: record.type == moment)
        if moment != "workflow.completed":  # after that one, there is nothing of the child any more
            await world.crash_when(lambda record: record.instance_id.startswith("one.sub"))
        outcome = await run.result()
        sub = outcome.output["sub"]
        assert (sub["status"], sub["output"]) == ("completed", {"work": {"v": len(ran)}})
        started = [name for name in await world.types(sub["instance_id"]) if name == "workflow.started"]
        assert len(started) == 1

    simulate(scenario, handlers={"before": stub({"b": 1}), "work": work}, seed=seed)


@pytest.mark.rows("O2", "R8")
def test_a_cancelled_parent_takes_its_child_along():
    async def scenario(world: World) -> None:
        await world.register(PARENT)
        await world.register(CHILD)
        await world.start("parent", id="one")
        await world.until(lambda record: record.type == "step.ready" and record.instance_id == "one.sub.2")
        await world.client.cancel("one", "enough")
        await world.until(lambda record: record.type == "workflow.cancelled" and record.instance_id == "one.sub.2")
        assert (await world.client.get("one.sub.2")).reason == "one no longer waits for it"

    simulate(scenario, handlers={"before": stub(), "work": stub(seconds=1e6)})


@pytest.mark.rows("O2")
def test_a_child_of_a_workflow_that_nobody_knows_fails_its_step():
    async def scenario(world: World) -> None:
        await world.register(PARENT)
        outcome = await world.run("parent")
        assert "could not be started: unknown_workflow" in outcome.error.message

    simulate(scenario, handlers={"before": stub()})


@pytest.mark.rows("O2")
def test_a_child_that_fails_fails_its_step():
    async def scenario(world: World) -> None:
        await world.register(PARENT)
        await world.register(CHILD)
        outcome = await world.run("parent", id="one")
        assert outcome.error.message.startswith("one.sub.2 failed: ValueError")

    simulate(scenario, handlers={"before": stub(), "work": failing(ValueError("no"))})


def test_a_workflow_that_starts_itself_and_waits_for_it_comes_to_an_end():
    async def scenario(world: World) -> None:
        step = {"id": "again", "type": "workflow_trigger", "config": {"workflow": "mirror"}}
        await world.register({"name": "mirror", "steps": [step]})
        ended = await (await world.start("mirror", id="m")).result()
        assert ended.error.type == "ChildWorkflowFailed"
        assert "100 instances wait for each other; does it start itself?" in ended.error.message
        assert len(ended.error.message) < 1_000, "the last one is named, and not all on the way to it"

    simulate(scenario)
