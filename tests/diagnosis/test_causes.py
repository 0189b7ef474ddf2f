"""Every way in which an instance can be stuck or fail: what ``diagnose`` finds, and what it tells to do."""

import pytest

from stepwell.consumers.engine import deciding
from stepwell.consumers.worker.worker import Worker
from stepwell.diagnosis import diagnose
from stepwell.errors import CommandRejectedError, UnknownInstanceError
from tests.patience import HANG
from tests.workbench import (
    Gate,
    client_on,
    ends,
    handlers_of,
    one_step,
    running,
    send,
    stage,
    start,
    steps,
    until,
    work,
    workflow,
)

HERE = " --log file:x.db"
APPROVAL = {"id": "ask", "type": "approval_gate", "config": {"approvers": ["ann", "bob"], "title": "Buy it?"}}


async def fails(data):
    raise ConnectionError("the server does not answer")


def codes(found):
    return [finding.code for finding in found.findings]


def commands(found):
    return [remedy.command for finding in found.findings for remedy in finding.remedies if remedy.command]


async def begun(client, instance_id="one", name="w", until_state=lambda state: True):
    run = await client.start(name, {"n": 1}, id=instance_id)
    await client.wait(instance_id, until_state, timeout=HANG)
    return run


@pytest.mark.rows("O5", "X7", "X8")
async def test_a_failed_instance_names_step_input_error_traceback_and_every_attempt(log):
    definition = workflow(
        *steps("a"),
        {
            "id": "b", "handler": "fails", "depends_on": ["a"],
            "retry": {"max_attempts": 3, "initial_delay_seconds": 0.01},
        },
        *steps("c", after="b"),
    )  # fmt: skip
    async with stage(log, handlers_of(work=work, fails=fails), definition) as client:
        await client.start("w", {"n": 1}, id="one")
        await ends(client, "one")
        found = await diagnose(client, "one", at=HERE)
    (failed,) = found.findings
    assert (found.status, failed.code, failed.step_id) == ("failed", "failed", "b")
    assert failed.words == 'step "b" failed: ConnectionError: the server does not answer, after 3 attempts'
    assert failed.input == {"n": 2}
    assert "raise ConnectionError" in failed.error.traceback
    assert [(row.step_id, row.attempt, row.status) for row in found.attempts] == [
        ("b", 1, "retried"), ("b", 2, "retried"), ("b", 3, "failed"),
    ]  # fmt: skip
    assert all(row.worker and "does not answer" in row.error for row in found.attempts)
    assert commands(found) == [f"stepwell resume one{HERE}", f"stepwell resume one --skip-failed{HERE}"]
    assert found.blocked == [], "it has ended: nothing waits"


async def test_what_failed_without_engine_and_worker_left_says_how_it_is_run_again(log):
    async with stage(log, handlers_of(fails=fails), workflow({"id": "a", "handler": "fails"})) as client:
        await client.start("w", {}, id="one")
        await ends(client, "one")
    async with client_on(log) as client:
        found = await diagnose(client, "one")
    assert "stepwell run FILE --id one --handlers MODULE" in commands(found)


async def test_a_workflow_that_timed_out_failed_itself(log):
    definition = workflow({"id": "nap", "type": "wait", "config": {"seconds": 60}}, default_timeout_seconds=0.05)
    async with stage(log, None, definition) as client:
        await client.start("w", {}, id="one")
        await ends(client, "one")
        found = await diagnose(client, "one")
    assert codes(found) == ["failed"]
    assert found.words.startswith("the workflow itself failed: WorkflowTimeout: not done after")


