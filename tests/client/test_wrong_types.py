"""Whatever is passed to a public function, a wrong type is answered by an error of Stepwell's, never a bare one."""

import asyncio
import inspect
from pathlib import Path

import pytest

import stepwell
from stepwell import Client, Run, StepwellError, Subscription
from stepwell.client.embedded import LocalRuntime
from stepwell.log.port import Log
from stepwell.projections.views import Views
from stepwell.schemas.records.commands import CancelWorkflow
from stepwell.testing import World, failing, simulate, stub
from tests.builder.typed_good import Order, pay

WRONG = (None, 5, -1, 5.5, float("nan"), True, b"one", ["one"], {"one": 1}, object(), "no\x00ne", "", [None], {5: 6})
INTERNAL = {"lost", "boot", "shut", "broken", "heard", "close", "detach", "asking", "find", "rebuild", "crew"}
OPTIONS = ("id", "version", "priority", "timeout_seconds", "watch", "if_exists")


def needed(directory):
    """Something that fits each parameter without a default."""
    return {
        "workflow": "typed-payment", "instance_id": "one", "source": pay, "version": "1", "name": "a-name",
        "until": lambda _: True, "command": CancelWorkflow("one", command_id="x"), "finished_before": 1,
        "path": Path(directory) / "archive", "archive": None, "happens": "workflow.completed", "since": 1,
    }  # fmt: skip


def public(kind):
    for name, method in inspect.getmembers(kind, callable):
        if not name.startswith("_") and name not in INTERNAL:
            yield name, method


def parameters_of(method):
    found = [one for one in inspect.signature(method).parameters.values() if one.name != "self"]
    if found and found[-1].kind is inspect.Parameter.VAR_KEYWORD:
        found[-1:] = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None) for name in OPTIONS]
    return found


async def answer(call, given):
    """What a call comes to: nothing, or the error that is no answer."""
    try:
        async with asyncio.timeout(100):  # virtual seconds, or none at all
            result = call(**given)
            if inspect.isawaitable(result):
                result = await result
            if isinstance(result, Subscription):
                async with result:
                    await asyncio.sleep(0)
    except (StepwellError, TimeoutError):
        return None
    except Exception as error:
        return f"{type(error).__name__}: {error}"


async def bare_errors(thing, kind, directory):
    found, asked = [], 0
    for name, method in public(kind):
        parameters = parameters_of(method)
        for parameter in parameters:
            for wrong in WRONG:
                given = {one.name: needed(directory)[one.name] for one in parameters if one.default is one.empty}
                given[parameter.name] = wrong
                if name in {"wait", "result"}:
                    given.setdefault("timeout", 1)
                asked += 1
                said = await answer(getattr(thing, name), given)
                if said is not None:
                    found.append(f"{kind.__name__}.{name}({parameter.name}={wrong!r:.20}): {said:.100}")
    assert asked
    return found


@pytest.mark.parametrize("kind", [Client, Run, World, Views], ids=lambda kind: kind.__name__)
def test_a_method_answers_a_wrong_type_with_an_error_of_its_own(kind, tmp_path):
    async def scenario(world):
        await world.register(pay)
        await world.run(pay, Order(1, 2.0), id="one")
        run = await world.start(pay, Order(1, 2.0), id="one")
        things = {Client: world.client, Run: run, World: world, Views: world.client.views}
        return await bare_errors(things[kind], kind, tmp_path)

    assert simulate(scenario) == []


def test_it_says_which_argument_is_wrong_and_what_it_takes():
    async def scenario(world):
        client = world.client
        for call, kind, text in (
            (client.reschedule(None), stepwell.CommandRejectedError, "instance_id is a text, not None"),
            (client.cancel(b"one"), stepwell.CommandRejectedError, "instance_id is a text, not b'one'"),
            (client.get(5), stepwell.UnknownInstanceError, "instance_id is a text, not 5"),
            (client.start("order", version=5), stepwell.CommandRejectedError, "version is a text, not 5"),
            (client.start("order", priority="high"), stepwell.CommandRejectedError, "priority is a whole number"),
            (
                client.register(None),
                stepwell.DefinitionError,
                "a definition is a path, a text or plain data, not None",
            ),
            (client.views.instances(limit="all"), stepwell.FilterError, "limit is a whole number, not 'all'"),
            (client.archive(None, finished_before=1), stepwell.ArchiveError, "path is a path, not None"),
            (client.send(None), stepwell.CommandRejectedError, "None is no command"),
            (world.until("step.faild"), stepwell.PatternError, 'did you mean "step.failed"'),
        ):
            with pytest.raises(kind, match=text) as refused:
                await call
            assert getattr(refused.value, "code", "invalid_command") == "invalid_command"

    simulate(scenario)


async def test_connecting_and_running_within_a_program_do_as_well(tmp_path):
    url = f"file:{tmp_path / 'log.db'}"
    found = []
    for name in inspect.signature(stepwell.connect).parameters:
        for wrong in (5, -1, b"one", [None], {5: 6}, object()):

            async def connected(**given):
                async with stepwell.connect(**{"url": url, "embedded": False} | given):
                    pass

            if (name, wrong) != ("url", None):
                said = await answer(connected, {name: wrong, "embedded": name not in {"url", "by", "via"}})
                found += [f"connect({name}={wrong!r:.20}): {said}"] if said else []
    assert found == []


def test_the_runtime_and_the_kit_do_as_well():
    async def scenario(world):
        log: Log = world.client.log
        found = []
        for call, parameters in (
            (lambda **given: LocalRuntime(log, **given), ("handlers", "prefixes", "queues", "concurrency", "grace")),
            (stub, ("seconds",)),
            (lambda **given: failing(**{"error": ValueError()} | given), ("error", "times")),
        ):
            for name in parameters:
                for wrong in WRONG:
                    said = await answer(call, {name: wrong})
                    found += [f"{call}({name}={wrong!r:.20}): {said}"] if said else []
        return found

    assert simulate(scenario) == []

    async def nothing(world):
        """A scenario."""

    for name in ("scenario", "handlers", "modules", "queues", "seed"):
        for wrong in WRONG:
            try:
                simulate(**{"scenario": nothing} | {name: wrong})
            except StepwellError:
                continue
