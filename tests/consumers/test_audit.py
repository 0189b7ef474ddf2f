"""The log says who asked for what, however the command came to be answered, and when the command is long gone."""

import pytest

from stepwell.client.connect import connect
from stepwell.consumers.engine import deciding
from stepwell.errors import CommandRejectedError, SenderError
from stepwell.log.partitioner import partition_for
from stepwell.log.port import COMMANDS, DEFINITIONS, EVENTS, STARTS, NewRecord
from stepwell.schemas.records.audit import audit_definition, audit_transition
from stepwell.schemas.records.codec import encode
from stepwell.schemas.records.commands import ApproveStep, CancelWorkflow, PauseWorkflow
from stepwell.schemas.records.events import ApprovalDecided, CommandNoted, WorkflowStarted
from tests.cost import lines
from tests.patience import HANG
from tests.workbench import (
    Claimant,
    accepted,
    client_on,
    ends,
    events_of,
    handlers_of,
    one_step,
    running,
    stage,
    start,
    steps,
    until,
    whole_history,
    work,
    workflow,
)

HANDLERS = handlers_of(work=work)
CHAIN = workflow(*steps("a", "b"))
SLEEPY = workflow({"id": "sleep", "type": "wait", "config": {"seconds": 60}}, name="sleepy")
GATE = workflow({"id": "gate", "type": "approval_gate", "config": {"title": "Buy?", "required": 2}}, name="gate")
ANN = {"by": "ann", "via": "kcat"}


async def audit(log):
    """Every entry of the log, in order for each partition."""
    return [
        entry
        for partition in range(log.partitions)
        for record, transition in await accepted(log, partition)
        if (entry := audit_transition(record.headers, transition, partition=partition, offset=record.offset))
    ]


async def told(log):
    return [(entry.instance_id, entry.by, entry.via, entry.command, entry.outcome) for entry in await audit(log)]


@pytest.mark.rows("O13")
async def test_commands_followed_noted_and_rejected_name_their_sender_and_workers_are_nobody(log):
    async with stage(log, HANDLERS, CHAIN, SLEEPY) as client:
        ann = client.acting(by="ann", via="http 10.0.0.7")
        bob = client.acting(by="bob")
        await (await ann.start("w", id="one")).result(timeout=HANG)
        await bob.start("sleepy", id="two")
        await ann.pause("two", reason="lunch")
        await ann.pause("two")
        await bob.resume("two")
        with pytest.raises(CommandRejectedError):
            await client.acting(via="cron").cancel("none")
        await client.cancel("two")
    found = await audit(log)
    assert [(e.instance_id, e.by, e.via, e.command, e.outcome) for e in found] == [
        ("one", "ann", "http 10.0.0.7", "StartWorkflow", "followed"),
        ("two", "bob", "", "StartWorkflow", "followed"),
        ("two", "ann", "http 10.0.0.7", "PauseWorkflow", "followed"),
        ("two", "ann", "http 10.0.0.7", "PauseWorkflow", "noted"),
        ("two", "bob", "", "ResumeWorkflow", "followed"),
        ("none", "", "cron", "CancelWorkflow", "rejected"),
    ]
    assert found[2].message == "lunch"
    (cancelled,) = [r for r, t in await accepted(log) if t.events[0].__struct_config__.tag == "workflow.cancelled"]
    assert not {"by", "via", "command", "command_id"} & set(cancelled.headers), "nobody was named: not a byte more"


async def test_the_id_of_the_answer_is_that_of_the_command(log):
    async with stage(log, HANDLERS, CHAIN) as client:
        await client.acting(by="ann").start("w", id="one")
    (entry,) = await audit(log)
    started = events_of(await whole_history(log), WorkflowStarted)[0][1]
    assert entry.command_id == started.command_id != ""


async def test_who_approves_is_whom_the_client_acts_for_unless_another_is_named(log):
    async with stage(log, HANDLERS, GATE) as client:
        await client.start("gate", id="x")
        ann = client.acting(by="ann", via="http")
        await until(lambda: waits(ann))
        await ann.approve("x")
        await ann.approve("x", by="bob", comment="for Bob")
        await ends(client, "x")
    decided = [event.by for _, event in events_of(await whole_history(log), ApprovalDecided)]
    assert decided == ["ann", "bob"]
    assert [(e.by, e.command, e.message) for e in await audit(log)] == [
        ("ann", "ApproveStep", ""),
        ("ann", "ApproveStep", "for Bob"),
    ]