async def test_a_step_between_two_attempts_is_retrying(log):
    step = {"id": "a", "handler": "fails", "retry": {"max_attempts": 4, "initial_delay_seconds": 600}}
    async with stage(log, handlers_of(fails=fails), workflow(step, *steps("b", after="a"))) as client:
        await begun(client, until_state=lambda state: "a" in state.steps and state.steps["a"].waits_for == "retry")
        found = await diagnose(client, "one")
        assert codes(found) == ["retrying"]
        assert found.words.startswith(
            'attempt 1 of 4 at step "a" failed: ConnectionError: the server does not answer;'
        )
        assert "the next begins at 20" in found.words
        assert found.findings[0].due > 0
        assert [(blocked.step_id, blocked.waits_for) for blocked in found.blocked] == [("b", {"a": "waiting"})]
        await client.pause("one", "lunch")
        paused = await diagnose(client, "one")
    assert codes(paused) == ["paused", "retrying"]
    assert "none begins while it is paused" in paused.findings[1].words


@pytest.mark.rows("O5")
async def test_no_worker_for_the_queue_names_queue_and_the_queues_that_are_served(log):
    definition = workflow({"id": "a", "handler": "shop.mail.send", "queue": "mail"})
    async with stage(log, handlers_of(work=work), definition) as client:
        await begun(client)
        found = await diagnose(client, "one", at=HERE)
    assert codes(found) == ["no_worker"]
    assert found.words == (
        'step "a" waits in the queue "mail", and no live worker takes from it; the live workers take from default'
    )
    assert commands(found) == [f"stepwell worker --handlers shop.mail --queue mail{HERE}"]


async def test_no_worker_at_all(log):
    async with stage(log, None, one_step()) as client:
        await begun(client)
        found = await diagnose(client, "one")
    assert codes(found) == ["no_worker"]
    assert found.words.endswith("no live worker takes from it: no worker is live")
    assert commands(found) == ["stepwell worker --handlers MODULE"]


@pytest.mark.rows("O5")
async def test_no_worker_with_the_handler_names_the_handler_and_who_lacks_it(log):
    definition = workflow({"id": "a", "handler": "shop.send"})
    async with stage(log, handlers_of(other=work), definition, name="lacking") as client:
        await begun(client, until_state=lambda state: state.steps["a"].waits_for == "worker")
        found = await diagnose(client, "one")
    assert codes(found) == ["no_handler"]
    assert (
        'step "a" needs the handler "shop.send", and no live worker has it: lacking may not import it' in found.words
    )
    assert "it was handed back" in found.words
    assert commands(found) == ["stepwell worker --handlers shop"]


async def test_a_handler_that_nobody_brings_becomes_an_incident_and_a_worker_comes_before_the_resume(
    log, monkeypatch
):
    monkeypatch.setattr("stepwell.core.decide.outcomes.REROUTE_MS", 5)
    monkeypatch.setattr("stepwell.core.decide.outcomes.NO_HANDLER_LIMIT_MS", 50)
    async with stage(log, handlers_of(other=work), workflow({"id": "a", "handler": "shop.send"})) as client:
        await begun(client, until_state=lambda state: state.incident == "no_handler")
        found = await diagnose(client, "one")
    assert (found.findings[0].code, found.findings[0].incident, found.findings[0].step_id) == (
        "incident", "no_handler", "a",
    )  # fmt: skip
    assert commands(found)[:2] == ["stepwell worker --handlers shop", "stepwell resume one"]


async def test_an_incident_whose_handler_a_live_worker_has_by_now_asks_for_the_resume_alone(log, monkeypatch):
    monkeypatch.setattr("stepwell.core.decide.outcomes.REROUTE_MS", 5)
    monkeypatch.setattr("stepwell.core.decide.outcomes.NO_HANDLER_LIMIT_MS", 50)
    async with stage(log, handlers_of(other=work), workflow({"id": "a", "handler": "b"})) as client:
        await begun(client, until_state=lambda state: state.incident == "no_handler")
        async with running(Worker(log, handlers_of(b=work), name="able").run()):
            found = await until(lambda: _able(client))
    assert set(commands(found)) == {"stepwell resume one"}
    assert found.words.endswith("able has the handler now")
    assert all("offered again now" not in finding.words for finding in found.findings)
    assert "is offered again once it is resumed" in found.findings[1].words


async def _able(client):
    found = await diagnose(client, "one")
    return found if "has the handler now" in found.words else None


