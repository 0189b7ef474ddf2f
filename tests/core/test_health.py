"""The score of a workflow's health, computed as the page about it says, and the alerts that follow."""

from __future__ import annotations

import contextlib
import io
import itertools
import math
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from stepwell.projections.alerts import alerts
from stepwell.projections.health_score import FEW, NOTHING_YET, WEIGHTS, Observation, health, is_few, level_of

PAGE = (Path(__file__).resolve().parents[2] / "docs/health.md").read_text(encoding="utf-8")
WELL = Observation(
    workflow="order", version="3", completed=100, mean_seconds=21, p50_seconds=20, p95_seconds=28, expected_seconds=30,
    step_runs=500, slots=16, slots_used=4,
)  # fmt: skip


def worked():
    """The rows of the page's table: an observation, and what comes out."""
    rows = PAGE.partition("## Worked numbers")[2].partition("\n\n|")[2].partition("\n\n")[0].splitlines()[2:]
    for row in rows:
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        given, shown = cells[:9], cells[10:]
        completed, failed, incidents, p50, expected, runs, errors, used, waiting = (
            0.0 if cell == "-" else float(cell) for cell in given
        )
        seen = Observation(
            workflow="w", completed=int(completed), failed=int(failed), incidents=int(incidents), p50_seconds=p50,
            expected_seconds=expected, step_runs=int(runs), step_errors=int(errors), slots=16, slots_used=int(used),
            waiting=int(waiting > 0), oldest_ready_seconds=waiting,
        )  # fmt: skip
        parts = [None if cell == "-" else float(cell) for cell in shown[:4]]
        yield pytest.param(seen, parts, int(shown[4]), shown[5], id=f"{shown[4]}-{shown[5]}")


@pytest.mark.rows("O7", "O8")
@pytest.mark.parametrize(("seen", "parts", "score", "level"), list(worked()))
def test_the_worked_numbers_of_the_page_are_what_is_computed(seen, parts, score, level):
    found = health(seen)
    assert [part.score for part in found.parts] == parts
    assert (found.score, found.level) == (score, level)


def test_the_page_shows_enough_and_names_every_weight_and_every_code():
    assert len(list(worked())) >= 6
    weights = dict(re.findall(r"^\| ([a-z]+) \| (\d+) \| \w", PAGE, re.MULTILINE))
    assert weights == {name: str(weight) for name, weight in WEIGHTS.items()}
    assert sum(WEIGHTS.values()) == 100
    codes = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))
    machinery = {
        "no_engine",
        "no_owner",
        "read_models_behind",
        "read_models_stopped",
        "no_log",
    }  # stepwell.diagnosis.overview's
    assert codes - machinery == {alert.code for seen in TROUBLES.values() for alert in alerts([seen])}


