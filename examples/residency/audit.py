"""Every duty-hour rule, checked on a finished schedule, line by line.

The audit knows nothing of how the schedule was made. It works on the times in the file, with datetimes and plain
sums where the planner uses minutes and budgets; two ways to the same answer find what one way would miss.

Averaged rules are checked over *every* four weeks in a row, not only over calendar blocks. Days of leave are left
out of the average, as the ACGME's answers to frequent questions ask for. What is wrong for several windows in a
row is one finding, from the first day of the first window to the last day of the last.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence

from msgspec import Struct

from examples.residency.model import Period, Program, Resident, Rules
from examples.residency.schedule_file import Duty, calls_of, nights_of

ONE_DAY = dt.timedelta(days=1)


class Violation(Struct, frozen=True):
    """One finding: who broke which rule when, and by how much."""

    rule: str
    resident: str
    first: dt.date
    last: dt.date
    detail: str


def unheard(_done: int, _of: int) -> None:
    """Progress that nobody listens to."""


class Person:
    """One resident's year, as the file tells it: duties in order of time, and minutes by calendar day."""

    def __init__(self, resident: Resident, duties: Sequence[Duty], period: Period) -> None:
        self.resident = resident
        self.period = period
        self.duties = sorted(duties, key=lambda duty: duty.start)
        self.minutes = [0] * (period.days + 2)
        for duty in self.duties:
            for date, minutes in _minutes_by_day(duty):
                day = period.day(date)
                if 0 <= day < len(self.minutes):
                    self.minutes[day] += minutes

    def windows(self, span: int) -> Iterator[tuple[int, list[int]]]:
        """Every window of days as its first day and those of its days that are no leave."""
        for first in range(self.period.days - span + 1):
            yield first, [day for day in range(first, first + span) if day not in self.resident.leave]


def audit(
    duties: Sequence[Duty],
    residents: Sequence[Resident],
    program: Program,
    rules: Rules,
    period: Period,
    progress: Callable[[int, int], object] = unheard,
) -> list[Violation]:
    """Every violation of every rule, by resident and time.

    Args:
        progress: Called after each resident with how many are done, of how many.
    """
    by_resident: dict[str, list[Duty]] = defaultdict(list)
    for duty in duties:
        by_resident[duty.resident].append(duty)
    found: list[Violation] = []
    for done, resident in enumerate(residents, start=1):
        person = Person(resident, by_resident[resident.id], period)
        found += weekly_hours(person, rules)
        found += days_off(person, rules)
        found += continuous_duty(person, rules)
        found += rest(person, rules)
        found += call_frequency(person, rules, calls_of(program))
        found += night_float_runs(person, rules, nights_of(program))
        progress(done, len(residents))
    found += supervision(duties, residents, program, rules)
    return found


def weekly_hours(person: Person, rules: Rules) -> Iterator[Violation]:
    """At most 80 hours a week, averaged over four weeks."""
    limit = rules["weekly_hours"].limit
    over: list[tuple[int, float]] = []
    for first, counted in person.windows(rules.averaging_days):
        hours = sum(person.minutes[day] for day in counted) / 60
        if counted and hours * 7 / len(counted) > limit + 1e-9:
            over.append((first, hours * 7 / len(counted)))
    for first, last, worst in _runs(over):
        yield _averaged(person, rules, "weekly_hours", first, last, f"{worst:.1f} hours a week on average")


def days_off(person: Person, rules: Rules) -> Iterator[Violation]:
    """One calendar day in seven without any work, averaged over four weeks."""
    limit = rules["day_off"].limit
    short: list[tuple[int, float]] = []
    for first, counted in person.windows(rules.averaging_days):
        free = sum(person.minutes[day] == 0 for day in counted)
        if free * limit < len(counted):
            short.append((first, len(counted) / limit - free))
    for first, last, worst in _runs(short):
        yield _averaged(person, rules, "day_off", first, last, f"up to {worst:.1f} free days too few in four weeks")


def continuous_duty(person: Person, rules: Rules) -> Iterator[Violation]:
    """At most 24 hours scheduled in one go, and four more to hand over. Shifts that touch are one duty."""
    stretch: list[Duty] = []
    for duty in [*person.duties, None]:
        if duty is not None and stretch and duty.start <= max(d.free_at for d in stretch):
            stretch.append(duty)
            continue
        if stretch:
            start, end = stretch[0].start, max(duty.end for duty in stretch)
            scheduled, whole = _hours(end - start), _hours(max(d.free_at for d in stretch) - start)
            if scheduled > rules["continuous_duty"].limit:
                yield _single(person, "continuous_duty", stretch[0], f"{scheduled:g} hours without a break")
            elif whole - scheduled > rules["transition"].limit:
                yield _single(person, "transition", stretch[0], f"{whole - scheduled:g} hours to hand over")
        stretch = [duty] if duty is not None else []


