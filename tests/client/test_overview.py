"""Health, alerts and the overview, as the client finds them on a real log."""

import asyncio
import time

import pytest

from stepwell.client.client import Client
from stepwell.consumers.reading.live_members import LiveMembers, LiveWorker
from stepwell.diagnosis.overview import _observations, _workers, alerts_of, health_of, overview_of
from stepwell.log.port import EVENTS, NewRecord
from stepwell.projections.filters import FilterError
from stepwell.projections.health_score import health
from stepwell.projections.projector import Projector
from stepwell.projections.recent import Recent, UnderWay
from stepwell.projections.statistics import Durations, WorkflowStatistics
from tests.patience import HANG
from tests.workbench import (
    Gate,
    client_on,
    ends,
    handlers_of,
    one_step,
    send,
    stage,
    start,
    steps,
    until,
    work,
    workflow,
)


async def fails(data):
    raise ConnectionError("the server does not answer")


def part(report, name):
    return next(part for part in report.parts if part.name == name)


async def test_a_log_on_which_nothing_has_run_is_healthy_without_engine_and_worker(log):
    async with client_on(log) as client:
        report = await health_of(client, fresh=True)
        assert await alerts_of(client) == []
    assert report.level == "healthy"
    assert [part.name for part in report.parts] == ["log", "engines", "workers", "read_models"]
    assert "nothing waits" in part(report, "engines").words


@pytest.mark.rows("O7", "O8")
async def test_workflows_have_scores_of_what_they_did_and_the_worst_comes_first(log):
    bad = workflow({"id": "a", "handler": "fails"}, name="bad")
    async with stage(log, handlers_of(work=work, fails=fails), one_step(), bad) as client:
        for number in range(5):
            await client.start("w", {}, id=f"good-{number}")
            await client.start("bad", {}, id=f"bad-{number}")
        await ends(client, *(f"{kind}-{number}" for kind in ("good", "bad") for number in range(5)))
        report = await health_of(client, fresh=True)
        found = await alerts_of(client)
    assert [(one.workflow, one.score, one.level) for one in report.workflows] == [
        ("bad", 10, "critical"), ("w", 100, "healthy"),
    ]  # fmt: skip
    assert report.level == "critical"
    assert all(part.level == "healthy" for part in report.parts)
    assert {alert.code for alert in found} == {"failing"}
    assert all(alert.level == "critical" and alert.workflow == "bad" for alert in found)


@pytest.mark.rows("O8")
async def test_instances_without_an_engine_and_steps_without_a_worker_are_critical(log, monkeypatch):
    monkeypatch.setattr("stepwell.diagnosis.overview.TAKEN_MS", 0)
    async with stage(log, None, one_step()) as client:
        await client.start("w", {}, id="one")
        await client.wait("one", lambda state: "a" in state.steps, timeout=HANG)
        found = await until(lambda: alerts_of(client, fresh=True))  # once the step is a millisecond old
        assert [(alert.code, alert.level) for alert in found if not alert.workflow] == [("no_worker", "critical")]
        assert part(await health_of(client), "workers").level == "critical"
    async with client_on(log) as client:
        assert part(await health_of(client, fresh=True), "engines").code == "no_engine"
        assert {alert.code for alert in await alerts_of(client)} >= {"no_engine", "no_worker"}


async def test_a_start_that_nobody_decides_waits_for_an_engine(log):
    async with client_on(log) as client:
        await send(log, start("one"), topic="starts")
        assert part(await health_of(client, fresh=True), "engines").level == "critical"


@pytest.mark.rows("O7")
def test_time_is_measured_against_what_is_usual_and_slots_against_what_is_used():
    took = Durations(count=200, average=2.0, p50=2.0, p95=3.0, p99=4.0)
    all_time = WorkflowStatistics(workflow="w", version="1", total=200, completed=200, duration=took)
    lately = Recent(completed=4, milliseconds=24_000, attempts=10, errors=1, durations=[4.0, 5.0, 7.0, 8.0])
    members = LiveMembers([], [LiveWorker("x", "x", ["default"], 8, [], [])], 1, [0])
    now = 1_000_000
    busy = {("w", "1"): UnderWay(running=6, ready=3, late=2, oldest=now - 30_000)}
    (seen,) = _observations([all_time], {("w", "1"): lately}, busy, members, now)
    assert (seen.expected_seconds, seen.p50_seconds, seen.p95_seconds, seen.mean_seconds) == (2.0, 5.0, 8.0, 6.0)
    assert (seen.slots, seen.slots_used, seen.waiting, seen.oldest_ready_seconds) == (8, 6, 2, 30.0)
    assert (seen.step_runs, seen.step_errors) == (10, 1)
    assert (
        "half of the instances took 5 s or less, 2 s are expected"
        in {p.name: p for p in health(seen).parts}["time"].words
    )
    few = _observations(
        [WorkflowStatistics(workflow="w", version="1", total=3, duration=Durations(count=3, p50=1.0))],
        {("w", "1"): lately}, {}, members, now,
    )  # fmt: skip
    assert few[0].expected_seconds == 0, "of three instances nobody knows what is usual"


async def test_versions_that_neither_ran_lately_nor_are_live_have_no_score():
    old = WorkflowStatistics(workflow="w", version="1", total=5, completed=5)
    assert _observations([old], {}, {}, LiveMembers([], [], 1, []), 0) == []


