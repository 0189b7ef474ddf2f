"""How well a workflow does: a score from 0 to 100, what it is made of, and what somebody should do about it.

The formula stands, with worked numbers, in ``docs/health.md``; a test computes what is shown there. It wants to be
checked with a pencil, so every part is a straight line between two points, and the score is

    (the weighted mean of the parts that are known + the worst of them) / 2

The mean alone would hide one bad part behind three good ones: where every second instance fails quickly, on idle
workers, all is well but the one thing that matters.
"""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

Level = Literal["healthy", "warning", "critical"]

CRITICAL_BELOW: Final = 50
WARNING_BELOW: Final = 70

# Where each part is 100, and where it is 0; the same numbers say from where on an alert is raised.
FAILED_WORST: Final = 0.4  # share of instances that failed: two in five
SLOW_BEST, SLOW_WORST = 1.0, 5.0  # times the expected duration
ERRORS_WORST: Final = 0.5  # share of attempts that failed: every second one
USE_BEST, USE_AT_FULL = 0.8, 70.0  # share of the slots in use; the part where all are: full is no trouble by itself
WAIT_BEST, WAIT_WORST = 10.0, 600.0  # seconds that the oldest ready run has waited for a worker

WEIGHTS: Final = {"success": 40, "time": 25, "errors": 20, "resources": 15}

FEW: Final = 5  # finished instances below which shares say little: until then no score is critical

NOTHING_YET: Final = "nothing has run yet"


class Observation(Struct, frozen=True, kw_only=True):
    """What was seen of one version of a workflow in a window of time.

    Attributes:
        completed, failed, cancelled: Instances that ended in the window, each way.
        running, paused: Instances that are so now.
        mean_seconds, p50_seconds, p95_seconds: How long those took that completed in the window; 0 without any.
        expected_seconds: How long they should take; 0 where nobody has said.
        step_runs: Attempts of steps that ended in the window,
        step_errors: those of them that failed,
        retries: and those of these that another attempt followed.
        incidents: Instances that wait for a person now, since something went wrong.
        slots_used: Steps in the hands of workers now, of all workflows.
        slots: How many they can have in hand; 0 where no worker is live.
        waiting: Runs of this workflow that are ready and in no worker's hands.
        oldest_ready_seconds: How long the oldest of them has waited.
    """

    workflow: str
    version: str = ""
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    running: int = 0
    paused: int = 0
    mean_seconds: float = 0.0
    p50_seconds: float = 0.0
    p95_seconds: float = 0.0
    expected_seconds: float = 0.0
    step_runs: int = 0
    step_errors: int = 0
    retries: int = 0
    incidents: int = 0
    slots_used: int = 0
    slots: int = 0
    waiting: int = 0
    oldest_ready_seconds: float = 0.0


class Part(Struct, frozen=True):
    """One thing that the score is made of.

    Attributes:
        name: ``success``, ``time``, ``errors`` or ``resources``.
        score: 0 to 100, to one decimal; None where nothing is known, and then it does not count.
        weight: Of the four together 100.
        words: What it comes from.
    """

    name: str
    score: float | None
    weight: int
    words: str


class Health(Struct, frozen=True):
    """How well one version of a workflow does.

    Attributes:
        score: 0 to 100; of fewer than 5 finished instances 50 at worst.
        level: What the score stands for: ``critical`` below 50, ``warning`` below 70, else ``healthy``.
        words: Why, in one sentence.
    """

    workflow: str
    version: str
    score: int
    level: Level
    parts: tuple[Part, ...]
    words: str


def health(seen: Observation) -> Health:
    """The health of one version of a workflow.

    Where nothing is known it is 100: what has not run has not failed.
    """
    parts = (_success(seen), _time(seen), _errors(seen), _resources(seen))
    known = [(part.score, part) for part in parts if part.score is not None]
    if not known or not _has_run(seen):
        return Health(seen.workflow, seen.version, 100, "healthy", parts, NOTHING_YET)
    weights = sum(part.weight for _, part in known)
    mean = sum(score * part.weight for score, part in known) / weights
    worst, part = min(known, key=lambda one: (one[0], -one[1].weight))
    score = int((mean + worst) / 2 + 0.5)
    words = f"{part.name}: {part.words}" if worst < 100 else "all that is known of it is well"
    if is_few(seen):
        score = max(score, CRITICAL_BELOW)
    return Health(seen.workflow, seen.version, score, level_of(score), parts, words)


