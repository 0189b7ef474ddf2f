"""What else one wants to know of a schedule: is it consistent, and how many people can fall ill?"""

from __future__ import annotations

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from msgspec import Struct

from examples.residency.audit import unheard
from examples.residency.ledger import Ledger
from examples.residency.model import Period, Program, Resident, Rules, Shift
from examples.residency.schedule_file import Duty


class Conflict(Struct, frozen=True):
    """Something that cannot be: ``kind`` is double_booking, leave_overlap, uncovered_shift or unknown_resident."""

    kind: str
    date: dt.date
    who: str
    detail: str


def find_conflicts(
    duties: Sequence[Duty], residents: Sequence[Resident], program: Program, period: Period
) -> list[Conflict]:
    """Every conflict of a schedule, by kind."""
    roster = {resident.id: resident for resident in residents}
    by_resident: dict[str, list[Duty]] = defaultdict(list)
    for duty in duties:
        by_resident[duty.resident].append(duty)
    found: list[Conflict] = []
    for resident_id, own in sorted(by_resident.items()):
        own.sort(key=lambda duty: duty.start)
        found += _double_bookings(own)
        if resident_id in roster:
            found += _leave_overlaps(own, roster[resident_id], period)
        else:
            found.append(Conflict("unknown_resident", own[0].date, resident_id, f"{len(own)} shifts"))
    found += _uncovered(duties, roster, program, period)
    return sorted(found, key=lambda c: (c.kind, c.date, c.who))


def _double_bookings(own: list[Duty]) -> Iterator[Conflict]:
    """A shift that starts before the resident is free of an earlier one."""
    latest = own[0]
    for duty in own[1:]:
        if duty.start < latest.free_at:
            yield Conflict("double_booking", duty.date, duty.resident, f"{latest.shift} and {duty.shift}")
        latest = max(latest, duty, key=lambda d: d.free_at)


def _leave_overlaps(own: list[Duty], resident: Resident, period: Period) -> Iterator[Conflict]:
    for duty in own:
        last = (duty.free_at - dt.timedelta(minutes=1)).date()
        if {period.day(duty.start.date()), period.day(last)} & resident.leave:
            yield Conflict("leave_overlap", duty.date, resident.id, duty.shift)


def _uncovered(
    duties: Sequence[Duty], roster: dict[str, Resident], program: Program, period: Period
) -> Iterator[Conflict]:
    """Shifts with fewer residents, or fewer seniors, than they need."""
    present: Counter[tuple[dt.date, str]] = Counter()
    seniors: Counter[tuple[dt.date, str]] = Counter()
    for duty in duties:
        present[duty.date, duty.shift] += 1
        seniors[duty.date, duty.shift] += duty.resident in roster and roster[duty.resident].senior
    for day in range(period.days):
        date = period.date(day)
        for shift in program.shifts:
            needed = shift.needed(date)
            if present[date, shift.id] < needed:
                detail = f"{present[date, shift.id]} of {needed} residents"
                yield Conflict("uncovered_shift", date, shift.id, detail)
            elif seniors[date, shift.id] < min(shift.min_seniors, needed):
                detail = f"{seniors[date, shift.id]} of {shift.min_seniors} seniors"
                yield Conflict("uncovered_shift", date, shift.id, detail)


class DayResilience(Struct, frozen=True):
    """How many of a day's residents may be absent at once, whoever they are, and what gives way first."""

    date: dt.date
    tolerance: int
    bottleneck: tuple[str, ...]


