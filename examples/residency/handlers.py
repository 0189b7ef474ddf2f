"""The steps of the schedule workflow: what reads, what writes, and what the next step is told.

A handler takes the step's input, a dict, and returns its output, a dict. The input holds the workflow's input and
over it the outputs of the steps that this one depends on. Each step here adds one key of its own, so nothing is
overwritten: ``intake``, ``schedule``, ``verdict``, ``findings``, ``staffing``, ``released``, ``escalation``.

Handlers may run more than once: after a crash, a timeout, a retry. So each of them writes the same bytes to the same
place when it is run again, in one atomic move, and puts large data into files: only path, checksum and summary go
through the log. The place is named after the contents of the input files, so two runs over different rosters never
share a file.
"""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any, Protocol

from examples.residency import analysis, report
from examples.residency.audit import audit
from examples.residency.model import (
    InputError,
    Period,
    Program,
    Resident,
    Rules,
    digest,
    read_period,
    read_program,
    read_roster,
    read_rules,
    write_atomically,
)
from examples.residency.planner import plan_schedule
from examples.residency.schedule_file import Duty, read_schedule, to_csv

Data = dict[str, Any]

LISTED = 20  # findings that go through the log as examples; all of them are in the files


class CancelledError(RuntimeError):
    """The workflow was cancelled, or the step timed out, while a handler was at work."""


