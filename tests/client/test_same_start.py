"""Starting an id again: the same start finds what exists, another one is refused, unless the caller says otherwise."""

import pytest

from stepwell.errors import CommandRejectedError
from tests.workbench import client_on, handlers_of, stage, steps, work, workflow

ONE = workflow(*steps("a"))
OTHER = workflow(*steps("a"), name="other")
FIRST = {"n": 1, "of": {"a": [1, 2], "b": None}}
SAME = ({"of": {"b": None, "a": [1, 2]}, "n": 1}, {**FIRST, "n": 1.0}, None)
ELSE = ({"n": 2}, {**FIRST, "m": 1}, {**FIRST, "n": True}, {**FIRST, "of": {"a": [2, 1], "b": None}}, {})


@pytest.fixture(params=["running", "finished", "pending"])
async def client(request, log):
    """A client of a log with the instance ``one``."""
    pending = request.param == "pending"
    handlers = handlers_of(work=work) if request.param == "finished" else None
    async with client_on(log) if pending else stage(log, handlers) as client:
        for definition in (ONE, OTHER):
            await client.register(definition)
        run = await client.start("w", FIRST, id="one")
        if handlers is not None:
            await run.result(timeout=30)
        await client.register(ONE | {"version": "2", "description": "newer"})
        yield client


@pytest.mark.parametrize("same", SAME)
async def test_the_same_start_again_finds_the_instance_that_exists(client, same):
    run = await client.start("w", same, id="one")
    assert run.existed
    assert (await run.status()).input == FIRST
    assert (await client.start("w", same, id="one", version="1")).existed


@pytest.mark.parametrize("other", ELSE)
async def test_a_start_of_the_same_id_with_another_input_is_refused_unless_what_exists_is_to_be_used(client, other):
    with pytest.raises(CommandRejectedError, match="exists already, with another input") as caught:
        await client.start("w", other, id="one")
    assert caught.value.code == "instance_exists"
    assert 'if_exists="use"' in caught.value.remedy
    run = await client.start("w", other, id="one", if_exists="use")
    assert run.existed
    assert (await run.status()).input == FIRST


async def test_a_start_of_the_same_id_of_another_workflow_or_version_is_refused(client):
    with pytest.raises(CommandRejectedError, match='with workflow "w", not "other"'):
        await client.start("other", FIRST, id="one")
    with pytest.raises(CommandRejectedError, match="with version 1, not 2"):
        await client.start("w", FIRST, id="one", version="2")
    assert (await client.start("other", id="one", if_exists="use")).existed