@pytest.mark.rows("O5")
@pytest.mark.parametrize("kind", ["incident", "approval", "paused"])
async def test_what_waits_for_a_person_comes_before_that_no_engine_is_live(log, kind):
    steps_of = {"incident": {"id": "a", "handler": "fails", "on_failure": "pause"}, "approval": APPROVAL}
    async with stage(log, handlers_of(fails=fails), workflow(steps_of.get(kind, APPROVAL))) as client:
        await begun(client, until_state=lambda state: bool(state.incident) or kind != "incident")
        if kind == "paused":
            await client.pause("one", "lunch")
    async with client_on(log) as client:
        found = await diagnose(client, "one")
    assert codes(found)[0] == kind
    assert "no_engine" in codes(found)[1:]
    assert commands(found)[0].startswith("stepwell approve" if kind == "approval" else "stepwell resume")
    assert "stepwell run" not in commands(found)[0]
    remedies = next(finding.remedies for finding in found.findings if finding.code == "no_engine")
    assert remedies[0].command == "stepwell engine"


async def test_without_an_engine_that_comes_first_and_run_is_told_with_its_handlers(log):
    async with stage(log, None, workflow({"id": "a", "handler": "shop.send"})) as client:
        await begun(client)
    async with client_on(log) as client:
        found = await diagnose(client, "one", at=HERE)
    assert codes(found) == ["no_engine", "no_worker"]
    assert commands(found)[:2] == [f"stepwell run FILE --id one --handlers shop{HERE}", f"stepwell engine{HERE}"]


@pytest.mark.rows("O5")
async def test_an_approval_names_who_may_give_it_who_has_and_what_happens_then(log):
    several = {**APPROVAL, "config": {**APPROVAL["config"], "required": 2, "timeout_seconds": 600}}
    async with stage(log, None, workflow(several, {**APPROVAL, "id": "again"})) as client:
        await begun(client)
        await client.approve("one", "ask", by="ann")
        found = await diagnose(client, "one")
    assert codes(found) == ["approval", "approval"]
    assert found.words.startswith(
        'step "ask" waits for approval by ann or bob; 1 of 2 have approved (ann): Buy it?; until 20'
    )
    assert found.words.endswith("then the step fails")
    assert commands(found)[:2] == [
        "stepwell approve one --step ask --by bob",
        "stepwell reject one --step ask --by bob --comment WHY",
    ]


@pytest.mark.rows("O5")
async def test_a_child_is_named_with_its_own_state_and_why_it_is_there(log):
    child = workflow(APPROVAL, name="child")
    parent = workflow({"id": "sub", "type": "workflow_trigger", "config": {"workflow": "child"}})
    async with stage(log, None, child, parent) as client:
        await begun(client)
        name = (await client.get("one")).steps["sub"].child
        await client.wait(name, lambda state: "ask" in state.steps, timeout=HANG)
        found = await diagnose(client, "one")
    assert codes(found) == ["child"]
    assert found.words.startswith(
        f'step "sub" waits for {name}, which is running: step "ask" waits for approval by ann'
    )
    assert codes(found.children[name]) == ["approval"]
    assert commands(found) == [f"stepwell debug {name}"]


async def test_a_parent_of_a_failed_child_leads_to_the_child(log):
    child = workflow({"id": "bad", "handler": "fails"}, name="child")
    parent = workflow({"id": "sub", "type": "workflow_trigger", "config": {"workflow": "child"}})
    async with stage(log, handlers_of(fails=fails), child, parent) as client:
        await client.start("w", {}, id="one")
        await ends(client, "one")
        found = await diagnose(client, "one")
    (failed,) = found.findings
    assert failed.error.type == "ChildWorkflowFailed"
    assert commands(found)[0] == f"stepwell debug {failed.child}"
    assert found.children[failed.child].words == 'step "bad" failed: ConnectionError: the server does not answer'


