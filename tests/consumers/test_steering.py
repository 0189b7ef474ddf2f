"""Pausing, resuming, cancelling and rolling back, through the client; also what has finished and left memory."""

from datetime import timedelta

import pytest

from stepwell.errors import CommandRejectedError
from tests.patience import HANG
from tests.workbench import (
    Gate,
    ends,
    handlers_of,
    stage,
    steps,
    until,
    whole_history,
    workflow,
)


async def work(data, ctx):
    return {"n": data.get("n", 0) + 1}


async def test_a_paused_instance_starts_nothing_until_it_is_resumed(log):
    gate = Gate()
    async with stage(log, handlers_of(work=gate), workflow(*steps("a", "b"))) as client:
        await client.start("w", {"n": 0}, id="one")
        await until(lambda: gate.runs["one", "a"])
        await client.pause("one", "lunch")
        await client.pause("one", "again")  # noted, no error
        gate.open.set()
        view = await client.wait("one", lambda state: "a" in state.steps and state.steps["a"].settled, timeout=HANG)
        assert (view.status, view.reason) == ("paused", "lunch")
        await client.start("w", {"n": 0}, id="other")
        await ends(client, "other")
        assert gate.runs["one", "b"] == 0
        await client.resume("one")
        (view,) = await ends(client, "one")
        assert view.output == {"b": {"n": 2}}


async def test_what_finished_can_be_rolled_back_and_resumed_where_that_makes_sense(log):
    gate = Gate()
    gate.open.set()
    gate.fails.add(("failing", "b"))
    definition = workflow(*steps("a", checkpoint=True), *steps("b", after="a"))
    async with stage(log, handlers_of(work=gate), definition) as client:
        for instance_id in ("fine", "failing"):
            await client.start("w", {"n": 0}, id=instance_id)
        fine, failing = await ends(client, "fine", "failing")
        assert (fine.status, failing.status) == ("completed", "failed")

        codes = {}
        for name, asks in {
            "cancel completed": client.cancel("fine"),
            "pause completed": client.pause("fine"),
            "resume completed": client.resume("fine"),
            "rollback to nowhere": client.rollback("fine", to="nowhere"),
            "cancel nobody": client.cancel("nobody"),
            "resume nobody": client.resume("nobody"),
        }.items():
            with pytest.raises(CommandRejectedError) as refused:
                await asks
            codes[name] = refused.value.code
        assert codes == {
            "cancel completed": "already_finished",
            "pause completed": "already_finished",
            "resume completed": "already_finished",
            "rollback to nowhere": "unknown_checkpoint",
            "cancel nobody": "unknown_instance",
            "resume nobody": "unknown_instance",
        }

        await client.rollback("fine", to="a")
        (view,) = await ends(client, "fine")
        assert (view.status, gate.runs["fine", "a"], gate.runs["fine", "b"]) == ("completed", 1, 2)

        gate.fails.clear()
        await client.resume("failing")
        (view,) = await ends(client, "failing")
        assert (view.status, gate.runs["failing", "a"], gate.runs["failing", "b"]) == ("completed", 1, 2)

        gate.open.clear()
        await client.start("w", {"n": 0}, id="cancelled")
        await until(lambda: gate.runs["cancelled", "a"])
        await client.cancel("cancelled", "enough")
        (view,) = await ends(client, "cancelled")
        assert (view.status, view.reason) == ("cancelled", "enough")
        await client.cancel("cancelled")  # it is so already: noted
        gate.open.set()
        await client.resume("cancelled")
        (view,) = await ends(client, "cancelled")
        assert view.status == "completed"
    await whole_history(log)


async def test_a_rollback_that_undoes_steps_is_listed_as_paused_once_it_pauses_there(log):
    undone = []

    async def undo(data, ctx):
        undone.append(ctx.step_id)

    definition = workflow(*steps("a", "b", compensate={"handler": "undo"}))
    async with stage(log, handlers_of(work=work, undo=undo), definition) as client:
        await client.start("w", {"n": 0}, id="one")
        await ends(client, "one")
        await client.rollback("one", to="start", pause=True)
        await client.wait("one", lambda state: state.status == "paused", timeout=HANG)
        assert undone == ["b", "a"]
        found, total = await client.instances(status="paused")
        assert ([summary.instance_id for summary in found], total) == (["one"], 1)


async def test_a_pause_reaches_the_children_and_theirs_and_so_does_going_on(log):
    gate = Gate()
    leaf = workflow(*steps("a", "b"), name="leaf")
    middle = workflow({"id": "sub", "type": "workflow_trigger", "config": {"workflow": "leaf"}}, name="middle")
    top = workflow({"id": "sub", "type": "workflow_trigger", "config": {"workflow": "middle"}}, name="top")
    family = ("one", "one.sub.1", "one.sub.1.sub.1")
    async with stage(log, handlers_of(work=gate), leaf, middle, top) as client:
        await client.start("top", {"n": 0}, id="one")
        await until(lambda: gate.runs[family[2], "a"])
        await client.pause("one", "lunch")
        for name in family[1:]:
            view = await client.wait(name, lambda state: state.status == "paused", timeout=HANG)
            assert view.reason == f"{name.rpartition('.sub.')[0]} is paused"
        gate.open.set()
        await client.wait(family[2], lambda state: "a" in state.steps and state.steps["a"].settled, timeout=HANG)
        assert gate.runs[family[2], "b"] == 0
        await client.resume("one")
        views = await ends(client, *family)
        assert [view.status for view in views] == ["completed"] * 3
        assert gate.runs[family[2], "a"] == 1


async def test_a_timer_is_moved_and_fires(log):
    late = workflow({"id": "a", "type": "wait", "config": {"seconds": 3_000}})
    async with stage(log, None, late) as client:
        await client.start("w", {}, id="one")
        assert (await client.reschedule("one")).noted == "no timer of it is due later than if its wait began now"
        for delay in (-1, float("nan")):
            with pytest.raises(CommandRejectedError, match="delay_seconds"):
                await client.reschedule("one", "a", delay_seconds=delay)
        for wrong in ("5", timedelta(seconds=5), [5]):
            with pytest.raises(CommandRejectedError, match=r"delay_seconds"):
                await client.reschedule("one", "a", delay_seconds=wrong)
        assert (await client.reschedule("one", "a", delay_seconds=0)).decided
        (view,) = await ends(client, "one")
        assert view.status == "completed"
