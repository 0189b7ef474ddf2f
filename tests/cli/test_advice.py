"""Whoever shows an instance that does not go on by itself names the same way to bring it on."""

from __future__ import annotations

import pytest

from stepwell.client.advice import advice_of, stopped_in
from stepwell.command_line import about, command
from stepwell.consumers.reading.views import InstanceView
from stepwell.diagnosis import diagnose
from stepwell.log.urls import open_log
from tests.patience import HANG
from tests.workbench import client_on, stage, workflow

from .conftest import Shell

GATE = {"id": "ask", "type": "approval_gate", "config": {"approvers": ["ann o'neil"]}}
SUB = {"id": "sub", "type": "workflow_trigger", "timeout_seconds": 600, "config": {"workflow": "child"}}


@pytest.fixture
async def held(shell: Shell):
    """The log of a parent that somebody has paused, and of its child, which waits for approval; nobody works on it."""
    log = await open_log(f"file:{shell.directory}/.stepwell/log.db", create=True)
    async with stage(log, None, workflow(SUB), workflow(GATE, name="child")) as client:
        await client.start("w", {}, id="My order")
        await client.wait("My order.sub.1", lambda state: "ask" in state.steps, timeout=HANG)
        await client.pause("My order", "price is being checked")
        await client.wait("My order.sub.1", lambda state: state.held, timeout=HANG)
    async with client_on(log) as client:
        yield client
    await log.close()


async def test_of_a_held_child_all_name_its_parent_first(shell: Shell, held) -> None:
    child = await held.get("My order.sub.1")
    advice = advice_of(child)
    assert child.held_by == "My order"
    assert (advice.waits_for, advice.command, advice.alone) == (
        "parent", "stepwell debug 'My order'", "stepwell resume 'My order.sub.1'",
    )  # fmt: skip
    said = shell("status", "My order.sub.1").stdout
    assert "It stands still because My order, which waits for it, does, and goes on with it" in said
    assert "`stepwell debug 'My order'` tells why; `stepwell resume 'My order.sub.1'` goes on with this one" in said
    found = (await diagnose(held, "My order.sub.1")).findings[0]
    assert found.words == advice.words
    assert [remedy.command for remedy in found.remedies] == [advice.command, advice.alone]
    ran = shell(
        "run", shell.write("child.json", workflow(GATE, name="child")).name, "--id", "My order.sub.1", status=3
    )
    assert advice.words in ran.stderr
    assert "Look:  stepwell debug 'My order'\n" in ran.stderr
    assert shell.json("status", "My order.sub.1")["held_by"] == "My order"
    assert "My order is paused" in shell("list", "--parent", "My order").stdout


async def test_what_is_paused_for_itself_is_resumed_and_the_waits_that_stand_still_are_told_apart(
    shell: Shell, held
) -> None:
    parent = await held.get("My order")
    assert advice_of(parent).command == "stepwell resume 'My order'"
    assert stopped_in(parent) == {"children": ["sub"]}
    assert 0 < parent.steps["sub"].remaining_ms <= 600_000
    said = shell("status", "My order").stdout
    assert "It waits for a person: `stepwell resume 'My order'`" in said
    assert "left once it goes on" in said
    again = shell("stop", "My order.sub.1").stdout  # for itself, from here on
    assert "it goes on with" not in again
    assert (await held.get("My order.sub.1")).held_by == ""
    assert advice_of(await held.get("My order.sub.1")).waits_for == "pause"


async def test_pausing_tells_for_which_children_time_stands_still(shell: Shell, held) -> None:
    said = shell("resume", "My order").stdout
    assert "it is running now" in said
    assert shell("stop", "My order").stdout.endswith(
        "it is paused now; until then time stands still for what waits for children: sub\n"
    )


async def test_where_people_are_asked_the_step_and_one_of_them_are_named(shell: Shell, held) -> None:
    await held.register(workflow(GATE, {**GATE, "id": "the other"}, name="two"))
    shell("start", "two", "--id", "-v", status=None)
    shell("start", "two", "--id=-v")
    shell("reject", "--step", "nowhere", "--", "-v", status=2)  # an engine of its own has decided the start
    view = await held.get("-v")
    advice = advice_of(view, " --log file:x.db")
    assert advice.command == """stepwell approve --step ask --by 'ann o'"'"'neil' --log file:x.db -- -v"""
    assert "`stepwell approve --step ask --by" in shell("status", "--", "-v").stdout
    assert shell("approve", "--step", "ask", "--by", "ann o'neil", "--", "-v").returncode == 0


@pytest.mark.parametrize("status", ["running", "completed", "failed", "cancelled", "pending"])
def test_what_goes_on_by_itself_or_has_ended_needs_nobody(status: str) -> None:
    assert advice_of(InstanceView("i", "w", "1", status)) is None


@pytest.mark.parametrize(
    ("instance_id", "written"),
    [
        ("o-1", "stepwell resume o-1 --x --log u"),
        ("a b", "stepwell resume 'a b' --x --log u"),
        ("$(reboot)", "stepwell resume '$(reboot)' --x --log u"),
        ("-v", "stepwell resume --x --log u -- -v"),
        ("--id x", "stepwell resume --x --log u -- '--id x'"),
        ("ü/1?#%", "stepwell resume 'ü/1?#%' --x --log u"),
    ],
)
def test_a_command_about_an_instance_is_taken_by_a_shell_as_it_is_meant(instance_id: str, written: str) -> None:
    assert about("resume", instance_id, "--x", at=" --log u") == written
    assert command("migrate", "--all", "my files") == "stepwell migrate --all 'my files'"