@pytest.mark.rows("O5", "O7")
async def test_the_overview_counts_lists_the_work_and_the_last_errors(log):
    gate = Gate()
    bad = workflow({"id": "a", "handler": "fails"}, name="bad")
    async with stage(log, handlers_of(work=gate, fails=fails), one_step(), bad) as client:
        await client.start("bad", {}, id="broken")
        await ends(client, "broken")
        await client.start("w", {}, id="busy")
        await client.wait("busy", lambda state: bool(state.steps["a"].worker), timeout=HANG)
        found = await overview_of(client, fresh=True)
        gate.open.set()
        await ends(client, "busy")
    assert found.statuses == {"running": 1, "paused": 0, "completed": 0, "failed": 1, "cancelled": 0}
    assert found.steps == {"running": 1, "ready": 0, "waiting": 0}
    assert [(one.instance_id, one.step_id, one.status) for one in found.work] == [("busy", "a", "running")]
    assert [(one.instance_id, one.step_id, one.kind) for one in found.errors] == [("broken", "a", "ConnectionError")]
    assert found.lag.records == 0


async def test_what_was_just_registered_is_found_by_its_tag(log, monkeypatch):
    copy = Projector.copy_definitions

    async def slowly(self, definitions):
        await asyncio.sleep(0.2)
        await copy(self, definitions)

    monkeypatch.setattr(Projector, "copy_definitions", slowly)
    async with stage(log, handlers_of(work=work), workflow(*steps("a"), tags=["daily"])) as client:
        await client.start("w", {}, id="one")
        await ends(client, "one")
        page, total = await client.instances(tag="daily")
    assert (total, [row.instance_id for row in page]) == (1, ["one"])


@pytest.mark.parametrize("limit", [0, -1, 1_001])
async def test_a_limit_that_is_none_is_refused_everywhere(log, limit):
    async with client_on(log) as client:
        for ask in (client.views.work, client.views.errors, client.views.audit, client.instances):
            with pytest.raises(FilterError, match="1 to 1,000"):
                await ask(limit=limit)
        with pytest.raises(FilterError, match="nothing under way has the status"):
            await client.views.work(status="completed")


async def test_an_error_of_a_step_that_fails_its_workflow_is_told_once(log):
    step = {"id": "a", "handler": "fails", "retry": {"max_attempts": 2, "initial_delay_seconds": 0.01}}
    async with stage(log, handlers_of(fails=fails), workflow(step)) as client:
        await client.start("w", {}, id="one")
        await ends(client, "one")
        found = await client.views.errors("one")
    assert [(one.step_id, one.kind) for one in found] == [("a", "ConnectionError")] * 2, "one for each attempt"


async def test_read_models_that_cannot_be_kept_are_critical_and_the_rest_is_told_all_the_same(log, tmp_path):
    (tmp_path / "taken").write_text("a file")
    client = Client(log, views=tmp_path / "taken")
    try:
        report = await health_of(client, fresh=True)
        found = await alerts_of(client)
    finally:
        await client.views.models.close()
    assert part(report, "log").level == "healthy"
    assert part(report, "read_models").level == "critical"
    assert [alert.code for alert in found] == ["read_models_stopped"]


async def test_a_log_that_cannot_be_read_is_critical(open_log):
    log = await open_log(partitions=1)
    client = Client(log)
    await log.close()
    report = await health_of(client)
    assert (report.level, report.parts[0].name, report.parts[0].level) == ("critical", "log", "critical")
    assert [alert.code for alert in await alerts_of(client)] == ["no_log"]


async def test_lag_tells_how_long_the_oldest_record_waits_not_how_long_nothing_had_happened(log):
    async with stage(log, handlers_of(work=work), one_step()) as client:
        await client.start("w", {}, id="one")
        await ends(client, "one")
        async with client.views.asking(fresh=True) as queries:
            assert (await client.views.models.lag()).seconds == 0.0
            last = (await queries.all("SELECT max(at) FROM positions"))[0][0]
    async with client_on(log) as client:  # nothing follows from here on
        models = client.views.models
        models.start = _nothing
        models._opened.set()
        await until(lambda: time.time() * 1000 > last + 300)
        await log.append(EVENTS, 0, [NewRecord("one", b"{}", {"kind": "nothing"})])
        lag = await models.lag()
    assert lag.records >= 1
    idle = time.time() - last / 1000
    assert lag.seconds + 0.29 < idle, "the record came long after the last event: that pause is no lag"


async def _nothing():
    pass


async def test_steps_in_the_hands_of_workers_are_counted_against_their_slots(log):
    gate = Gate()
    async with stage(log, handlers_of(work=gate), one_step(), concurrency=3) as client:
        await client.start("w", {}, id="one")
        await client.wait("one", lambda state: bool(state.steps["a"].worker), timeout=HANG)
        report = await health_of(client, fresh=True)
        gate.open.set()
        await ends(client, "one")
    assert part(report, "workers").words == "1 is live; steps in their hands: 1 of 3"


@pytest.mark.rows("O8")
def test_a_step_in_the_hands_of_a_worker_that_died_is_critical_while_no_worker_is_live():
    nobody = LiveMembers([], [], 1, [])
    found = _workers(nobody, {("w", "1"): UnderWay(running=1)})
    assert (found.level, found.code) == ("critical", "no_worker")
    assert found.words == "none is live, and steps are in the hands of workers that are gone: 1"
    both = _workers(nobody, {("w", "1"): UnderWay(running=1, ready=2, late=2)})
    assert "steps wait for one: 2, and steps are in the hands" in both.words
    assert _workers(nobody, {("w", "1"): UnderWay(waiting=3)}).level == "healthy", "people and time need no worker"
