"""Instances are pinned to their definition by its hash, which no other definition can take over."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib

import pytest

from stepwell.archiving.reading import Archive
from stepwell.client.waiting import until_over
from stepwell.consumers.reading.histories import state_of
from stepwell.consumers.registry.definitions import Definitions
from stepwell.core.fold.state import QUARANTINED, encode_instance
from stepwell.diagnosis import diagnose
from stepwell.errors import CommandRejectedError, DefinitionConflictError
from stepwell.language import compile_plan, load_definition
from stepwell.log.port import DEFINITIONS, NewRecord
from stepwell.schemas.definitions.model import Definition, Step, encode_definition, hash_canonical, hash_definition
from tests.patience import HANG
from tests.workbench import Gate, ends, handlers_of, stage, steps, until, work, workflow

FIRST = Definition("first", (Step("a", handler="h"),), version="1")
OTHER = Definition("other", (Step("b", handler="h"),), version="1")


@pytest.fixture
def same_hash(monkeypatch):
    """All definitions have one hash, as two would whose SHA-256 begin alike."""
    monkeypatch.setattr("stepwell.core.plan.compile.hash_canonical", lambda _: "0" * 16)
    monkeypatch.setattr("stepwell.consumers.registry.definitions.hash_definition", lambda _: "0" * 16)


@pytest.mark.usefixtures("same_hash")
async def test_a_definition_with_the_hash_of_another_one_is_refused(log):
    definitions = Definitions(log)
    await definitions.register(FIRST)
    with pytest.raises(DefinitionConflictError, match="is that of first@1"):
        await definitions.register(OTHER)
    assert await log.end(DEFINITIONS, 0) == 1
    assert list(definitions.names()) == ["first"]
    assert (await definitions.register(FIRST)).definition == FIRST


@pytest.mark.usefixtures("same_hash")
async def test_a_definition_with_the_hash_of_another_one_never_changes_what_instances_do(log):
    records = [NewRecord(one.reference, encode_definition(one)) for one in (FIRST, OTHER)]
    await log.append(DEFINITIONS, 0, records)  # by somebody who does not ask
    definitions = Definitions(log)
    await definitions.catch_up()
    assert definitions.by_hash("0" * 16).definition == FIRST
    assert list(definitions.names()) == ["first"]
    assert [one.name for one in definitions.summaries()] == ["first"]
    with pytest.raises(DefinitionConflictError):
        await definitions.register(OTHER, compile_plan(OTHER))


# --- whole hashes, and beginnings of them -----------------------------------------------------------------------

CHAIN = workflow(*steps("a", "b"))


@contextlib.contextmanager
def hashes(change):
    """Have all hashes made otherwise for as long as this lasts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stepwell.core.plan.compile.hash_canonical", lambda value: change(hash_canonical(value)))
        patch.setattr(
            "stepwell.consumers.registry.definitions.hash_definition", lambda one: change(hash_definition(one))
        )
        yield


def as_earlier(digest):
    """What earlier versions of Stepwell pinned."""
    return digest[:16]


def alike(digest):
    """Whole hashes that begin alike."""
    return "0" * 16 + digest[16:]


async def pin_of(client, instance_id):
    return (await client.history(instance_id))[0].event.definition


@contextlib.asynccontextmanager
async def started_earlier(log, *definitions, gate, pin=as_earlier):
    """Instances of each definition that an earlier Stepwell started and left in the middle, by its name."""
    with hashes(pin):
        async with stage(log, handlers_of(work=gate), *definitions) as client:
            for one in definitions:
                await client.start(one["name"], {"n": 0}, id=one["name"])
            await until(lambda: len(gate.runs) >= len(definitions))
            yield client


async def test_a_start_pins_the_whole_hash(log):
    async with stage(log, handlers_of(work=work), CHAIN) as client:
        await client.start("w", {"n": 0}, id="one")
        await ends(client, "one")
        whole = hashlib.sha256(encode_definition(load_definition(CHAIN))).hexdigest()
        assert await pin_of(client, "one") == whole
        assert [one.hash for one in await client.definitions()] == [whole]
        await client.rollback("one", to="a")
        (again,) = await ends(client, "one")
        assert again.status == "completed"


async def test_an_instance_that_is_pinned_by_sixteen_digits_goes_on_with_its_definition(log):
    gate = Gate()
    async with started_earlier(log, CHAIN, gate=gate) as client:
        pinned = await pin_of(client, "w")
        before = encode_instance(await state_of(log, "w"))
    gate.open.set()
    other = workflow(*steps("a", "b"), name="other")
    async with stage(log, handlers_of(work=gate), other) as client:
        assert len(pinned) == 16
        shown = await client.get("w")
        assert list(shown.steps) == ["a", "b"]
        (ended,) = await ends(client, "w")
        assert ended.output == {"b": {"n": 2}}
        await client.rollback("w", to="a")  # it has left memory by now
        (again,) = await ends(client, "w")
        assert again.status == "completed"
        assert client.registry.by_hash(pinned) is client.registry.resolve("w", None)
        assert await pin_of(client, "w") == pinned
        assert encode_instance(await state_of(log, "w", 2)) == before
        over = await asyncio.wait_for(until_over(client, "w"), HANG)
        assert over.view.status == "completed"


