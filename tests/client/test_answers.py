"""A command that is sent again under its id is answered as the first one was."""

import pytest

from stepwell.errors import CommandRejectedError
from stepwell.schemas.records.commands import CancelWorkflow, PauseWorkflow, ResumeWorkflow, RollbackWorkflow
from tests.patience import HANG
from tests.workbench import client_on, ends, handlers_of, stage, start, steps, workflow

CHAIN = workflow(*steps("a", "b"), output="{{ step_outputs.b.n }}")
SLEEPY = workflow({"id": "sleep", "type": "wait", "config": {"seconds": 600}}, name="sleepy")


def work(data):
    return {"n": 1}


async def answers(client, *commands):
    """What each command is answered, or the code of its rejection."""
    found = []
    for command in commands:
        try:
            answer = await client.send(command, timeout=HANG)
            found.append(answer)
        except CommandRejectedError as error:
            found.append(error.code)
    return found


async def test_every_command_that_is_sent_again_gets_the_answer_of_the_first_one_also_after_a_restart(log):
    commands = (
        start("one", "sleepy"),
        PauseWorkflow("one", "lunch", command_id="pause"),
        PauseWorkflow("one", "lunch", command_id="pause again"),  # noted: it is paused
        RollbackWorkflow("one", to="nowhere", command_id="back"),  # rejected
        ResumeWorkflow("one", command_id="go on"),
        PauseWorkflow("nobody", command_id="nobody"),  # rejected, and there is no instance
        CancelWorkflow("one", "enough", command_id="cancel"),
    )
    async with stage(log, None, CHAIN, SLEEPY) as client:
        first = await answers(client, *commands)
        assert await answers(client, *commands) == first
    async with stage(log, None) as client:
        assert await answers(client, *reversed(commands)) == first[::-1]


@pytest.mark.parametrize("snapshot", [False, True])
async def test_the_start_of_an_instance_that_has_left_memory_is_answered_from_its_history(log, monkeypatch, snapshot):
    monkeypatch.setattr("stepwell.consumers.engine.snapshotting.SMALLEST_TAIL", 1 if snapshot else 10**9)
    async with stage(log, handlers_of(work=work), CHAIN) as client:
        (first,) = await answers(client, start("one"))
        await ends(client, "one")
    async with stage(log, handlers_of(work=work)) as client:
        assert await answers(client, start("one")) == [first]


async def test_who_sends_again_while_no_engine_lives_is_answered_with_what_was_decided(log):
    async with stage(log, None, SLEEPY) as client:
        (first,) = await answers(client, start("one", "sleepy"))
    async with client_on(log) as client:
        assert await answers(client, start("one", "sleepy")) == [first]
        assert await answers(client, PauseWorkflow("one", command_id="new")) == [None]


async def test_a_command_that_was_made_just_now_has_no_earlier_answer_to_look_for(log, monkeypatch):
    """Else a thousand starts that wait for a busy engine would read the whole partition, one after the other."""

    async def read(*_):
        raise AssertionError("the history was read")

    async with client_on(log) as client:
        await client.register(CHAIN)
        monkeypatch.setattr("stepwell.client.requests.look_up", read)
        run = await client.start("w")
        assert not run.decided
        assert not (await client.cancel(run.id)).decided
