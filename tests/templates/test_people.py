"""Templates in which people decide, in virtual time: who is asked when somebody does not answer."""

import pytest

from stepwell.errors import CommandRejectedError
from stepwell.schemas.definitions.blueprint import find_blueprint, instantiate
from stepwell.testing.kit import simulate

pytestmark = pytest.mark.rows("O3", "O4", "T8")

CHAIN = {"level1_approver": "alice", "level2_approver": "bob", "request_title": "New desks"}


def chain(scenario, **params):
    definition = instantiate(find_blueprint("approval_chain"), {**CHAIN, **params})

    async def whole(world):
        await world.register(definition)
        run = await world.start("approval-chain", {"amount": 9}, id="it")
        await world.advance(minutes=1)
        return await scenario(world, run)

    return simulate(whole)


def test_each_level_that_does_not_answer_in_time_is_decided_by_the_next():
    async def scenario(world, run):
        await world.advance(hours=25)  # alice has had her day
        with pytest.raises(CommandRejectedError, match="may not decide"):
            await world.client.approve("it", by="alice")
        await world.client.approve("it", "level1", by="bob")
        await world.advance(minutes=1)
        await world.advance(hours=49)  # and bob his two
        await world.client.approve("it", "level2", by="escalation-desk")
        return await run.result()

    done = chain(scenario)
    assert done.output["approved"] is True
    assert done.output["level"] == 2
    assert [decision and decision["by"] for decision in done.output["decisions"]] == ["bob", "escalation-desk", None]


def test_a_third_level_that_does_not_answer_has_rejected():
    async def scenario(world, run):
        await world.client.approve("it", by="alice")
        await world.advance(minutes=1)
        await world.client.approve("it", by="bob")
        await world.advance(minutes=1)
        await world.client.approve("it", by="cy")
        await world.advance(days=4)
        return await run.result()

    done = chain(scenario, level3_approvers=["cy", "di"], level3_required=2)
    assert (done.output["approved"], done.output["level"]) == (False, 3)
    assert done.status == "completed"


def test_a_chain_that_nobody_answers_fails_and_says_at_which_level():
    async def scenario(world, run):
        await world.advance(days=3)
        return await run.status()

    failed = chain(scenario)
    assert failed.status == "failed"
    assert failed.steps["level1"].status == "failed"
    assert failed.error.message == "nobody has decided within 86400 s"
    assert failed.failed_step == "level1"


def test_finance_decides_on_an_expense_that_the_manager_leaves_alone(tmp_path):
    blueprint = find_blueprint("human_approval")
    definition = instantiate(blueprint, {"manager": "mira", "finance": "finn", "outbox": str(tmp_path)})

    async def scenario(world):
        await world.register(definition)
        run = await world.start(definition["name"], blueprint.input_example, id="it")
        await world.advance(days=4)
        await world.client.reject("it", by="finn", comment="no receipt")
        return await run.result()

    done = simulate(scenario, modules=["stepwell.templates.handlers"])
    assert (done.output["approved"], done.output["by_itself"]) == (False, False)
    assert "no receipt" in (tmp_path / "expenses/E-88.json").read_text()