def measure_resilience(
    duties: Sequence[Duty],
    residents: Sequence[Resident],
    program: Program,
    rules: Rules,
    period: Period,
    progress: Callable[[int, int], object] = unheard,
) -> list[DayResilience]:
    """N-k analysis: for each day the largest k such that *any* k of those on required shifts can be replaced.

    Replacements come from those who are not on a required shift that day, who may take the shift under all
    duty-hour rules given everything else in their schedule, and who are senior where they stand in for a senior.
    Whoever stands in drops clinic or elective of that day and the next, where nobody counts on them.

    It is exact. By Hall's theorem a set of open shifts can be filled if, and only if, every part S of it has at
    least as many possible replacements N(S) as it has shifts. So the smallest set of absences that cannot be
    replaced has |N(S)| + 1 members, for the S with the smallest N(S) among those with more shifts than N(S);
    and shifts of the same kind, or with the same possible replacements, can be looked at together.
    """
    ledger = Ledger(residents, rules, period)
    optional: set[tuple[int, int]] = set()
    number = {resident.id: who for who, resident in enumerate(residents)}
    kinds = {shift.id: shift for shift in program.shifts}
    required: list[list[tuple[Shift, int]]] = [[] for _ in range(period.days)]
    for duty in duties:
        day, who, shift = period.day(duty.date), number[duty.resident], kinds[duty.shift]
        ledger.assign(who, day, shift)
        if duty.required:
            required[day].append((shift, who))
        else:
            optional.add((who, day))
    days = []
    for day in range(period.days):
        if day % 28 == 0:
            progress(day, period.days)
        tolerance, bottleneck = _tolerance(ledger, day, required[day], optional)
        days.append(DayResilience(period.date(day), tolerance, bottleneck))
    return days


def _tolerance(
    ledger: Ledger, day: int, required: list[tuple[Shift, int]], optional: set[tuple[int, int]]
) -> tuple[int, tuple[str, ...]]:
    working = {who for _, who in required}
    pool = [who for who in range(len(ledger.residents)) if who not in working]
    given_up = [(who, at, ledger.release(who, at)) for who in pool for at in (day, day + 1) if (who, at) in optional]
    able = _standby(ledger, day, pool, required)
    for who, at, shift in given_up:
        ledger.assign(who, at, shift)
    return _smallest_gap(able)


def _standby(
    ledger: Ledger, day: int, pool: list[int], required: list[tuple[Shift, int]]
) -> dict[frozenset[int], Counter[str]]:
    """Possible replacements, each set with the shifts that have it.

    On shifts that need seniors at all, an absent senior is replaced by a senior: careful, and simple.
    """
    senior = [resident.senior for resident in ledger.residents]
    able: dict[frozenset[int], Counter[str]] = defaultdict(Counter)
    fitting: dict[str, list[int]] = {}
    for shift, who in required:
        if shift.id not in fitting:
            fitting[shift.id] = [other for other in pool if ledger.fits(other, day, shift)]
        needs_senior = senior[who] and shift.min_seniors > 0
        able[frozenset(w for w in fitting[shift.id] if senior[w] or not needs_senior)][shift.id] += 1
    return able


def _smallest_gap(able: dict[frozenset[int], Counter[str]]) -> tuple[int, tuple[str, ...]]:
    """The smallest |N(S)| over the sets S of shifts with |S| > |N(S)|; if there are none, all may be absent."""
    unions: dict[frozenset[int], frozenset[frozenset[int]]] = {frozenset(): frozenset()}
    for group in able:
        for reached, groups in list(unions.items()):
            union = reached | group
            unions[union] = unions.get(union, frozenset()) | groups | {group}
    best = sum(shifts.total() for shifts in able.values())
    bottleneck: tuple[str, ...] = ()
    for union in unions:
        inside = [shifts for group, shifts in able.items() if group <= union]  # all that only the union can fill
        if sum(shifts.total() for shifts in inside) > len(union) and len(union) < best:
            best = len(union)
            bottleneck = tuple(sorted({shift for shifts in inside for shift in shifts}))
    return best, bottleneck


def by_week(days: Sequence[DayResilience]) -> list[dict[str, Any]]:
    """The weakest day of each week."""
    weeks = []
    for first in range(0, len(days), 7):
        week = days[first : first + 7]
        weakest = min(week, key=lambda day: (day.tolerance, day.date))
        weeks.append({
            "week": str(week[0].date),
            "tolerance": weakest.tolerance,
            "weakest_day": str(weakest.date),
            "bottleneck": list(weakest.bottleneck),
        })  # fmt: skip
    return weeks