async def waits(client):
    return (await client.get("x")).steps["gate"].status == "waiting"


async def test_the_sender_outlives_the_command(open_log):
    log = await open_log(partitions=1)
    async with stage(log, HANDLERS, CHAIN) as client:
        await (await client.acting(by="ann").start("w", id="one")).result(timeout=HANG)
        await client.acting(by="ann").start("w", id="one")
        for topic in (STARTS, COMMANDS):
            await log.delete_before(topic, 0, await log.end(topic, 0))
    later = await open_log()
    assert [record.offset for record in await later.read(STARTS, 0, 0)] == [1], "the newest record stays"
    assert [one[1:2] + one[3:] for one in await told(later)] == [
        ("ann", "StartWorkflow", "followed"),
        ("ann", "StartWorkflow", "noted"),
    ]


@pytest.mark.parametrize("topic", [STARTS, COMMANDS])
async def test_a_stray_is_answered_in_its_sender_s_name_once_and_where_it_belongs(open_log, topic):
    log = await open_log(partitions=3)
    home = partition_for("order-1", 3)
    async with stage(log, HANDLERS, CHAIN) as client:
        stray = NewRecord("", encode(start("order-1", command_id="c-1")), ANN)
        await log.append(topic, (home + 1) % 3, [stray])
        await ends(client, "order-1")
        history = await whole_history(log)
    assert len(events_of(history, CommandNoted)) == 1
    (entry,) = await audit(log)
    assert (entry.by, entry.via, entry.command, entry.command_id) == ("ann", "kcat", "StartWorkflow", "c-1")
    assert entry.partition == home


async def test_who_approves_is_named_once_though_the_approval_was_a_stray(open_log):
    log = await open_log(partitions=2)
    async with stage(log, HANDLERS, GATE) as client:
        await client.start("gate", id="x")
        await until(lambda: waits(client))
        stray = NewRecord("x", encode(ApproveStep("x", by="bob", command_id="c-1")))
        await log.append(COMMANDS, 1 - partition_for("x", 2), [stray])
        await until(lambda: noted(log))
        await client.approve("x", by="ann")
        await ends(client, "x")
    assert [(entry.by, entry.partition) for entry in await audit(log)] == [
        ("bob", partition_for("x", 2)),
        ("ann", partition_for("x", 2)),
    ]


async def noted(log):
    history = await whole_history(log)
    return events_of(history, CommandNoted) and events_of(history, ApprovalDecided)


async def test_a_start_that_is_taken_ahead_of_its_turn_keeps_its_sender_and_so_does_who_made_it_so(log):
    async with client_on(log) as client:
        await client.register(CHAIN)
    claimant = Claimant(log)
    claimant.admission.changed(10**9)
    await log.append(STARTS, 0, [NewRecord(name, encode(start(name)), {"by": f"by-{name}"}) for name in "abc"])
    await log.append(COMMANDS, 0, [NewRecord("b", encode(CancelWorkflow("b", command_id="x")), ANN)])
    async with running(claimant.run()):
        await until(lambda: "b" in claimant.confirmed.finished)
    other = Claimant(log)  # which takes the others in their turn
    async with running(other.run()):
        await other.idle()
    assert sorted(await told(log)) == [
        ("a", "by-a", "", "StartWorkflow", "followed"),
        ("b", "ann", "kcat", "CancelWorkflow", "followed"),
        ("b", "by-b", "", "StartWorkflow", "followed"),
        ("c", "by-c", "", "StartWorkflow", "followed"),
    ]


async def test_what_was_asked_of_a_former_owner_is_answered_by_the_next_in_the_same_name(log):
    async with client_on(log) as client:
        await client.register(SLEEPY)
    first = Claimant(log)
    await log.append(COMMANDS, 0, [NewRecord("x", encode(start("x", "sleepy")), ANN)])
    async with running(first.run()):
        await first.idle()
    await log.append(COMMANDS, 0, [NewRecord("x", encode(PauseWorkflow("x", command_id="p")), {"by": "bob"})])
    second = Claimant(log)
    async with running(second.run()):
        await second.idle()
    assert [(by, command) for _, by, _, command, _ in await told(log)] == [
        ("ann", "StartWorkflow"),
        ("bob", "PauseWorkflow"),
    ]


