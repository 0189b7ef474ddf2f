"""Levels of a gate: each asks people of its own, and counts what they say and nothing else."""

from __future__ import annotations

from stepwell.schemas.records.step_waits import ApprovalRequired
from tests.core.build import started, statuses
from tests.core.test_approvals import approve, gate


def test_votes_of_one_level_count_for_nothing_at_the_next():
    engine = started(
        gate(approvers=["ann", "bob"], required=2, timeout_seconds=60, escalate_to=[["cy", "dot"], ["ann", "eve"]])
    )
    approve(engine, "ann")
    engine.wait(60)
    approve(engine, "cy")
    assert statuses(engine) == {"gate": "waiting"}, "one vote of each level is not two of one"
    engine.wait(60)
    assert [asked.level for asked in engine.of(ApprovalRequired)] == [1, 2, 3]
    approve(engine, "ann")  # she is asked anew, so she speaks anew
    assert statuses(engine) == {"gate": "waiting"}
    approve(engine, "eve")
    assert engine.latest.status == "completed"
    assert [vote["by"] for vote in engine.latest.steps["gate"].output["approvals"]] == ["ann", "eve"]
