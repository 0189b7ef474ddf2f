"""What one asks for while no engine works on the log: the answer says that it is undecided, and it is followed later."""

import pytest

from stepwell.consumers.engine.engine import Engine
from stepwell.errors import CommandRejectedError
from tests.workbench import client_on, running, stage, until, workflow

GATE = workflow({"id": "ask", "type": "approval_gate"})
VERBS = ("approve", "reject", "cancel", "pause", "resume", "reschedule", "rollback")
ENDS = {"approve": "completed", "reject": "failed", "cancel": "cancelled", "pause": "paused"}


@pytest.mark.parametrize("verb", VERBS)
async def test_a_request_that_no_engine_has_decided_says_so(log, verb):
    async with client_on(log) as client:
        await client.register(GATE)
        run = await client.start("w", {}, id="one")
        answer = await getattr(client, verb)("one")
        assert (answer.instance_id, answer.decided, answer.position) == ("one", False, "")
        assert not (await run.cancel()).decided


@pytest.mark.parametrize("verb", ENDS)
async def test_a_request_for_an_instance_whose_start_waits_is_followed_once_an_engine_is_there(log, verb):
    async with client_on(log) as client:
        await client.register(GATE)
        await client.start("w", {}, id="one")
        await getattr(client, verb)("one")
        async with running(Engine(log).run()):
            await until(lambda: has_status(client, ENDS[verb]))


async def has_status(client, wanted):
    return (await client.get("one")).status == wanted


async def test_a_request_that_was_decided_says_so_and_where(log):
    async with stage(log, None, GATE) as client:
        await client.start("w", {}, id="one")
        paused, again = await client.pause("one"), await client.pause("one")
        assert (paused.decided, paused.noted, again.noted) == (True, "", "it is paused already")
        assert paused.position
        await client.resume("one")
        assert (await client.approve("one")).decided
        with pytest.raises(CommandRejectedError):
            await client.approve("one")
