"""What somebody should look at, from what was seen of all workflows; ``docs/health.md`` lists the codes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, Literal

from msgspec import Struct

from stepwell.projections.health_score import (
    ERRORS_WORST,
    FAILED_WORST,
    SLOW_WORST,
    WAIT_WORST,
    Health,
    Level,
    Observation,
    Part,
    error_share,
    failed_share,
    health,
    is_few,
    slowness,
)

FAILING: Final = 0.1  # share of instances that failed
ERROR_PRONE: Final = 0.25  # share of attempts that failed
SLOW: Final = 2.0  # times the expected duration
WAITING_LONG: Final = 60.0  # seconds

_ORDER: Final[dict[Level, int]] = {"critical": 0, "warning": 1, "healthy": 2}


class Alert(Struct, frozen=True):
    """Something that somebody should look at.

    Attributes:
        code: A stable word for programs.
        workflow: Empty where it concerns all of them; likewise
        version: its version.
        message: What was seen.
        remedy: What to do.
    """

    code: str
    level: Literal["warning", "critical"]
    workflow: str
    version: str
    message: str
    remedy: str


def alerts(observations: Iterable[Observation]) -> list[Alert]:
    """What somebody should look at: the critical first, then by workflow, version and code.

    Args:
        observations: One for each version of each workflow, all of the same moment.
    """
    seen = list(observations)
    found = [*_of_workers(seen), *(alert for one in seen for alert in _of_workflow(one))]
    return sorted(found, key=lambda alert: (_ORDER[alert.level], alert.workflow, alert.version, alert.code))


def _of_workers(seen: list[Observation]) -> Iterator[Alert]:
    """Alerts that concern all workflows: workers are shared."""
    waiting = sum(max(0, one.waiting) for one in seen)
    if not waiting:
        return
    slots, used = max(one.slots for one in seen), max(one.slots_used for one in seen)
    runs = "1 run waits" if waiting == 1 else f"{waiting:,} runs wait"
    if slots <= 0:
        yield Alert(
            "no_worker",
            "critical",
            "",
            "",
            f"no worker is live, and {runs}",
            "Start one: `stepwell worker --handlers MODULE`.",
        )
    elif used >= slots:
        yield Alert(
            "workers_full",
            "warning",
            "",
            "",
            f"all {slots:,} slots of the workers are in use, and {runs}",
            "Start another `stepwell worker`, or give them a larger `--concurrency` where steps mostly wait.",
        )


def _of_workflow(seen: Observation) -> list[Alert]:
    """The alerts of one version; of those that tell the same, the one that tells most precisely what it is."""
    state = health(seen)
    found = {alert.code: alert for alert in _of_parts(seen, state)}

    def is_told(code: str, level: Level) -> bool:
        return code in found and _ORDER[found[code].level] <= _ORDER[level]

    # Where instances fail, the attempts that failed are why.
    if "error_prone" in found and is_told("failing", found["error_prone"].level):
        del found["error_prone"]
    worst = min(
        (part for part in state.parts if part.score is not None),
        key=lambda part: (part.score, -part.weight),
        default=None,
    )
    codes = _TOLD_BY[worst.name] if worst is not None else ()
    if state.level != "healthy" and not any(is_told(code, state.level) for code in codes):
        found["unhealthy"] = Alert(
            "unhealthy",
            state.level,
            seen.workflow,
            seen.version,
            f"its health is {state.score} of 100; {state.words}",
            "See what is worst among its parts: `stepwell health`.",
        )
    return list(found.values())


_TOLD_BY: Final = {
    "success": ("failing",),
    "time": ("slow",),
    "errors": ("error_prone", "failing"),
    "resources": ("waiting_long",),
}


def _of_parts(seen: Observation, state: Health) -> Iterator[Alert]:
    few = is_few(seen)

    def alert(code: str, message: str, remedy: str, *, critical: bool = False) -> Alert:
        return Alert(code, "critical" if critical else "warning", seen.workflow, seen.version, message, remedy)

    failed = failed_share(seen)
    if failed is not None and failed >= FAILING:
        yield alert(
            "failing",
            _words(state.parts, "success"),
            f"`stepwell list {_statuses(seen)}` shows them; `stepwell resume ID` goes on at the step that failed.",
            critical=failed >= FAILED_WORST and not few,
        )
    errors = error_share(seen)
    if errors is not None and errors >= ERROR_PRONE:
        yield alert(
            "error_prone",
            _words(state.parts, "errors"),
            "See the errors of its steps: `stepwell status ID`. What they need may be away, or too slow.",
            critical=errors >= ERRORS_WORST and not few,
        )
    if seen.incidents > 0:
        number = "1 instance waits" if seen.incidents == 1 else f"{seen.incidents:,} instances wait"
        yield alert(
            "incidents",
            f"{number} for a person",
            "`stepwell list --status paused` shows them, `stepwell status ID` says why; then `stepwell resume ID`.",
        )
    usual, longest = slowness(seen, seen.p50_seconds), slowness(seen, seen.p95_seconds)
    if usual is not None and usual >= SLOW:
        yield alert(
            "slow",
            _words(state.parts, "time"),
            "`stepwell status ID` shows what each step took. Expect more, if that is what it takes.",
            critical=usual >= SLOW_WORST and not few,
        )
    elif longest is not None and longest >= SLOW_WORST:
        yield alert(
            "slow_tail",
            f"one in twenty took {seen.p95_seconds:g} s or more, {seen.expected_seconds:g} s are expected",
            "Compare a slow instance with a fast one: `stepwell status ID` shows what each step took.",
        )
    if seen.waiting > 0 and seen.slots > 0 and seen.oldest_ready_seconds >= WAITING_LONG:
        yield alert(
            "waiting_long",
            f"a step has been ready for {seen.oldest_ready_seconds:.0f} s, and no worker has taken it",
            "`stepwell workers` shows whether any serves its queue and has its handler, and how many slots are free.",
            critical=seen.oldest_ready_seconds >= WAIT_WORST,
        )


def _statuses(seen: Observation) -> str:
    """What lists the instances that count as failed: an open incident is paused."""
    return " ".join([
        *(["--status failed"] if seen.failed > 0 else []), *(["--status paused"] if seen.incidents > 0 else []),
    ])  # fmt: skip


def _words(parts: Iterable[Part], name: str) -> str:
    return next(part.words for part in parts if part.name == name)
