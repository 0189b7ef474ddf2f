"""Each duty-hour rule, planted: the audit finds the violation, finds nothing else, and lets the limit itself pass."""

import datetime as dt
import random

import msgspec
import pytest

from examples.residency import analysis
from examples.residency.audit import audit
from examples.residency.ledger import Ledger
from examples.residency.model import Period, Resident, read_program, read_rules
from examples.residency.schedule_file import Duty

PERIOD = Period(dt.date(2026, 7, 1), 56)
INTERN = Resident("I", "Ina Intern", 1, frozenset(), frozenset(), ())
SENIOR = Resident("S", "Sol Senior", 3, frozenset(), frozenset(), ())


def duty(day, start, hours, shift="clinic", who="S", handover=0.0):
    begin = dt.datetime.combine(PERIOD.date(day), dt.time.fromisoformat(start))
    end = begin + dt.timedelta(hours=hours)
    free_at = end + dt.timedelta(hours=handover)
    return Duty(PERIOD.date(day), shift, who, begin, end, free_at, required=True, override="")


def call(day):
    return duty(day, "07:00", 24, "icu_call", handover=4)


def night(day):
    return duty(day, "19:30", 12, "night_float")


def found(duties, *residents):
    program = read_program("examples/residency/program.json")
    rules = read_rules("examples/residency/rules.json")
    return audit(duties, residents or (SENIOR, INTERN), program, rules, PERIOD)


def rules_broken(duties, *residents):
    return {violation.rule for violation in found(duties, *residents)}


def six_days_a_week(hours, weeks=4, first=0):
    return [duty(first + 7 * week + day, "06:00", hours) for week in range(weeks) for day in range(6)]


def test_a_schedule_without_duties_breaks_nothing():
    assert found([]) == []


def test_80_hours_a_week_pass_and_a_minute_more_on_average_does_not():
    assert found(six_days_a_week(80 / 6)) == []
    [violation] = found(six_days_a_week(80 / 6 + 2 / 60))
    assert (violation.rule, violation.resident, violation.first) == ("weekly_hours", "S", PERIOD.start)


def test_one_week_above_80_hours_passes_where_the_average_is_below():
    assert rules_broken([*six_days_a_week(15, weeks=1), *six_days_a_week(12, weeks=3, first=7)]) == set()


def test_the_average_is_taken_over_every_four_weeks_not_only_over_blocks():
    duties = [*six_days_a_week(10, 2), *six_days_a_week(14, 4, first=14), *six_days_a_week(10, 2, first=42)]
    [violation] = found(duties)  # each half of the eight weeks has 72 hours a week, the middle 84
    assert violation.rule == "weekly_hours"
    assert violation.detail == "84.0 hours a week on average"


def test_transition_time_counts_as_work():
    def weeks(handover):
        days = [7 * week + day for week in range(4) for day in range(6)]
        return [duty(day, "06:00", 12, handover=handover) for day in days]

    assert rules_broken(weeks(1.25)) == set()  # 79.5 hours a week
    assert rules_broken(weeks(1.5)) == {"weekly_hours"}  # 81


def test_days_of_leave_are_left_out_of_the_average():
    away = Resident("S", "Sol Senior", 3, frozenset(range(14, 28)), frozenset(), ())
    duties = six_days_a_week(14, weeks=2)
    assert rules_broken(duties, SENIOR) == set()  # 168 hours in 28 days
    assert rules_broken(duties, away) == {"weekly_hours"}  # 168 hours in the 14 days that count


def test_four_free_days_in_four_weeks_pass_and_three_do_not():
    assert found([duty(day, "08:00", 8) for day in range(28) if day % 7]) == []
    [violation] = found([duty(day, "08:00", 8) for day in range(28) if day % 7 or day == 7])
    assert violation.rule == "day_off"


@pytest.mark.parametrize(("free", "broken"), [(3, {"day_off"}), (4, set())])
def test_days_of_leave_are_no_free_days_either(free, broken):
    away = Resident("S", "Sol Senior", 3, frozenset(range(22, 28)), frozenset(), ())
    duties = [duty(day, "08:00", 8) for day in range(22) if day >= free]
    assert rules_broken(duties, away) == broken  # 22 days count, and a seventh of them is a little over 3


def test_a_day_on_which_a_call_ends_is_no_free_day():
    duties = [duty(day, "08:00", 8) for day in range(28) if day % 7]
    late = duty(6, "20:00", 6)  # until two in the morning of day 7, which was free
    duties[5] = late
    assert rules_broken(duties) == {"day_off"}


def test_24_hours_in_one_go_pass_and_25_do_not():
    assert rules_broken([duty(0, "07:00", 24)]) == set()
    assert rules_broken([duty(0, "07:00", 25)]) == {"continuous_duty"}


def test_shifts_that_touch_are_one_duty():
    broken = rules_broken([duty(0, "07:00", 12), duty(0, "19:00", 13)])
    assert broken == {"continuous_duty", "rest_between_shifts"}


def test_four_hours_to_hand_over_pass_and_five_do_not():
    assert rules_broken([call(0)]) == set()
    assert rules_broken([duty(0, "07:00", 24, "icu_call", handover=5)]) == {"transition"}


def test_14_hours_free_after_call_pass_and_13_do_not():
    assert rules_broken([call(0), duty(2, "01:00", 8)]) == set()  # the call ends at 11:00 on day 1
    assert rules_broken([call(0), duty(2, "00:00", 8)]) == {"post_call_rest"}