async def test_a_sleeping_step_tells_until_when(log):
    async with stage(log, None, workflow({"id": "nap", "type": "wait", "config": {"seconds": 600}})) as client:
        await begun(client)
        found = await diagnose(client, "one")
    assert codes(found) == ["sleeping"]
    assert found.words.startswith('step "nap" sleeps until 20')
    assert found.findings[0].due > found.findings[0].since


@pytest.mark.rows("O5")
async def test_a_pause_names_who_asked_for_it_from_where_and_why(log):
    async with stage(log, None, workflow(APPROVAL)) as client:
        await begun(client)
        await client.acting(by="carol", via="cli desk").pause("one", "price is being checked")
        found = await diagnose(client, "one")
    assert codes(found) == ["paused", "approval"]
    assert found.words == "it was paused by carol (cli desk): price is being checked; no further step starts"
    assert commands(found)[0] == "stepwell resume one"


async def test_a_held_child_names_its_parent_and_the_wait_for_it_what_is_left(log):
    sub = {"id": "sub", "type": "workflow_trigger", "timeout_seconds": 600, "config": {"workflow": "child"}}
    child = workflow(APPROVAL, name="child")
    async with stage(log, None, workflow(sub), child) as client:
        await begun(client)
        await client.wait("one.sub.1", lambda state: "ask" in state.steps, timeout=HANG)
        await client.pause("one", "price is being checked")
        await client.wait("one.sub.1", lambda state: state.held, timeout=HANG)
        held, parent, shown = (
            await diagnose(client, "one.sub.1"),
            await diagnose(client, "one"),
            await client.get("one"),
        )
    assert codes(held) == ["paused", "approval"]
    assert held.words == "it stands still because one, which waits for it, does, and goes on with it"
    assert commands(held)[:2] == ["stepwell debug one", "stepwell resume one.sub.1"]
    assert codes(parent) == ["paused", "child"]
    waits = parent.findings[1]
    assert waits.words.startswith('step "sub" waits for one.sub.1; time stands still while it is paused, ')
    assert " are left" in waits.words
    assert (waits.due, shown.steps["sub"].due) == (None, None)


async def test_a_step_that_pauses_on_failure_is_an_incident_with_its_error_and_input(log):
    step = {"id": "a", "handler": "fails", "on_failure": "pause"}
    async with stage(log, handlers_of(fails=fails), workflow(step)) as client:
        await begun(client, until_state=lambda state: bool(state.incident))
        found = await diagnose(client, "one")
    (incident,) = found.findings
    assert (incident.code, incident.incident, incident.step_id) == ("incident", "step_failed", "a")
    assert incident.error.message == "the server does not answer"
    assert incident.input == {"n": 1}
    assert [row.status for row in found.attempts] == ["failed"]
    assert commands(found) == ["stepwell resume one", "stepwell resume one --skip-failed"]


async def test_a_compensation_that_failed_is_an_incident_of_the_step_that_it_undoes(log):
    first = {"id": "a", "handler": "work", "compensate": {"handler": "fails", "retry": {"max_attempts": 1}}}
    async with stage(log, handlers_of(work=work, fails=fails), workflow(first)) as client:
        await client.start("w", {}, id="one")
        await ends(client, "one")
        await client.rollback("one", "start")
        await client.wait("one", lambda state: bool(state.incident), timeout=HANG)
        found = await diagnose(client, "one")
    assert codes(found) == ["incident", "rolling_back"]
    assert (found.findings[0].incident, found.findings[0].step_id) == ("compensation_failed", "a")


async def test_a_rollback_waits_for_a_worker_that_can_undo(log):
    first = {"id": "a", "handler": "work", "compensate": {"handler": "shop.undo", "queue": "undoing"}}
    async with stage(log, handlers_of(work=work), workflow(first)) as client:
        await client.start("w", {}, id="one")
        await ends(client, "one")
        await client.rollback("one", "start")
        found = await diagnose(client, "one")
    assert codes(found) == ["no_worker", "rolling_back"]
    assert found.words.startswith('undoing step "a" waits in the queue "undoing"')
    assert commands(found)[0] == "stepwell worker --handlers shop --queue undoing"