def level_of(score: float) -> Level:
    """The level that a score stands for."""
    return "critical" if score < CRITICAL_BELOW else "warning" if score < WARNING_BELOW else "healthy"


def is_few(seen: Observation) -> bool:
    """Whether so few instances have finished that one more could change everything; open incidents count."""
    return sum(map(_count, (seen.completed, seen.failed, seen.cancelled, seen.incidents))) < FEW


def failed_share(seen: Observation) -> float | None:
    """The share of instances that failed, incidents among them; None where none has come to an end."""
    bad = _count(seen.failed) + _count(seen.incidents)
    ended = _count(seen.completed) + bad
    return bad / ended if ended else None


def error_share(seen: Observation) -> float | None:
    """The share of attempts that failed; None where there was none."""
    runs = _count(seen.step_runs)
    return min(1.0, _count(seen.step_errors) / runs) if runs else None


def slowness(seen: Observation, seconds: float) -> float | None:
    """A duration in times of the expected one; None where one of them is not known."""
    return seconds / seen.expected_seconds if seen.expected_seconds > 0 and seen.completed > 0 else None


def _has_run(seen: Observation) -> bool:
    return any(
        count > 0
        for count in (
            seen.completed, seen.failed, seen.cancelled, seen.running, seen.paused, seen.step_runs, seen.incidents,
            seen.waiting,
        )
    )  # fmt: skip


def _success(seen: Observation) -> Part:
    share = failed_share(seen)
    if share is None:
        return _part("success", None, "no instance has completed or failed")
    bad = _count(seen.failed) + _count(seen.incidents)
    words = f"{bad:,} of {bad + _count(seen.completed):,} instances failed ({share:.0%})"
    if seen.incidents > 0:
        words += f", {seen.incidents:,} of them wait for a person"
    return _part("success", _falls(share, 0.0, FAILED_WORST), words)


def _time(seen: Observation) -> Part:
    if seen.expected_seconds <= 0:
        return _part("time", None, "nobody has said how long it should take")
    times = slowness(seen, seen.p50_seconds)
    if times is None:
        return _part("time", None, "no instance has completed")
    words = f"half of the instances took {seen.p50_seconds:g} s or less, {seen.expected_seconds:g} s are expected"
    return _part("time", _falls(times, SLOW_BEST, SLOW_WORST), words)


def _errors(seen: Observation) -> Part:
    share = error_share(seen)
    if share is None:
        return _part("errors", None, "no step has run")
    words = f"{_count(seen.step_errors):,} of {seen.step_runs:,} attempts failed ({share:.0%})"
    if seen.retries > 0:
        words += f", {seen.retries:,} were tried again"
    return _part("errors", _falls(share, 0.0, ERRORS_WORST), words)


def _resources(seen: Observation) -> Part:
    if seen.slots <= 0:
        if seen.waiting > 0:
            return _part("resources", 0.0, f"no worker is live, and {_runs(seen.waiting)} for one")
        if seen.slots_used > 0:
            return _part("resources", None, "no worker is live, and those that had steps in hand are gone")
        return _part("resources", None, "no worker is live, and nothing waits for one")
    use = min(1.0, _count(seen.slots_used) / seen.slots)
    score = 100 - (100 - USE_AT_FULL) * max(0.0, use - USE_BEST) / (1 - USE_BEST)
    words = f"{_count(seen.slots_used):,} of {seen.slots:,} slots of the workers are in use"
    if seen.waiting > 0:
        score = min(score, _falls(seen.oldest_ready_seconds, WAIT_BEST, WAIT_WORST))
        words += f", {_runs(seen.waiting)}, the oldest for {max(0.0, seen.oldest_ready_seconds):.0f} s"
    return _part("resources", score, words)


def _runs(waiting: int) -> str:
    return "1 run waits" if waiting == 1 else f"{waiting:,} runs wait"


def _part(name: str, score: float | None, words: str) -> Part:
    return Part(name, None if score is None else round(score, 1), WEIGHTS[name], words)


def _falls(value: float, best: float, worst: float) -> float:
    """100 up to ``best``, 0 from ``worst`` on, and a straight line between them."""
    return 100 * min(1.0, max(0.0, (worst - value) / (worst - best)))


def _count(number: int) -> int:
    return max(0, number)
