"""Versions beside each other: which of them starts take, and that every reader agrees on it."""

import asyncio
import json
import os
import random

import pytest

from stepwell.consumers.engine.engine import Engine
from stepwell.consumers.registry.definitions import Definitions
from stepwell.consumers.registry.folder import Folder
from stepwell.errors import (
    CommandRejectedError,
    DefinitionConflictError,
    DefinitionError,
    InactiveWorkflowError,
    UnknownWorkflowError,
)
from stepwell.log.port import DEFINITIONS, STARTS, NewRecord
from stepwell.schemas.definitions.model import decode_definition
from stepwell.schemas.records.activation import ACTIVATION, KIND
from tests.patience import HANG
from tests.workbench import Gate, client_on, handlers_of, outcome, running, send, stage, start, steps, until, work
from tests.workbench import workflow as definition

pytestmark = [pytest.mark.rows("R1")]


def version(number, *ids, **more):
    return definition(*steps(*(ids or ("a",))), **{"version": number, **more})


@pytest.fixture
async def client(log):
    async with stage(log, handlers_of(work=work)) as client:
        yield client


async def test_a_start_takes_the_active_version_that_was_registered_last(client):
    for number in ("1", "2", "3"):
        await client.register(version(number))
    assert (await outcome(client)).version == "3"
    assert await client.deactivate("w", "3", reason="too slow")
    assert (await outcome(client)).version == "2"
    assert await client.deactivate("w", "2")
    assert (await outcome(client)).version == "1"
    assert await client.activate("w", "2")
    assert (await outcome(client)).version == "2"
    assert await client.activate("w", "3")
    assert (await outcome(client)).version == "3"


async def test_an_inactive_version_is_refused_with_the_remedy(client):
    await client.register(version("1"))
    await client.register(version("2"), activate=False)
    assert (await outcome(client)).version == "1"
    with pytest.raises(InactiveWorkflowError, match="version 2 of workflow 'w' is inactive") as caught:
        await client.start("w", version="2")
    assert "stepwell activate w@2" in caught.value.remedy
    await client.deactivate("w", "1")
    with pytest.raises(InactiveWorkflowError, match="every version of workflow 'w' is inactive"):
        await client.start("w")
    await client.activate("w", "2")
    run = await client.start("w", version="2")
    assert (await run.result(timeout=HANG)).version == "2"


async def test_an_engine_tells_inactive_from_unknown_to_those_who_start_by_the_log_alone(client):
    await client.register(version("1"), activate=False)
    await client.register(version("1", name="other"))
    asked = {"named": ("w", "1"), "unnamed": ("w", None), "version": ("w", "2"), "workflow": ("v", None)}
    codes = {}
    for name, (workflow, wanted) in asked.items():
        with pytest.raises(CommandRejectedError) as caught:
            await client.send(start(name, workflow, version=wanted))
        codes[name] = caught.value.code
        assert caught.value.message
    assert codes == {
        "named": "inactive_version", "unnamed": "inactive_version",
        "version": "unknown_workflow", "workflow": "unknown_workflow",
    }  # fmt: skip
    await client.activate("w", "1")
    await client.send(start("now", "w"))
    assert (await client.wait("now", lambda state: not state.live, timeout=HANG)).status == "completed"


async def test_running_instances_keep_a_version_that_is_deactivated_or_replaced(log):
    gate = Gate()
    async with stage(log, handlers_of(work=gate)) as client:
        await client.register(version("1", "a", "b"))
        run = await client.start("w", {}, id="old")
        await until(lambda: gate.runs["old", "a"])
        await client.register(version("2", "c"))
        await client.deactivate("w", "1")
        again = await client.start("w", {}, id="old", version="1")
        assert again.existed, "the same start again is no new one"
        gate.open.set()
        view = await run.result(timeout=HANG)
    assert (view.status, view.version, set(view.steps)) == ("completed", "1", {"a", "b"})


async def test_a_start_after_an_acknowledged_activation_sees_it_however_far_behind_the_engine_is(log, open_log):
    """Clients of their own, starts at once after each change; the version is chosen where the topic was read."""
    async with client_on(await open_log()) as operator, stage(log, handlers_of(work=work)) as client:
        await operator.register(version("1"))
        await operator.register(version("2"))
        for round_ in range(20):
            active = round_ % 2 == 0
            await (operator.activate if active else operator.deactivate)("w", "2")
            run = await client.start("w")
            assert (await run.status()).version == ("2" if active else "1")


async def test_a_version_deactivated_while_a_start_is_on_its_way_is_chosen_anew(log, monkeypatch):
    async with client_on(log) as client:
        await client.register(version("1"))
        await client.register(version("2"))
        chosen = client.registry.to_start

        async def meanwhile(workflow, wanted):
            plan = await chosen(workflow, wanted)
            await Definitions(log).switch("w", "2", active=False)
            return plan

        monkeypatch.setattr(client.registry, "to_start", meanwhile)
        async with running(Engine(log).run()):
            await until(client.engine_is_live)
            assert (await (await client.start("w", id="x")).status()).version == "1"