def rest(person: Person, rules: Rules) -> Iterator[Violation]:
    """14 hours free after 24 hours of duty, eight between any two shifts."""
    whole_day = rules["continuous_duty"].limit
    for duty, following in zip(person.duties, person.duties[1:], strict=False):
        after_call = _hours(duty.end - duty.start) >= whole_day
        rule = rules["post_call_rest" if after_call else "rest_between_shifts"]
        free = _hours(following.start - duty.free_at)
        if free < rule.limit:
            yield _single(person, rule.id, duty, f"{free:g} hours until {following.start:%Y-%m-%d %H:%M}")


def call_frequency(person: Person, rules: Rules, calls: frozenset[str]) -> Iterator[Violation]:
    """In-house call no more often than every third night, averaged over four weeks."""
    limit = rules["call_frequency"].limit
    dates = [person.period.day(duty.date) for duty in person.duties if duty.shift in calls]
    over: list[tuple[int, float]] = []
    for first, counted in person.windows(rules.averaging_days):
        nights = sum(first <= day < first + rules.averaging_days for day in dates)
        if nights * limit > len(counted):
            over.append((first, nights))
    for first, last, worst in _runs(over):
        yield _averaged(person, rules, "call_frequency", first, last, f"up to {worst:g} calls in four weeks")


def night_float_runs(person: Person, rules: Rules, nights: frozenset[str]) -> Iterator[Violation]:
    """At most six nights of night float in a row."""
    limit = rules["night_float_run"].limit
    run: list[Duty] = []
    for duty in [*(d for d in person.duties if d.shift in nights), None]:
        if duty is not None and run and duty.date - run[-1].date == ONE_DAY:
            run.append(duty)
            continue
        if len(run) > limit:
            detail = f"{len(run)} nights in a row"
            yield Violation("night_float_run", person.resident.id, run[0].date, run[-1].date, detail)
        run = [duty] if duty is not None else []


def supervision(
    duties: Iterable[Duty], residents: Sequence[Resident], program: Program, rules: Rules
) -> Iterator[Violation]:
    """Whenever an intern works, a senior of the same service does: the seniors' shifts cover the intern's whole."""
    pgy = {resident.id: resident.pgy for resident in residents}
    service = {shift.id: program.service_of(shift) for shift in program.shifts}
    least = rules["pgy1_supervision"].limit
    seniors: dict[tuple[str, dt.date], list[Duty]] = defaultdict(list)
    interns: list[Duty] = []
    for duty in duties:
        if not service.get(duty.shift) or duty.resident not in pgy:
            continue
        if pgy[duty.resident] >= least:
            seniors[service[duty.shift], duty.date].append(duty)
        else:
            interns.append(duty)
    for duty in sorted(interns, key=lambda d: (d.resident, d.start)):
        near = [s for step in (-1, 0, 1) for s in seniors[service[duty.shift], duty.date + step * ONE_DAY]]
        alone_from = duty.start
        for senior in sorted(near, key=lambda d: d.start):
            if senior.start <= alone_from:
                alone_from = max(alone_from, senior.end)
        if alone_from < duty.end:
            detail = f"{duty.shift}: no senior in {service[duty.shift]} from {alone_from:%H:%M}"
            yield Violation("pgy1_supervision", duty.resident, duty.date, duty.date, detail)


def _minutes_by_day(duty: Duty) -> Iterator[tuple[dt.date, int]]:
    """The minutes of a duty on each calendar day that it touches."""
    at = duty.start
    while at < duty.free_at:
        midnight = dt.datetime.combine(at.date() + ONE_DAY, dt.time())
        until = min(midnight, duty.free_at)
        yield at.date(), int((until - at).total_seconds() // 60)
        at = until


def _hours(span: dt.timedelta) -> float:
    return span.total_seconds() / 3600


def _runs(windows: list[tuple[int, float]]) -> Iterator[tuple[int, int, float]]:
    """Neighbouring windows as one: first, last, and the largest of their values."""
    run: list[tuple[int, float]] = []
    for window in windows:
        if run and window[0] != run[-1][0] + 1:
            yield run[0][0], run[-1][0], max(value for _, value in run)
            run = []
        run.append(window)
    if run:
        yield run[0][0], run[-1][0], max(value for _, value in run)


def _averaged(person: Person, rules: Rules, rule: str, first: int, last: int, detail: str) -> Violation:
    date, until = person.period.date, last + rules.averaging_days - 1
    return Violation(rule, person.resident.id, date(first), date(until), detail)


def _single(person: Person, rule: str, duty: Duty, detail: str) -> Violation:
    return Violation(rule, person.resident.id, duty.date, duty.date, detail)
