"""Texts for people and their calendars. Everything here is a pure function of its arguments."""

from __future__ import annotations

import csv
import datetime as dt
import io
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from examples.residency.audit import Violation
from examples.residency.model import Period, Program, Resident, Rules
from examples.residency.schedule_file import Duty


def violations_csv(violations: Iterable[Violation]) -> str:
    """All violations, one a line."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("rule", "resident", "first", "last", "detail"))
    for v in violations:
        writer.writerow((v.rule, v.resident, v.first, v.last, v.detail))
    return text.getvalue()


def calendar(resident: Resident, duties: Sequence[Duty], period: Period) -> str:
    """One resident's year as an iCalendar file (RFC 5545: lines end in CRLF, times without zone are local)."""
    stamp = f"{period.start:%Y%m%d}T000000Z"  # when it was made would differ from run to run
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//Stepwell//residency example//EN"]
    for duty in duties:
        lines += [
            "BEGIN:VEVENT",
            f"UID:{resident.id}-{duty.start:%Y%m%dT%H%M}@residency.example",
            f"DTSTAMP:{stamp}",
            f"DTSTART:{duty.start:%Y%m%dT%H%M%S}",
            f"DTEND:{duty.free_at:%Y%m%dT%H%M%S}",
            f"SUMMARY:{duty.shift.replace('_', ' ')}",
            "END:VEVENT",
        ]
    return "\r\n".join([*lines, "END:VCALENDAR", ""])


def headline(data: dict[str, Any]) -> str:
    """The result in one sentence."""
    verdict, weeks = data["verdict"], data["staffing"]["weeks"]
    open_shifts = data["findings"]["by_kind"]["uncovered_shift"]
    weak = sum(week["tolerance"] == 0 for week in weeks)
    if "released" in data:
        said = f"published for {data['released']['calendars']} residents: every shift covered, no rule broken"
    else:
        said = f"not compliant: {verdict['violations']} violations, {open_shifts} shifts without enough people"
    return f"{said}; {weak} of {len(weeks)} weeks have a day without slack"


def to_decide(data: dict[str, Any], questions: Sequence[str]) -> str:
    """What a person has to settle before a schedule like this could be published."""
    lines = [
        "# To decide",
        "",
        "The schedule was not published. It needs more people, fewer shifts, or less leave:",
        "",
    ]
    lines += [f"- {question}" for question in questions]
    lines += [f"- {warning}" for warning in data["intake"]["warnings"]]
    return "\n".join([*lines, "", f"Every violation is in `{data['verdict']['path']}`.", ""])


def markdown(
    data: dict[str, Any],
    duties: Sequence[Duty],
    residents: Sequence[Resident],
    program: Program,
    rules: Rules,
    period: Period,
) -> str:
    """The whole report."""
    schedule, verdict, findings = data["schedule"], data["verdict"], data["findings"]
    wishes = schedule["wishes"]
    lines = [
        f"# {program.name}: {period.start} to {period.date(period.days - 1)}",
        "",
        f"**{headline(data)}.**",
        "",
        f"{len(residents)} residents, {schedule['assignments']} shifts, {schedule['required']} of them required.",
        f"{wishes['kept']} of {wishes['asked']} days off that were asked for could be given.",
        *(f"Warning: {warning}." for warning in data["intake"]["warnings"]),
        "",
        "## Duty-hour rules",
        "",
        *_table(
            ("rule", "binding", "reference", "violations"),
            ((r.id, r.severity, r.reference, verdict["by_rule"][r.id]) for r in rules.rules),
        ),
        "",
        "## Conflicts",
        "",
        *_table(("kind", "found"), findings["by_kind"].items()),
        "",
        *(f"- {example}" for example in findings["examples"]),
        "",
        "## Absences that the schedule survives",
        "",
        "Any so many residents may be absent on one day, and others can stand in within all rules.",
        "",
        *_table(("absences", "days"), data["staffing"]["days_by_tolerance"].items()),
        "",
        *_table(("among the first to give way", "days"), data["staffing"]["bottlenecks"].items()),
        "",
        *_table(
            ("week from", "tolerance", "weakest day", "bottleneck"),
            (
                (w["week"], w["tolerance"], w["weakest_day"], ", ".join(w["bottleneck"]))
                for w in data["staffing"]["weeks"]
            ),
        ),
        "",
        "## Residents",
        "",
        *_table(
            ("id", "name", "PGY", "hours a week", "nights", "calls", "weekend shifts"),
            _by_resident(duties, residents, program, period),
        ),
    ]
    return "\n".join([*lines, ""])


def _by_resident(
    duties: Sequence[Duty], residents: Sequence[Resident], program: Program, period: Period
) -> Iterable[tuple[Any, ...]]:
    nights = {shift.id for shift in program.shifts if shift.night}
    calls = {shift.id for shift in program.shifts if shift.call}
    count: dict[str, Counter[str]] = defaultdict(Counter)
    worked: dict[str, dt.timedelta] = defaultdict(dt.timedelta)
    for duty in duties:
        own = count[duty.resident]
        own["nights"] += duty.shift in nights
        own["calls"] += duty.shift in calls
        own["weekends"] += duty.weekend
        worked[duty.resident] += duty.free_at - duty.start
    for r in residents:
        weeks = (period.days - len(r.leave)) / 7
        hours = worked[r.id].total_seconds() / 3600 / weeks
        own = count[r.id]
        yield r.id, r.name, r.pgy, f"{hours:.1f}", own["nights"], own["calls"], own["weekends"]


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(map(str, line)) + " |" for line in lines]