async def test_a_quarantined_instance_says_that_it_was_a_bug(log, monkeypatch):
    decide = deciding.decide

    def with_a_bug(state, command, circumstances):
        if type(command).__name__ == "CompleteStep":
            raise ZeroDivisionError("of the test")
        return decide(state, command, circumstances)

    monkeypatch.setattr(deciding, "decide", with_a_bug)
    async with stage(log, handlers_of(work=work), one_step()) as client:
        await begun(client, until_state=lambda state: state.incident == "quarantined")
        found = await diagnose(client, "one")
    assert found.findings[0].code == "quarantined"
    assert "a bug in Stepwell: ZeroDivisionError: of the test" in found.words
    assert commands(found)[:2] == ["stepwell resume one", "stepwell cancel one"]


@pytest.mark.rows("O5")
async def test_steps_behind_max_parallel_steps_are_named_with_those_before_them(log):
    gate = Gate()
    definition = workflow(*(steps(f"s{i}")[0] for i in range(3)), max_parallel_steps=1)
    async with stage(log, handlers_of(work=gate), definition, name="busy") as client:
        await begun(client)
        found = await diagnose(client, "one")
        assert codes(found)[-1] == "deferred"
        assert found.findings[-1].words == "s1, s2 could begin, but max_parallel_steps is 1, and under way is s0"
        await client.pause("one")
        paused = await diagnose(client, "one")
        gate.open.set()
    assert paused.findings[-1].words == "s1, s2 could begin, but no step begins while it is paused"


async def test_what_only_waits_is_not_among_the_steps_that_take_the_places(log):
    gate = Gate()
    asked = {"id": "asked", "type": "approval_gate"}
    definition = workflow(asked, *(steps(f"s{i}")[0] for i in range(3)), max_parallel_steps=1)
    async with stage(log, handlers_of(work=gate), definition, name="busy") as client:
        await begun(client)
        found = await diagnose(client, "one")
        gate.open.set()
    assert codes(found)[-1] == "deferred"
    assert found.findings[-1].words == "s1, s2 could begin, but max_parallel_steps is 1, and under way is s0"


async def test_sequential_steps_wait_for_the_one_that_runs(log):
    gate = Gate()
    definition = workflow(*(steps(f"s{i}", mode="sequential")[0] for i in range(3)))
    async with stage(log, handlers_of(work=gate), definition) as client:
        await begun(client)
        found = await diagnose(client, "one")
        gate.open.set()
    assert found.findings[-1].words == (
        "s1, s2 could begin, but sequential steps run one at a time, and s0 is under way"
    )


async def test_a_step_in_the_hands_of_a_worker_is_running_and_names_it_and_its_timeout(log):
    gate = Gate()
    async with stage(log, handlers_of(work=gate), one_step(timeout_seconds=600), name="busy") as client:
        await begun(client)
        before = await diagnose(client, "one")
        assert codes(before) == ["ready"]
        assert before.words.endswith("busy can take it")
        await client.wait("one", lambda state: state.steps["a"].worker == "busy", timeout=HANG)
        found = await diagnose(client, "one")
        gate.open.set()
        await ends(client, "one")
    assert codes(found) == ["running"]
    assert found.words.startswith('step "a" is in the hands of busy for ')
    assert "it may take until 20" in found.words


async def test_a_worker_that_is_gone_is_told_and_who_could_take_over(log):
    gate = Gate()
    async with stage(log, None, one_step()) as client:
        async with running(Worker(log, handlers_of(work=gate), name="mortal").run()):
            await begun(client, until_state=lambda state: state.steps["a"].worker == "mortal")
        await until(lambda: _no_workers(client))
        found = await diagnose(client, "one")
    assert codes(found) == ["worker_gone"]
    assert "mortal" in found.words
    assert "is not live any more: no live worker could take it over" in found.words


async def _no_workers(client):
    return not (await client.live_members()).workers