class Context(Protocol):
    """What these handlers use of what they are given as second argument: a ``stepwell.StepContext``."""

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for this run any more."""

    def heartbeat(self, progress: Any = None) -> None:
        """Tell the engine that a long step lives, and people how far it is."""


def validate(data: Data) -> Data:
    """Read every input file once, so that what is wrong with them is known before any work is done.

    Returns:
        ``intake``: counts, warnings, and the folder for this input's files.

    Raises:
        InputError: A file does not say what it should. The workflow does not retry it.
    """
    period, program, rules, residents = _inputs(data)
    if sum(resident.senior for resident in residents) == 0:
        raise InputError(f"{data['roster']}: nobody is PGY-2 or above, so nobody can supervise")
    for resident in residents:
        unknown = [name for name in resident.prefers if name not in program.rotations]
        if unknown:
            raise InputError(f"{data['roster']}: {resident.id} prefers an unknown rotation: {unknown[0]!r}")
    heads = sum(rotation.heads for rotation in program.rotations.values())
    away = Counter(day for resident in residents for day in resident.leave)
    present = len(residents) - max(away.values(), default=0)
    warnings = [f"{present} residents are there at the worst, for {heads} places"] if present < heads else []
    seed = _seed(data)
    identity = digest([data["roster"], data["program"], data["rules"]], period.start, period.days, seed)
    return {
        "intake": {
            "residents": len(residents),
            "by_pgy": {f"PGY-{pgy}": n for pgy, n in sorted(Counter(r.pgy for r in residents).items())},
            "days": period.days,
            "shifts": sum(s.needed(period.date(d)) for s in program.shifts for d in range(period.days)),
            "rules": len(rules.rules),
            "warnings": warnings,
            "folder": str(Path(data["output_dir"]) / identity[:12]),
        }
    }


def generate(data: Data, ctx: Context) -> Data:
    """Plan the whole period and write it to a file: the long step of this workflow.

    Returns:
        ``schedule``: path and checksum of the file, and what a person wants to know of it.
    """
    period, program, rules, residents = _inputs(data)

    def progress(phase: str, done: int, of: int) -> None:
        ctx.heartbeat({"phase": phase, "done": done, "of": of})
        if ctx.cancelled:  # a thread cannot be stopped from outside; it has to ask
            raise CancelledError(f"cancelled at {done} of {of} {phase}")

    plan = plan_schedule(program, rules, residents, period, _seed(data), progress)
    path = Path(data["intake"]["folder"]) / "schedule.csv"
    sha256 = write_atomically(path, to_csv(plan.assignments, residents, period))
    return {
        "schedule": {
            "path": str(path),
            "sha256": sha256,
            "assignments": len(plan.assignments),
            "required": sum(a.required for a in plan.assignments),
            "uncovered": plan.uncovered,
            "overrides": sum(bool(a.strict) for a in plan.assignments),
            "wishes": {"kept": plan.wishes_kept[0], "asked": plan.wishes_kept[1]},
        }
    }


def check_compliance(data: Data, ctx: Context) -> Data:
    """Check every duty-hour rule for every resident on the file, by other means than it was made by.

    Returns:
        ``verdict``: whether it is compliant (no rule that says *must* is broken), and violations by rule.
    """
    period, program, rules, residents = _inputs(data)

    def progress(done: int, of: int) -> None:
        if done % 8 == 0:
            ctx.heartbeat({"phase": "audit", "done": done, "of": of})

    violations = audit(_duties(data), residents, program, rules, period, progress)
    path = Path(data["intake"]["folder"]) / "violations.csv"
    sha256 = write_atomically(path, report.violations_csv(violations))
    counts = Counter(violation.rule for violation in violations)
    return {
        "verdict": {
            "compliant": not any(counts[rule.id] for rule in rules.rules if rule.severity == "must"),
            "violations": len(violations),
            "by_rule": {rule.id: counts[rule.id] for rule in rules.rules},
            "residents": len({violation.resident for violation in violations}),
            "path": str(path),
            "sha256": sha256,
        }
    }


def find_conflicts(data: Data) -> Data:
    """Double bookings, work during leave, shifts without enough people.

    Returns:
        ``findings``: whether there are none, how many of each kind, and the first few.
    """
    period, program, _, residents = _inputs(data)
    conflicts = analysis.find_conflicts(_duties(data), residents, program, period)
    counts = Counter(conflict.kind for conflict in conflicts)
    kinds = ("double_booking", "leave_overlap", "uncovered_shift", "unknown_resident")
    return {
        "findings": {
            "clean": not conflicts,
            "by_kind": {kind: counts[kind] for kind in kinds},
            "examples": [f"{c.date} {c.kind}: {c.who}, {c.detail}" for c in conflicts[:LISTED]],
        }
    }


def measure_resilience(data: Data, ctx: Context) -> Data:
    """How many residents may be absent at once, on every day of the year, and where it breaks first.

    Returns:
        ``staffing``: the weakest day of every week, and how often each shift is among the first to give way.
    """
    period, program, rules, residents = _inputs(data)

    def progress(done: int, of: int) -> None:
        ctx.heartbeat({"phase": "resilience", "done": done, "of": of})

    days = analysis.measure_resilience(_duties(data), residents, program, rules, period, progress)
    tolerances = Counter(min(day.tolerance, 3) for day in days)
    bottlenecks = Counter(shift for day in days for shift in day.bottleneck)
    return {
        "staffing": {
            "days_by_tolerance": {("3 or more" if k == 3 else str(k)): tolerances[k] for k in range(4)},
            "bottlenecks": dict(sorted(bottlenecks.items(), key=lambda item: (-item[1], item[0]))),
            "weeks": analysis.by_week(days),
        }
    }


def publish(data: Data) -> Data:
    """Write a calendar file for each resident. Only a schedule without fault gets here.

    Returns:
        ``released``: the folder and how many calendars are in it.
    """
    period, _, _, residents = _inputs(data)
    folder = Path(data["intake"]["folder"]) / "calendars"
    duties = _duties(data)
    for resident in residents:
        own = [duty for duty in duties if duty.resident == resident.id]
        write_atomically(folder / f"{resident.id}.ics", report.calendar(resident, own, period))
    return {"released": {"folder": str(folder), "calendars": len(residents)}}


def unpublish(data: Data) -> Data:
    """Undo ``publish`` when the workflow is rolled back: its input is what ``publish`` returned."""
    folder = Path(data["released"]["folder"])
    shutil.rmtree(folder, ignore_errors=True)
    return {"withdrawn": str(folder)}


def escalate(data: Data) -> Data:
    """The other way: instead of calendars, a list of what the programme's director has to decide.

    Returns:
        ``escalation``: the path of the list, and the questions in short.
    """
    broken = {rule: n for rule, n in data["verdict"]["by_rule"].items() if n}
    questions = [f"{rule}: {n} violations" for rule, n in broken.items()]
    questions += [f"{kind}: {n}" for kind, n in data["findings"]["by_kind"].items() if n]
    path = Path(data["intake"]["folder"]) / "to_decide.md"
    write_atomically(path, report.to_decide(data, questions))
    return {"escalation": {"path": str(path), "questions": questions}}


def notify(data: Data) -> Data:
    """Write the report for people, and say where it is.

    ``released`` or ``escalation`` is missing from the input, whichever step was skipped.
    """
    period, program, rules, residents = _inputs(data)
    text = report.markdown(data, _duties(data), residents, program, rules, period)
    path = Path(data["intake"]["folder"]) / "report.md"
    write_atomically(path, text)
    status = "compliant" if "released" in data else "not compliant"
    return {"status": status, "report": str(path), "message": report.headline(data)}


def explain_failure(data: Data) -> Data:
    """Leave a note where the report would have been. Runs only when the step that it handles has failed for good.

    The engine adds ``failed_step`` and ``error`` (``type``, ``message``, …) to the input of such a step.
    """
    path = Path(data["output_dir"]) / f"failed-{data['failed_step']}.md"
    error = data["error"]
    reason = f"Step `{data['failed_step']}` failed with {error['type']}:\n\n> {error['message']}"
    write_atomically(path, f"# No schedule\n\n{reason}\n")
    return {"note": str(path)}


def _inputs(data: Data) -> tuple[Period, Program, Rules, list[Resident]]:
    try:
        period = read_period(data)
        return period, read_program(data["program"]), read_rules(data["rules"]), read_roster(data["roster"], period)
    except KeyError as error:
        raise InputError(f"the workflow's input has no {error}") from None
    except FileNotFoundError as error:
        raise InputError(f"{error.filename}: no such file; paths are relative to where stepwell runs") from None


def _seed(data: Data) -> int:
    return int(data.get("seed", 0))


def _duties(data: Data) -> list[Duty]:
    return read_schedule(data["schedule"]["path"], data["schedule"]["sha256"])
