"""Tasks that are cancelled and waited for."""

from __future__ import annotations

import ast
import asyncio
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import stepwell
from stepwell.tasks import cancel_and_wait


async def forever() -> None:
    await asyncio.get_running_loop().create_future()


async def begun(*coroutines: Any) -> list[asyncio.Task[Any]]:
    tasks = [asyncio.ensure_future(one) for one in coroutines]
    await asyncio.sleep(0)
    return tasks


async def test_a_task_is_waited_for_until_its_last_line() -> None:
    over: list[str] = []

    async def tidy() -> None:
        try:
            await forever()
        finally:
            await asyncio.sleep(0.01)
            over.append("tidied up")

    (task,) = await begun(tidy())
    assert await cancel_and_wait(task) == []
    assert over == ["tidied up"]
    assert task.cancelled()


async def test_all_are_cancelled_before_one_is_waited_for() -> None:
    both = asyncio.Barrier(2)

    async def together() -> None:
        try:
            await forever()
        finally:
            await both.wait()

    async with asyncio.timeout(5):
        assert await cancel_and_wait(*await begun(together(), together())) == []


async def test_the_errors_of_tasks_are_returned_in_their_order_and_cancellations_and_results_are_none() -> None:
    earlier, later = ValueError("failed before"), KeyError("failed when it was cancelled")

    async def fails() -> None:
        raise earlier

    async def fails_late() -> None:
        try:
            await forever()
        except asyncio.CancelledError:
            raise later from None

    async def returns() -> int:
        try:
            await forever()
        except asyncio.CancelledError:
            return 7
        return 0

    tasks = await begun(fails_late(), forever(), fails(), returns())
    assert await cancel_and_wait(*tasks) == [later, earlier]
    assert tasks[3].result() == 7


async def test_the_cancellation_of_whoever_waits_is_raised_once_the_tasks_have_ended() -> None:
    over: list[str] = []
    go_on = asyncio.Event()

    async def slow() -> None:
        try:
            await forever()
        except asyncio.CancelledError:
            while not go_on.is_set():
                try:
                    await go_on.wait()
                except asyncio.CancelledError:
                    over.append("cancelled again")
            over.append("ended")

    (task,) = await begun(slow())
    (caller,) = await begun(cancel_and_wait(task))
    await asyncio.sleep(0)
    caller.cancel()
    await asyncio.sleep(0.01)
    assert not caller.done(), "it has left a task behind"
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert over == ["cancelled again", "ended"]


@pytest.mark.parametrize("interrupted", [False, True])
async def test_errors_are_reported_where_that_is_asked_for(interrupted: bool) -> None:
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    error = ValueError("of the task")

    async def fails() -> None:
        try:
            await forever()
        finally:
            await asyncio.sleep(0)
            raise error

    (silent,) = await begun(fails())
    assert await cancel_and_wait(silent) == [error]
    assert not told
    (task,) = await begun(fails())
    (caller,) = await begun(cancel_and_wait(task, report=True))
    if interrupted:
        caller.cancel()
    await asyncio.wait([caller])
    assert caller.cancelled() == interrupted
    assert [(context["exception"], context["future"]) for context in told] == [(error, task)]


async def test_where_there_is_nothing_to_wait_for_nothing_happens() -> None:
    done = asyncio.ensure_future(asyncio.sleep(0, "result"))
    await done
    assert await cancel_and_wait() == []
    assert await cancel_and_wait(done) == []
    assert done.result() == "result"


_WITH_A_TIME_LIMIT = {"log/kafka/producer.py"}  # what it ends may not end at all
_OF_THE_TERMINAL = ("cli/", "client/launch.py", "client/waiting.py")


def _follow_each_other(first: ast.stmt, second: ast.stmt) -> bool:
    """Whether the first statement cancels and the next one waits for tasks, whatever they end with."""
    cancels = isinstance(first, ast.Expr | ast.For) and any(
        isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "cancel"
        for node in ast.walk(first)
    )
    return cancels and any(
        isinstance(node, ast.Await) and ast.unparse(node).startswith(("await asyncio.gather(", "await asyncio.wait("))
        for node in ast.walk(second)
    )


def _ends_tasks_by_hand(module: ast.Module) -> bool:
    blocks = [
        block
        for node in ast.walk(module)
        for field in ("body", "orelse", "finalbody")
        if isinstance(block := getattr(node, field, None), list)
    ]
    return any(_follow_each_other(*two) for block in blocks for two in pairwise(block))


def test_no_other_place_ends_tasks_by_hand() -> None:
    package = Path(stepwell.__file__).parent
    modules = {path.relative_to(package).as_posix(): ast.parse(path.read_text()) for path in package.rglob("*.py")}
    found = {name for name, module in modules.items() if _ends_tasks_by_hand(module)}
    assert {name for name in found if not name.startswith(_OF_THE_TERMINAL)} - {"tasks.py"} == _WITH_A_TIME_LIMIT
