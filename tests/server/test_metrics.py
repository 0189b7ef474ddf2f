from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from stepwell.projections.counting import bucket_of
from stepwell.projections.totals import BOUNDS, cumulated
from stepwell.server.access import Role
from tests.server.conftest import fine, registered
from tests.workbench import one_step, until, workflow


async def scraped(http, **more):
    """Every sample by its name and labels."""
    answer = await http.get("/metrics", **more)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def key(name, **labels):
    return (name, *sorted(labels.items()))


@pytest.mark.rows("D4")
async def test_metrics_count_instances_steps_work_and_requests(http, gate):
    await registered(http, one_step())
    await registered(http, workflow({"id": "a", "handler": "fail", "retry": {"max_attempts": 2, "initial_delay_seconds": 0}},
                                    name="bad"))  # fmt: skip
    await registered(http, workflow({"id": "a", "handler": "gate"}, name="slow"))
    for name in ("w", "w", "bad"):
        fine(await http.post("/v1/instances?wait=20", json={"workflow": name}), 201)
    fine(await http.post("/v1/instances", json={"workflow": "slow", "id": "slow"}), 201)
    await until(lambda: gate.runs["slow", "a"])
    fine(await http.get("/v1/lag?fresh=true"))
    assert (await http.get("/v1/nothing/at/all")).status_code == 404
    found = await scraped(http)
    of = {"workflow": "w", "version": "1"}
    assert found[key("stepwell_instances", **of, status="completed")] == 2
    assert found[key("stepwell_instances", workflow="slow", version="1", status="running")] == 1
    assert found[key("stepwell_instances_started_total", **of)] == 2
    assert found[key("stepwell_instances_completed_total", **of)] == 2
    assert found[key("stepwell_instances_failed_total", workflow="bad", version="1")] == 1
    assert found[key("stepwell_step_attempts_total", **of, outcome="succeeded")] == 2
    assert found[key("stepwell_step_attempts_total", workflow="bad", version="1", outcome="failed")] == 1
    assert found[key("stepwell_step_attempts_total", workflow="bad", version="1", outcome="retried")] == 1
    assert found[key("stepwell_instance_seconds_count", **of)] == 2
    assert found[key("stepwell_instance_seconds_bucket", **of, le="86400.0")] == 2
    assert found[key("stepwell_instance_seconds_sum", **of)] > 0
    assert sum(value for name, value in found.items() if name[0] == "stepwell_work") == 1
    assert found[key("stepwell_read_models_lag_records")] == 0
    assert (found[key("stepwell_engines")], found[key("stepwell_workers")]) == (1, 1)
    assert found[key("stepwell_worker_slots")] > 0
    assert not [name for name in found if ("workflow", "") in name[1:]], (
        "workers are counted beside, not as a workflow"
    )
    assert found[key("stepwell_up")] == 1
    route = {"route": "/v1/instances", "method": "POST"}
    assert found[key("stepwell_http_requests_total", **route, status="201")] == 4
    assert found[key("stepwell_http_request_seconds_count", **route)] == 4
    assert found[key("stepwell_http_requests_total", route="unknown", method="GET", status="404")] == 1
    assert found[key("process_cpu_seconds_total")] > 0


async def test_paths_and_methods_that_strangers_make_up_are_no_labels(http):
    for number in range(5):
        await http.get(f"/v1/instances/made-up-{number}")
        await http.get(f"/made-up-{number}")
        await http.request("PROPFIND", "/v1/lag")
    found = await scraped(http)
    labels = {value for name in found if name[0].startswith("stepwell_http") for _, value in name[1:]}
    assert not [value for value in labels if "made-up" in value or "PROPFIND" in value]
    assert found[key("stepwell_http_requests_total", route="/v1/instances/{instance_id}", method="GET", status="404")] \
        == 5  # fmt: skip


async def test_a_counter_never_falls_when_what_had_ended_is_resumed(http, gate):
    await registered(http, workflow({"id": "a", "handler": "gate"}))
    gate.fails.add(("one", "a"))
    fine(await http.post("/v1/instances", json={"workflow": "w", "id": "one"}), 201)
    gate.open.set()
    fine(await http.get("/v1/instances/one/result?wait=20"))
    fine(await http.get("/v1/lag?fresh=true"))
    failed, of = "stepwell_instances_failed_total", {"workflow": "w", "version": "1"}
    assert (await scraped(http))[key(failed, **of)] == 1
    gate.open.clear()
    fine(await http.post("/v1/instances/one/resume"))
    fine(await http.get("/v1/lag?fresh=true"))
    found = await scraped(http)
    assert found[key("stepwell_instances", **of, status="failed")] == 0
    assert found[key(failed, **of)] == 1


async def test_metrics_are_told_while_the_log_is_away(http, log, monkeypatch):
    async def away(*_args, **_more):
        raise TimeoutError

    monkeypatch.setattr(log, "members", away)
    found = await scraped(http)
    assert found[key("stepwell_up")] == 0
    assert found[key("process_cpu_seconds_total")] > 0


@pytest.mark.rows("O13")
async def test_a_monitor_reads_health_and_metrics_and_nothing_else(guarded, tokens):
    monitor = tokens[1][Role.MONITOR]
    assert (await scraped(guarded, headers=monitor))[key("stepwell_up")] == 1
    fine(await guarded.get("/v1/health", headers=monitor))
    assert (await guarded.get("/v1/instances", headers=monitor)).status_code == 403
    assert (await guarded.get("/metrics")).status_code == 401


def test_durations_are_cumulated_at_each_bound():
    buckets = {bucket_of(milliseconds): 1 for milliseconds in (1, 200, 7_000, 90_000_000)}
    counts = dict(zip((*BOUNDS, "all"), cumulated(buckets, BOUNDS), strict=True))
    assert (counts[0.01], counts[0.1], counts[0.25], counts[10.0], counts[86_400.0], counts["all"]) == (
        1,
        1,
        2,
        3,
        3,
        4,
    )