async def test_all_slots_taken_is_told_once_a_step_has_waited_for_long(log, monkeypatch):
    monkeypatch.setattr("stepwell.diagnosis.steps.TAKEN_LATE_MS", 0)
    gate = Gate()
    async with stage(log, handlers_of(work=gate), one_step(), concurrency=1, name="busy") as client:
        await begun(client, "first", until_state=lambda state: bool(state.steps["a"].worker))
        await begun(client, "second")
        found = await until(lambda: _late(client))
        gate.open.set()
        await ends(client, "first", "second")
    assert "their slots are full" in found.words
    assert commands(found)[0] == "stepwell work --status running"


async def _late(client):
    found = await diagnose(client, "second")
    return found if "it has waited for" in found.words else None


async def test_a_start_that_nobody_has_decided_is_pending(log):
    async with client_on(log) as client:
        await client.register(one_step())
        await client.start("w", {"n": 7}, id="one")
        found = await diagnose(client, "one", at=HERE)
    assert (found.status, codes(found)) == ("pending", ["no_engine"])
    assert found.findings[0].input == {"n": 7}
    assert commands(found) == [f"stepwell run FILE --id one{HERE}", f"stepwell engine{HERE}"]


async def test_a_start_that_has_to_wait_for_its_turn_says_behind_what(log):
    from stepwell.consumers.engine.engine import Engine

    gate = Gate()
    async with client_on(log) as client:
        await client.register(one_step())
        async with running(Engine(log, most_runs=1).run(), Worker(log, handlers_of(work=gate)).run()):
            await until(client.engine_is_live)
            await begun(client, "first")
            await send(log, start("second"), topic="starts")
            found = await until(lambda: _pending(client, "second"))
            gate.open.set()
            await ends(client, "first", "second")
    assert codes(found) == ["pending"]
    assert "its start waits for its turn: an engine takes starts as long as fewer than 1 steps" in found.words
    assert "stepwell work --status ready" in commands(found)


async def _pending(client, instance_id):
    found = await diagnose(client, instance_id)
    return found if found.status == "pending" else None


async def test_a_start_that_was_refused_says_why(log):
    definition = one_step()
    definition["input_schema"] = {"type": "object", "required": ["n"]}
    async with stage(log, None, definition) as client:
        with pytest.raises(CommandRejectedError):
            await client.start("w", {}, id="one")
        found = await diagnose(client, "one")
    assert (found.status, codes(found)) == ("rejected", ["rejected"])
    assert "its start was rejected: input: 'n' is a required property" in found.words


async def test_one_that_completed_has_nothing_wrong_with_it(log):
    async with stage(log, handlers_of(work=work), one_step()) as client:
        await client.start("w", {}, id="one")
        await ends(client, "one")
        found = await diagnose(client, "one")
    assert codes(found) == ["completed"]
    assert found.words == "it has completed; nothing is wrong"


async def test_one_that_was_cancelled_says_by_whom_and_why(log):
    async with stage(log, None, workflow(APPROVAL)) as client:
        await begun(client)
        await client.acting(by="dan").cancel("one", "ordered twice")
        found = await diagnose(client, "one")
    assert codes(found) == ["cancelled"]
    assert found.words == "it was cancelled by dan: ordered twice"


async def test_an_unknown_id_leads_to_the_list(log):
    async with client_on(log) as client:
        with pytest.raises(UnknownInstanceError) as caught:
            await diagnose(client, "nobody")
    assert "stepwell list" in caught.value.remedy


async def test_a_rollback_that_waits_for_the_end_of_a_pause_says_so(log):
    async with stage(log, None, workflow(APPROVAL | {"on_failure": "rollback"})) as client:
        await begun(client, until_state=lambda state: "ask" in state.steps)
        await client.pause("one", "a freeze")
        await client.reject("one", "ask", by="ann", comment="too dear")
        await client.wait("one", lambda state: state.ending is not None, timeout=HANG)
        found = await diagnose(client, "one")
        assert codes(found) == ["paused", "ending"]
        assert found.findings[1].words.startswith("it is rolled back and fails once it is resumed: ApprovalRejected")
        await client.resume("one")
        await ends(client, "one")