async def test_whoever_waits_for_an_instance_of_an_earlier_stepwell_sees_that_it_waits_for_a_person(log):
    gate = Gate()
    gate.open.set()
    asks = workflow({"id": "ask", "type": "approval_gate"})
    with hashes(as_earlier):
        async with stage(log, handlers_of(work=gate), asks) as client:
            await client.start("w", {}, id="one")
            await client.wait("one", lambda state: "ask" in state.steps, timeout=HANG)
    async with stage(log, handlers_of(work=gate)) as client:
        over = await asyncio.wait_for(until_over(client, "one"), HANG)
        assert [view.instance_id for view in over.held] == ["one"]


async def test_definitions_whose_hashes_begin_alike_are_each_found_by_the_whole_hash(log):
    records = [NewRecord(one.reference, encode_definition(one)) for one in (FIRST, OTHER)]
    await log.append(DEFINITIONS, 0, records)  # by somebody who does not ask
    with hashes(alike):
        definitions = Definitions(log)
        await definitions.catch_up()
        for one in (FIRST, OTHER):
            digest = compile_plan(one).hash
            assert definitions.by_hash(digest).definition == one
            assert definitions.resolve(one.name, one.version).hash == digest
            assert (await definitions.register(one)).hash == digest


@pytest.mark.parametrize("digits", [15, 16, 17])
async def test_a_beginning_that_fits_several_definitions_names_none_of_them(log, digits):
    records = [NewRecord(one.reference, encode_definition(one)) for one in (OTHER, FIRST)]
    await log.append(DEFINITIONS, 0, records)
    with hashes(lambda digest: "0" * 17 + digest[17:]):
        definitions = Definitions(log)
        await definitions.catch_up()
        assert definitions.by_hash("0" * digits) is None
        assert definitions.knows("0" * digits)  # reading on would not help
        words = definitions.why_missing("0" * digits)
        assert "first@1" in words
        assert "other@1" in words
        assert definitions.by_hash(compile_plan(FIRST).hash[:20]).definition == FIRST


@pytest.mark.parametrize("beginning", ["", "0", "0" * 14, "1" * 16, "0" * 65, "g" * 64])
async def test_what_is_no_hash_of_a_definition_names_none(log, beginning):
    with hashes(alike):
        definitions = Definitions(log)
        await definitions.register(FIRST)
        assert definitions.by_hash(beginning) is None
        assert not definitions.knows(beginning)
        assert "no definition" in definitions.why_missing(beginning)


async def test_a_definition_whose_hash_begins_as_another_ones_is_refused_when_it_is_registered(log):
    """Instances that are pinned by the beginning would stop."""
    with hashes(alike):
        definitions = Definitions(log)
        await definitions.register(FIRST)
        with pytest.raises(DefinitionConflictError, match="begins as that of first@1") as refused:
            await definitions.register(OTHER)
        assert "description" in refused.value.remedy
        assert definitions.by_hash("0" * 16).definition == FIRST
        assert (await definitions.register(FIRST)).definition == FIRST


async def test_an_instance_whose_pin_fits_several_definitions_is_set_aside_in_words(log):
    gate = Gate()
    async with started_earlier(log, CHAIN, gate=gate, pin=lambda digest: "0" * 16):
        pass
    second = load_definition(workflow(*steps("c"), name="second"))
    await log.append(DEFINITIONS, 0, [NewRecord(second.reference, encode_definition(second))])
    gate.open.set()
    with hashes(alike):
        async with stage(log, handlers_of(work=gate)) as client:
            view = await client.wait("w", lambda state: state.incident == QUARANTINED, timeout=HANG)
            assert view.status == "paused"
            assert "w@1" in view.reason
            assert "second@1" in view.reason
            assert "bug" not in view.reason
            await client.start("second", {"n": 0}, id="new")  # the partition goes on
            (new,) = await ends(client, "new")
            assert new.output == {"c": {"n": 1}}
            assert "second@1" in (await diagnose(client, "w")).words
            with pytest.raises(CommandRejectedError, match="nobody can tell"):
                await client.rollback("w", to="start")
            with pytest.raises(CommandRejectedError, match="nobody can tell"):
                await client.cancel("w")


async def test_a_finished_instance_whose_pin_fits_several_definitions_is_not_brought_back(log):
    gate = Gate()
    gate.open.set()
    async with started_earlier(log, CHAIN, gate=gate, pin=lambda digest: "0" * 16) as client:
        await ends(client, "w")
    second = load_definition(workflow(*steps("c"), name="second"))
    await log.append(DEFINITIONS, 0, [NewRecord(second.reference, encode_definition(second))])
    with hashes(alike):
        async with stage(log, handlers_of(work=gate)) as client:
            with pytest.raises(CommandRejectedError, match="nobody can tell"):
                await client.rollback("w", to="a")
            assert (await client.get("w")).status == "completed"


async def test_an_archive_holds_the_definitions_of_short_pins_and_of_whole_ones(log, tmp_path):
    gate = Gate()
    gate.open.set()
    async with started_earlier(log, CHAIN, gate=gate) as client:
        await ends(client, "w")
    async with stage(log, handlers_of(work=gate)) as client:
        await client.start("w", {"n": 0}, id="new")
        await ends(client, "new")
        await client.archive(tmp_path / "all.gz", finished_before=1 << 50)
        for instance_id in ("w", "new"):
            archived = Archive(tmp_path / "all.gz").get(instance_id)
            assert archived.definition == load_definition(CHAIN)
            assert archived.view() == await client.get(instance_id)
            assert archived.summary.definition == await pin_of(client, instance_id)
