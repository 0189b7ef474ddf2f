"""What the read models hold of what a rollback has undone."""

from tests.patience import HANG
from tests.workbench import handlers_of, stage, steps, workflow


async def test_an_output_that_was_rolled_back_is_found_no_more(log):
    definition = workflow(*steps("a", "b"), output={"n": "{{ step_outputs.b.n }}"})
    async with stage(log, handlers_of(work=lambda data: {"n": data.get("n", 0) + 1}), definition) as client:
        await (await client.start("w", {"n": 5}, id="one")).result(timeout=HANG)
        assert [row.instance_id for row in (await client.instances(output={"n": 7}))[0]] == ["one"]
        await client.rollback("one", "a", pause=True)
        assert (await client.instances(output={"n": 7}))[1] == 0
        assert (await client.instances(input={"n": 5}))[1] == 1