def test_the_program_on_the_page_prints_what_the_page_shows():
    program = re.search(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)[1]
    shown = re.search(r"^```console\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)[1]
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(program, {})
    assert printed.getvalue() == shown


@pytest.mark.rows("O8")
@pytest.mark.parametrize(
    ("score", "level"), [(0, "critical"), (49, "critical"), (50, "warning"), (69, "warning"), (70, "healthy")]
)
def test_the_levels_begin_where_they_are_said_to(score, level):
    assert level_of(score) == level


def test_what_has_not_run_is_healthy_and_raises_nothing():
    for seen in (Observation(workflow="w"), Observation(workflow="w", slots=8, slots_used=8, expected_seconds=3)):
        found = health(seen)
        assert (found.score, found.level, found.words) == (100, "healthy", NOTHING_YET)
        assert alerts([seen]) == []


def test_what_is_well_is_said_to_be():
    found = health(WELL)
    assert (found.score, found.words) == (100, "all that is known of it is well")
    assert alerts([WELL]) == []


def test_cancellations_are_nobody_s_failure():
    assert health(replace(WELL, cancelled=1_000)).score == 100


def test_the_words_name_what_is_worst():
    slow = replace(WELL, p50_seconds=90.0)
    assert health(slow).words == "time: half of the instances took 90 s or less, 30 s are expected"
    assert health(replace(slow, failed=100)).words.startswith("success: 100 of 200 instances failed (50%)")


def test_full_workers_are_no_trouble_while_nothing_waits():
    full = replace(WELL, slots_used=16)
    assert health(full).level == "healthy"
    assert alerts([full]) == []


TROUBLES = {
    "failing": replace(WELL, failed=20),
    "error_prone": replace(WELL, step_errors=150, retries=150),
    "incidents": replace(WELL, incidents=2),
    "slow": replace(WELL, p50_seconds=61.0),
    "slow_tail": replace(WELL, p95_seconds=151.0),
    "waiting_long": replace(WELL, waiting=3, oldest_ready_seconds=61.0),
    "no_worker": replace(WELL, slots=0, slots_used=0, waiting=3),
    "workers_full": replace(WELL, slots_used=16, waiting=3),
    "unhealthy": replace(WELL, failed=10, step_errors=120),
}


@pytest.mark.rows("O8")
@pytest.mark.parametrize("code", TROUBLES)
def test_each_trouble_raises_its_alert_which_says_what_to_do(code):
    (alert,) = [alert for alert in alerts([TROUBLES[code]]) if alert.code == code]
    assert alert.message
    assert alert.remedy.endswith(".")
    assert (alert.workflow, alert.version) == (("", "") if code in ("no_worker", "workers_full") else ("order", "3"))


@pytest.mark.parametrize(
    ("code", "warns", "critical"),
    [
        ("failing", replace(WELL, completed=61, failed=39), replace(WELL, completed=60, failed=40)),
        ("error_prone", replace(WELL, step_errors=249), replace(WELL, step_errors=250)),
        ("slow", replace(WELL, p50_seconds=149.0), replace(WELL, p50_seconds=150.0)),
        (
            "waiting_long",
            replace(WELL, waiting=1, oldest_ready_seconds=599.0),
            replace(WELL, waiting=1, oldest_ready_seconds=600.0),
        ),
    ],
)
def test_an_alert_becomes_critical_where_the_page_says(code, warns, critical):
    levels = [next(a.level for a in alerts([seen]) if a.code == code) for seen in (warns, critical)]
    assert levels == ["warning", "critical"]


def test_alerts_come_in_one_order_with_the_critical_first_and_workers_are_told_of_once():
    seen = [
        replace(TROUBLES[code], workflow=workflow)
        for code in ("failing", "workers_full", "error_prone")
        for workflow in ("b", "a")
    ]
    seen.append(replace(TROUBLES["slow"], p50_seconds=900.0, workflow="z"))
    orders = {tuple(alerts(order)) for order in itertools.islice(itertools.permutations(seen), 0, 5_040, 97)}
    assert len(orders) == 1
    (found,) = orders
    assert found[0].level == "critical"
    assert found[0].workflow == "z"
    assert [alert.level for alert in found] == sorted(alert.level for alert in found)  # c before w
    assert [alert.message for alert in found if alert.code == "workers_full"] == [
        "all 16 slots of the workers are in use, and 6 runs wait"
    ]


numbers = st.integers(-3, 10**9)
seconds = st.floats(allow_nan=True, allow_infinity=True)
observations = st.builds(
    Observation,
    workflow=st.just("w"),
    version=st.just("1"),
    **{
        name: seconds if name.endswith("seconds") else numbers
        for name in Observation.__struct_fields__
        if name not in ("workflow", "version")
    },
)


@given(observations)
def test_whatever_was_seen_there_is_a_score_and_it_lies_between_the_worst_part_and_the_best(seen):
    found = health(seen)
    known = [part.score for part in found.parts if part.score is not None]
    assert all(0 <= score <= 100 for score in known)
    assert 0 <= found.score <= 100
    if known and found.words != NOTHING_YET:
        assert math.floor(min(known)) <= found.score <= math.ceil(max(known))
    assert found.level == level_of(found.score)
    assert found.score >= 50 or not is_few(seen)
    assert all(alert.level in ("warning", "critical") for alert in alerts([seen]))


@given(observations, st.integers(1, 1_000))
def test_more_failures_never_make_it_healthier(seen, more):
    if health(seen).words != NOTHING_YET and seen.failed >= 0 and seen.completed + seen.failed > 0:
        assert health(replace(seen, failed=seen.failed + more)).score <= health(seen).score


@pytest.mark.rows("O8")
def test_a_version_of_which_few_instances_have_finished_is_a_warning_at_worst():
    bad = Observation(workflow="w", completed=1, failed=1, step_runs=2, step_errors=1)
    assert (health(bad).score, health(bad).level) == (50, "warning"), "a score that fits its level"
    assert {part.name: part.score for part in health(bad).parts}["success"] == 0, "what was seen is not made better"
    assert [(alert.code, alert.level) for alert in alerts([bad])] == [("failing", "warning")]
    enough = replace(bad, failed=FEW - 1)
    assert (health(enough).score, health(enough).level) == (0, "critical")
    assert [(alert.code, alert.level) for alert in alerts([enough])] == [("failing", "critical")]


@pytest.mark.rows("O8")
def test_one_cause_is_told_once_unless_the_vaguer_alert_is_the_worse_one():
    def told(**seen):
        return {(alert.code, alert.level) for alert in alerts([replace(WELL, **seen)])}

    assert told(failed=100, step_errors=300) == {("failing", "critical")}
    assert told(failed=20, step_errors=300) == {("failing", "warning"), ("error_prone", "critical")}
    assert told(p50_seconds=300.0) == {("slow", "critical")}
    assert told(failed=60) == {("failing", "warning"), ("unhealthy", "critical")}, "37 % take the score below 50"


@pytest.mark.parametrize(
    ("failed", "incidents", "filters"),
    [(20, 0, "--status failed`"), (0, 20, "--status paused`"), (20, 20, "--status failed --status paused`")],
)
def test_failing_names_the_filter_that_shows_what_failed(failed, incidents, filters):
    found = alerts([replace(WELL, failed=failed, incidents=incidents)])
    remedy = next(alert.remedy for alert in found if alert.code == "failing")
    assert remedy.startswith(f"`stepwell list {filters} shows them")