async def test_a_command_that_meets_a_bug_is_answered_in_its_sender_s_name(log, monkeypatch):
    decide = deciding.decide

    def with_a_bug(state, command, circumstances):
        if isinstance(command, CancelWorkflow):
            raise ZeroDivisionError("a bug")
        return decide(state, command, circumstances)

    monkeypatch.setattr(deciding, "decide", with_a_bug)
    async with stage(log, HANDLERS, SLEEPY) as client:
        await client.start("sleepy", id="x")
        with pytest.raises(CommandRejectedError):
            await client.acting(by="ann").cancel("x")
    assert await told(log) == [("x", "ann", "", "CancelWorkflow", "rejected")]


async def test_headers_of_strangers_are_tidied_and_others_are_not_copied(log):
    headers = {"by": "eve\x1b[2J\n" * 100, "epoch": "99", "kind": "claim", "traceparent": "00-1"}
    async with stage(log, HANDLERS, one_step()) as client:
        await log.append(COMMANDS, 0, [NewRecord("x", encode(start("x", command_id="c\n")), headers)])
        await ends(client, "x")
    (entry,) = await audit(log)
    assert len(entry.by) == 200
    assert entry.by.startswith(r"eve\x1b[2J eve\x1b[2J ")
    assert entry.command_id == "c"
    assert all("traceparent" not in record.headers for record in await log.read(EVENTS, 0, 0))


async def test_definitions_say_who_registered_and_switched_them(log):
    async with client_on(log) as client:
        ann = client.acting(by="ann", via="http 10.0.0.7")
        await ann.register(CHAIN)
        await client.acting(by="bob").deactivate("w", "1", reason="too slow")
        await client.activate("w", "1")
        await client.acting(by="bob").activate("w", "1")  # it is active already: nothing happens
    found = [
        audit_definition(r.key, r.value, r.headers, at=r.timestamp, partition=0, offset=r.offset)
        for r in await log.read(DEFINITIONS, 0, 0)
    ]
    assert [entry and (entry.by, entry.via, entry.command, entry.definition, entry.message) for entry in found] == [
        ("ann", "http 10.0.0.7", "RegisterDefinition", "w@1", ""),
        ("bob", "", "DeactivateVersion", "w@1", "too slow"),
        None,
    ]


async def test_a_view_shares_all_but_the_sender_with_its_client(log):
    async with stage(log, HANDLERS, CHAIN) as client:
        ann = client.acting(by="ann", via="http 10.0.0.7")
        assert (ann.log, ann.registry, ann.subscriber) == (client.log, client.registry, client.subscriber)
        assert client.sender == ("", "")
        assert ann.acting(by="bob").sender == ("bob", "http 10.0.0.7")
        assert ann.acting(by="").sender == ("", "http 10.0.0.7")
        run = await ann.start("w", id="one")
        assert (await client.get("one")).workflow == "w"
        await run.result(timeout=HANG)
        with pytest.raises(SenderError, match="by: has 201 characters"):
            client.acting(by="x" * 201)


async def test_connect_names_whom_its_client_acts_for_and_refuses_what_is_no_name_before_it_opens_anything(tmp_path):
    url = f"file:{tmp_path / 'new.db'}"
    with pytest.raises(SenderError, match="via: has control characters"):
        async with connect(url, via="two\nlines"):
            pass
    assert not (tmp_path / "new.db").exists()
    async with connect(url, handlers=HANDLERS, by="ann", via="cli build-7") as client:
        await client.register(CHAIN)
        await (await client.start("w", id="one")).result(timeout=HANG)
        assert await told(client.log) == [("one", "ann", "cli build-7", "StartWorkflow", "followed")]


async def test_acting_for_another_costs_some_lines_of_code(log):
    async with client_on(log) as client:
        client.acting(by="user", via="http 10.0.0.7")
        assert lines(lambda: client.acting(by="user-1", via="http 10.0.0.7")) < 100
