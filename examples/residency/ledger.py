"""The rules as limits that a plan must stay within, kept up to date while the plan grows.

The averaged rules (80 hours, a day off in seven, call every third night) speak about *every* four weeks, and a
shift lies in 28 of these windows. So for each resident and each window the ledger keeps what is still left of the
window's budget: whether a shift fits is then one look at the smallest remainder around it, not a recount.

This is the planner's view. ``audit`` checks the finished schedule by other means and shares none of this code,
so that a mistake here is found there.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

from examples.residency.model import DAY, Period, Resident, Rules, Shift

PLENTY = 10**9  # what is left where no window asks


class Strictness(IntEnum):
    """What a planner may give up, in this order, when nobody is left for a shift that patients need."""

    ALL_RULES = 0
    NO_AVERAGES = 1  # hours, days off and call frequency over four weeks
    NO_REST = 2  # nor rest between shifts: only leave and being in two places at once are ruled out


class Ledger:
    """Who works when, and what the rules leave of everybody's time.

    Args:
        residents: In the order by which they are then numbered.
        rules: The duty-hour rules.
        period: The days that are planned.
    """

    def __init__(self, residents: Sequence[Resident], rules: Rules, period: Period) -> None:
        self.residents = residents
        self.period = period
        self.span = rules.averaging_days
        self.rest = round(rules["rest_between_shifts"].limit * 60)
        self.rest_after_call = round(rules["post_call_rest"].limit * 60)
        self.call_minutes = round(rules["continuous_duty"].limit * 60)
        self.max_nights = int(rules["night_float_run"].limit)
        days, windows = period.days, period.days - self.span + 1
        self.shifts: list[list[Shift | None]] = [[None] * days for _ in residents]
        self.worked = [[0] * (days + 1) for _ in residents]  # minutes by calendar day
        self.minutes_left: list[list[int]] = []
        self.days_left: list[list[int]] = []
        self.calls_left: list[list[int]] = []
        for resident in residents:
            # Days of leave count neither as worked nor as free, so a window's budget shrinks with them.
            counted = [self.span - sum(d in resident.leave for d in range(w, w + self.span)) for w in range(windows)]
            self.minutes_left.append([int(rules["weekly_hours"].limit * 60 * n / 7) for n in counted])
            self.days_left.append([n - -(-n // int(rules["day_off"].limit)) for n in counted])
            self.calls_left.append([n // int(rules["call_frequency"].limit) for n in counted])

    def fits(self, who: int, day: int, shift: Shift, strict: Strictness = Strictness.ALL_RULES) -> bool:
        """Whether a resident without a shift on this day could take this one.

        Looks at earlier and later shifts alike, so it serves a planner that goes from day to day as well as the
        question who could stand in on one day of a finished plan.
        """
        own = self.shifts[who]
        last_day = day + (shift.free_minute - 1) // DAY
        leave = self.residents[who].leave
        if own[day] is not None or day in leave or last_day in leave:
            return False
        if strict < Strictness.NO_REST and not self._rested(who, day, shift):
            return False
        if strict == Strictness.NO_REST and not self._apart(who, day, shift, 0, 0):
            return False
        if strict == Strictness.ALL_RULES:
            return self._within_averages(who, day, last_day, shift)
        return True

    def assign(self, who: int, day: int, shift: Shift) -> None:
        """Give a shift to a resident."""
        self.shifts[who][day] = shift
        self._book(who, day, shift, 1)

    def release(self, who: int, day: int) -> Shift:
        """Take a resident's shift of a day back, and return it."""
        shift = self.shifts[who][day]
        if shift is None:
            raise LookupError(f"{self.residents[who].id} has no shift on {self.period.date(day)}")
        self.shifts[who][day] = None
        self._book(who, day, shift, -1)
        return shift

    def recent_share(self, who: int, day: int) -> float:
        """Share of the hours allowed in the four weeks up to a day that are used: 0 to 1, or more on override."""
        window = min(max(day - self.span + 1, 0), len(self.minutes_left[who]) - 1)
        first = max(day - self.span + 1, 0)
        used = sum(self.worked[who][first : day + 1])
        return used / (used + self.minutes_left[who][window] + 1) if self.minutes_left[who][window] > 0 else 1.0

    def _rested(self, who: int, day: int, shift: Shift) -> bool:
        if not self._apart(who, day, shift, self.rest, self.rest_after_call):
            return False
        if not shift.night:
            return True
        own, run = self.shifts[who], 1
        for step in (-1, 1):
            other = day + step
            while 0 <= other < len(own) and (neighbour := own[other]) is not None and neighbour.night:
                run += 1
                other += step
        return run <= self.max_nights

    def _apart(self, who: int, day: int, shift: Shift, rest: int, rest_after_call: int) -> bool:
        """Enough time between this shift and those of the two days before and after it."""
        own = self.shifts[who]
        for other in (day - 2, day - 1, day + 1, day + 2):
            if not 0 <= other < len(own) or (neighbour := own[other]) is None:
                continue
            earlier, later, gap = (neighbour, shift, day - other) if other < day else (shift, neighbour, other - day)
            needed = rest_after_call if earlier.end_minute - earlier.start_minute >= self.call_minutes else rest
            if gap * DAY + later.start_minute - earlier.free_minute < needed:
                return False
        return True

    def _within_averages(self, who: int, day: int, last_day: int, shift: Shift) -> bool:
        worked, span = self.worked[who], self.span
        first = max(day - span + 1, 0)
        both = max(last_day - span + 1, 0)  # from here on a window holds the second day as well
        end = min(day, len(self.minutes_left[who]) - 1) + 1
        minutes, days = self.minutes_left[who], self.days_left[who]
        new = (worked[day] == 0) + (last_day > day and worked[last_day] == 0)
        if min(minutes[both:end], default=PLENTY) < shift.free_minute - shift.start_minute:
            return False
        if new and min(days[both:end], default=PLENTY) < new:
            return False
        if last_day > day:
            if both > first and (minutes[first] < DAY - shift.start_minute or days[first] < (worked[day] == 0)):
                return False
            if last_day < len(minutes) and (
                minutes[last_day] < shift.free_minute - DAY or days[last_day] < (worked[last_day] == 0)
            ):
                return False
        return not shift.call or min(self.calls_left[who][first:end], default=PLENTY) >= 1

    def _book(self, who: int, day: int, shift: Shift, sign: int) -> None:
        today = min(shift.free_minute, DAY) - shift.start_minute
        self._book_day(who, day, sign * today)
        if shift.free_minute > DAY:
            self._book_day(who, day + 1, sign * (shift.free_minute - DAY))
        if shift.call:
            for window in self._windows(day):
                self.calls_left[who][window] -= sign

    def _book_day(self, who: int, day: int, minutes: int) -> None:
        worked, left, days = self.worked[who], self.minutes_left[who], self.days_left[who]
        before = worked[day] > 0
        worked[day] += minutes
        change = (worked[day] > 0) - before
        for window in self._windows(day):
            left[window] -= minutes
            days[window] -= change

    def _windows(self, day: int) -> range:
        """First days of the windows that hold a day."""
        return range(max(day - self.span + 1, 0), min(day, self.period.days - self.span) + 1)