async def test_what_is_registered_is_listed_with_all_there_is_to_say(client, open_log):
    await client.register(version("1", tags=["billing"], description="Sends invoices."))
    await client.register(version("2", "a", "b"), activate=False)
    await client.register(version("7", name="other", tags=["billing", "night"]))
    async with client_on(await open_log()) as another:
        found = await another.definitions()
        assert [(one.name, one.version, one.active, one.current, one.steps) for one in found] == [
            ("other", "7", True, True, 1), ("w", "1", True, True, 1), ("w", "2", False, False, 2),
        ]  # fmt: skip
        assert [one.position for one in found] == [2, 0, 1]
        assert (found[1].tags, found[1].description) == (("billing",), "Sends invoices.")
        assert [one.name for one in await another.definitions(tag="billing")] == ["other", "w"]
        assert [one.version for one in await another.definitions(workflow="w")] == ["1", "2"]
        assert found == await client.definitions()


async def test_registering_again_changes_nothing_and_other_content_is_refused(client):
    await client.register(version("1"))
    await client.deactivate("w", "1")
    await client.register(version("1"))
    (only,) = await client.definitions()
    assert not only.active, "whoever deactivated it meant it: a restart that registers its file must not undo that"
    with pytest.raises(DefinitionConflictError, match="registered with other content"):
        await client.register(version("1", "a", "b"))


async def test_switching_what_is_so_already_or_not_registered(client, log):
    await client.register(version("1"))
    end = await log.end(DEFINITIONS, 0)
    assert not await client.activate("w", "1")
    assert await log.end(DEFINITIONS, 0) == end
    with pytest.raises(UnknownWorkflowError, match=r"'w' version 3 is registered \(there are: 1\)"):
        await client.activate("w", "3")
    with pytest.raises(UnknownWorkflowError, match="no workflow 'x' version 1"):
        await client.deactivate("x", "1")


async def test_records_that_mean_nothing_change_nothing_and_older_readers_pass_over_the_new_kind(log):
    one, other = Definitions(log), Definitions(log)
    await one.register(_read(version("1")))
    await one.switch("w", "1", active=False, reason="a test")
    await log.append(DEFINITIONS, 0, [
        NewRecord("x", b"no JSON", {KIND: ACTIVATION}),
        NewRecord("w@9", b'{"workflow":"w","version":"9","active":true}', {KIND: ACTIVATION}),
        NewRecord("w@1", b'{"workflow":"w","version":"1"}', {KIND: ACTIVATION}),
    ])  # fmt: skip
    await asyncio.gather(one.catch_up(), other.catch_up(), other.catch_up())
    assert one.summaries() == other.summaries()
    (only,) = other.summaries()
    assert not only.active
    for record in await log.read(DEFINITIONS, 0, 1):  # what a reader that knows only definitions makes of them
        with pytest.raises(ValueError):
            decode_definition(record.value)


async def test_concurrent_readers_agree_after_many_switches(open_log, rng):
    """Any number of processes switch at random; whoever reads the topic to its end knows the same."""
    parts = [Definitions(await open_log()) for _ in range(4)]
    for number in range(5):
        await parts[0].register(_read(version(str(number))))

    async def meddle(part):
        for _ in range(15):
            await part.switch("w", str(rng.randrange(5)), active=rng.random() < 0.5)

    await asyncio.gather(*map(meddle, parts))
    for part in parts:
        await part.catch_up()
    assert len({str(part.summaries()) for part in parts}) == 1
    late = Definitions(await open_log())
    await late.catch_up()
    assert late.summaries() == parts[0].summaries()


async def test_starts_that_were_waiting_in_the_log_are_decided_by_what_is_active_then(log):
    async with client_on(log) as client:
        await client.register(version("1"))
        await client.register(version("2"))
        await send(log, start("late"), topic=STARTS)
        await client.deactivate("w", "2")
        async with running(Engine(log).run()):
            view = await client.wait("late", lambda state: bool(state.workflow), timeout=HANG)
    assert view.version == "1"


def _read(data):
    from stepwell.language import load_definition

    return load_definition(data)


async def test_a_definition_larger_than_a_record_is_packed_and_one_too_large_for_that_is_refused(client, open_log):
    steps = [{"id": f"s{n}", "handler": "h", "description": "what it does, at length " * 30} for n in range(2000)]
    definition = await client.register({"name": "large", "steps": steps})
    async with client_on(await open_log()) as another:
        await another.registry.catch_up()
        assert another.registry.resolve("large", None).definition == definition
    noise = random.Random(1).randbytes(1_200_000).hex()
    with pytest.raises(DefinitionError, match="more than a record of the log"):
        await client.register({"name": "noise", "steps": [{"id": "a", "handler": "h", "config": {"x": noise}}]})
    assert [one.name for one in await client.definitions()] == ["large"]


@pytest.mark.rows("T2")
async def test_what_is_edited_in_a_directory_under_its_old_version_is_what_starts_take_and_so_is_what_is_edited_back(
    client, tmp_path
):
    folder = Folder(client.registry, tmp_path)
    taken = []
    for moment, ids in enumerate(("ab", "ac", "ab", "ac", "ac")):
        file = tmp_path / "w.json"
        file.write_text(json.dumps({"name": "w", "version": 2, "steps": steps(*ids)}))
        os.utime(file, (moment, moment))
        (became,) = await folder.look()
        assert became.error is None
        taken.append((await (await client.start("w")).result()).version)
        assert list(client.registry.resolve("w", None).steps) == list(ids)
    assert taken[0] == taken[2] == "2"
    assert taken[1] == taken[3] == taken[4]
    assert taken[1].startswith("2+")
    assert await folder.look() == []