def test_nine_calls_in_four_weeks_pass_and_ten_do_not():
    days = [0, 3, 6, 9, 12, 15, 18, 21, 24]
    assert rules_broken([call(day) for day in days]) == set()
    assert rules_broken([call(day) for day in [0, 2, 4, 7, 10, 13, 16, 19, 22, 25]]) == {"call_frequency"}


def test_two_calls_three_days_apart_pass_even_if_others_are_closer_because_it_is_an_average():
    assert rules_broken([call(0), call(2), call(4), call(12)]) == set()


def test_six_nights_in_a_row_pass_and_seven_do_not():
    assert rules_broken([night(day) for day in range(6)]) == set()
    [violation] = found([night(day) for day in range(7)])
    assert (violation.rule, violation.first, violation.last) == ("night_float_run", PERIOD.date(0), PERIOD.date(6))


def test_a_free_night_ends_the_run():
    assert rules_broken([night(day) for day in (0, 1, 2, 3, 5, 6, 7, 8)]) == set()


def test_eight_hours_between_shifts_pass_and_seven_do_not():
    assert rules_broken([duty(0, "08:00", 10), duty(1, "02:00", 5)]) == set()
    assert rules_broken([duty(0, "08:00", 10), duty(1, "01:00", 5)]) == {"rest_between_shifts"}


def test_an_intern_alone_on_a_ward_is_found_and_one_with_a_senior_is_not():
    intern = duty(0, "07:00", 10, "ward_short", who="I")
    assert rules_broken([intern]) == {"pgy1_supervision"}
    assert rules_broken([intern, duty(0, "07:00", 10, "ward_short")]) == set()


def test_a_senior_who_leaves_earlier_leaves_the_intern_alone_unless_another_one_comes():
    intern = duty(0, "07:00", 13, "ward_long", who="I")
    early = duty(0, "07:00", 10, "ward_short")
    [violation] = found([intern, early])
    assert violation.detail == "ward_long: no senior in medicine from 17:00"
    other = Resident("T", "Tea Third", 2, frozenset(), frozenset(), ())
    assert rules_broken([intern, early, duty(0, "16:30", 12, "night_float", who="T")], SENIOR, INTERN, other) == set()


def test_a_senior_of_another_service_does_not_supervise():
    duties = [duty(0, "07:00", 10, "ward_short", who="I"), duty(0, "07:00", 10, "icu_day")]
    assert rules_broken(duties) == {"pgy1_supervision"}


def test_in_clinic_attendings_supervise():
    assert rules_broken([duty(0, "08:00", 9, "clinic", who="I")]) == set()


@pytest.mark.parametrize("seed", range(8))
def test_whatever_the_ledger_lets_through_the_audit_finds_nothing_wrong_with(seed):
    """The planner's budgets and the audit's sums are written apart; here random schedules set one against the other."""
    draw = random.Random(seed)
    program = read_program("examples/residency/program.json")
    rules = read_rules("examples/residency/rules.json")
    first = draw.randrange(50)
    leave = frozenset(range(first, min(first + draw.randrange(1, 15), PERIOD.days)))
    residents = [Resident("A", "A", 2, leave, frozenset(), ()), Resident("B", "B", 3, frozenset(), frozenset(), ())]
    ledger = Ledger(residents, rules, PERIOD)
    greedy = draw.sample(program.shifts, 3)
    order = [(day, who) for day in range(PERIOD.days) for who in (0, 1)]
    if seed % 2:
        draw.shuffle(order)  # also when a plan is not filled from day to day
    for day, who in order:
        for shift in greedy:
            if ledger.fits(who, day, shift):
                ledger.assign(who, day, shift)
                break
    duties = [
        Duty(PERIOD.date(day), shift.id, resident.id, *_times(day, shift), required=True, override="")
        for who, resident in enumerate(residents)
        for day, shift in enumerate(ledger.shifts[who])
        if shift is not None
    ]
    assert len(duties) > 30
    assert found(duties, *residents) == []
    assert [
        c for c in analysis.find_conflicts(duties, residents, program, PERIOD) if c.kind != "uncovered_shift"
    ] == []


def test_the_ledger_stops_at_80_hours_where_days_off_would_allow_more():
    program, rules = read_program("examples/residency/program.json"), read_rules("examples/residency/rules.json")
    long = msgspec.structs.replace(program.shifts[-1], hours=14)
    ledger = Ledger([SENIOR], rules, PERIOD)
    for day in range(PERIOD.days):
        if ledger.fits(0, day, long):
            ledger.assign(0, day, long)
    days = [day for day, shift in enumerate(ledger.shifts[0]) if shift]
    assert sum(day < 28 for day in days) == 22  # 22 * 14 = 308 hours; 24 days may be worked, and 320 hours
    assert found([duty(day, "08:00", 14) for day in days]) == []


def test_giving_shifts_back_leaves_the_ledger_as_it_was():
    program, rules = read_program("examples/residency/program.json"), read_rules("examples/residency/rules.json")
    used, fresh = (Ledger([SENIOR], rules, PERIOD) for _ in range(2))
    for day in range(0, PERIOD.days, 3):
        used.assign(0, day, program.shifts[0])
    for day in range(0, PERIOD.days, 3):
        used.release(0, day)
    for name in ("shifts", "worked", "minutes_left", "days_left", "calls_left"):
        assert getattr(used, name) == getattr(fresh, name)


def _times(day, shift):
    midnight = dt.datetime.combine(PERIOD.date(day), dt.time())
    minutes = (shift.start_minute, shift.end_minute, shift.free_minute)
    return [midnight + dt.timedelta(minutes=minute) for minute in minutes]
