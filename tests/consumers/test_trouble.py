"""What an engine tells its operators of instances in trouble."""

import structlog

from tests.patience import HANG
from tests.workbench import handlers_of, stage, until, workflow


def fail(data):
    raise LookupError("the register is closed")


async def test_each_instance_that_fails_or_needs_a_person_is_one_line(log):
    held = workflow({"id": "a", "handler": "fail", "on_failure": "pause"}, name="held")
    fails = workflow({"id": "a", "handler": "fail"}, name="fails")
    with structlog.testing.capture_logs() as told:
        async with stage(log, handlers_of(fail=fail), fails, held) as client:
            for number in range(3):
                await (await client.start("fails", {}, id=f"f{number}")).result(timeout=HANG)
            await client.start("held", {}, id="h")
            await until(lambda: any(line["event"] == "needs a person" for line in told))
    lines = {(line["event"], line["instance_id"]): line for line in told if "workflow" in line}
    assert set(lines) == {("failed", "f0"), ("failed", "f1"), ("failed", "f2"), ("needs a person", "h")}
    assert lines["failed", "f0"]["error"] == "LookupError: the register is closed"
    assert lines["failed", "f0"]["step"] == "a"
