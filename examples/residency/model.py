"""What the files say: the roster, the programme and the duty-hour rules, as typed structs.

Everything is checked here, once, at the border. The rest of the example can then rely on it: a resident's leave is
a set of day numbers, a shift's times are minutes, and a day is a number counted from the first day of the schedule.
"""

from __future__ import annotations

import csv
import datetime as dt
import hashlib
import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Struct

T = TypeVar("T")
DAY = 1440  # minutes
Count = Annotated[int, Meta(ge=0, le=1000)]
Hours = Annotated[float, Meta(ge=0, le=48)]


class InputError(ValueError):
    """An input file does not say what it should. Trying again would not help, so the workflow never retries it."""


class ScheduleChangedError(RuntimeError):
    """The schedule on disk is not the one that an earlier step wrote."""


class Rotation(Struct, frozen=True, forbid_unknown_fields=True):
    """Where a resident works for one block.

    Attributes:
        heads: How many residents the rotation wants in a block; 0 takes whoever is left.
        min_seniors: How many of them must be PGY-2 or above.
        service: Whose seniors supervise its interns; empty where attendings do.
        hardship: How much a week of leave in this rotation hurts, and how little one wants it twice in a row.
        flexible: Its residents may be called away to cover a shift elsewhere.
    """

    heads: Count
    min_seniors: Count
    service: str
    hardship: Count
    flexible: bool = False


class Shift(Struct, frozen=True, forbid_unknown_fields=True):
    """A kind of shift, and how many residents it needs on a day.

    Attributes:
        start: Clock time, ``HH:MM``.
        hours: Scheduled length.
        transition_hours: Time after it for handing over, which counts as work.
        min_seniors: How many must be PGY-2 or above.
        night: Part of a run of nights (night float).
        call: In-house call.
    """

    id: str
    rotation: str
    start: str
    hours: Hours
    weekday: Count
    weekend: Count
    transition_hours: Hours = 0
    min_seniors: Count = 0
    night: bool = False
    call: bool = False

    @property
    def start_minute(self) -> int:
        """Minutes after midnight at which it starts."""
        hour, minute = self.start.split(":")
        return int(hour) * 60 + int(minute)

    @property
    def end_minute(self) -> int:
        """Minutes after its day's midnight at which scheduled work ends."""
        return self.start_minute + round(self.hours * 60)

    @property
    def free_minute(self) -> int:
        """The same with the time for handing over."""
        return self.end_minute + round(self.transition_hours * 60)

    def needed(self, date: dt.date) -> int:
        """How many residents it needs on a date."""
        return self.weekend if date.weekday() >= 5 else self.weekday


class Program(Struct, frozen=True, forbid_unknown_fields=True):
    """What has to be staffed. Shifts are listed with the hardest to fill first."""

    name: str
    block_days: Annotated[int, Meta(ge=7, le=92)]
    rotations: dict[str, Rotation]
    shifts: tuple[Shift, ...]
    note: str = ""

    def service_of(self, shift: Shift) -> str:
        """The service whose seniors supervise the interns on a shift."""
        return self.rotations[shift.rotation].service


class Rule(Struct, frozen=True, forbid_unknown_fields=True):
    """One duty-hour rule: its number, how binding it is, and where it is written."""

    id: str
    limit: float
    severity: str
    reference: str
    text: str


class Rules(Struct, frozen=True, forbid_unknown_fields=True):
    """All duty-hour rules, by what they limit."""

    source: str
    averaging_days: Annotated[int, Meta(ge=7, le=28)]
    rules: tuple[Rule, ...]

    def __getitem__(self, rule_id: str) -> Rule:
        return next(rule for rule in self.rules if rule.id == rule_id)


class Resident(Struct, frozen=True):
    """One resident; days are counted from the first day of the schedule.

    Attributes:
        leave: Days of approved leave, which nobody may schedule.
        wishes: Days off that were asked for; honoured where nothing speaks against it.
        prefers: Rotations that were asked for.
    """

    id: str
    name: str
    pgy: int
    leave: frozenset[int]
    wishes: frozenset[int]
    prefers: tuple[str, ...]

    @property
    def senior(self) -> bool:
        """PGY-2 or above."""
        return self.pgy >= 2


class Period(Struct, frozen=True):
    """The days to schedule."""

    start: dt.date
    days: int

    def date(self, day: int) -> dt.date:
        """The date of a day number."""
        return self.start + dt.timedelta(days=day)

    def day(self, date: dt.date) -> int:
        """The day number of a date; outside the period it is negative, or ``days`` and above."""
        return (date - self.start).days


RULE_IDS = (
    "weekly_hours", "day_off", "continuous_duty", "transition", "post_call_rest", "call_frequency",
    "night_float_run", "rest_between_shifts", "pgy1_supervision",
)  # fmt: skip


def read_period(data: dict[str, Any]) -> Period:
    """The period of a workflow input with ``start_date`` and ``end_date``, both included."""
    try:
        start, end = (dt.date.fromisoformat(data[key]) for key in ("start_date", "end_date"))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"start_date and end_date must be dates such as 2026-07-01: {error}") from None
    days = (end - start).days + 1
    if not 28 <= days <= 366:
        raise InputError(f"{start} to {end} is {days} days; a schedule covers 28 to 366")
    return Period(start, days)


def read_program(path: str) -> Program:
    """The programme, with every shift naming a rotation that exists."""
    program = _decode(path, Program)
    for shift in program.shifts:
        if shift.rotation not in program.rotations:
            raise InputError(f"{path}: shift {shift.id!r} belongs to no rotation: {shift.rotation!r}")
        if shift.free_minute > 2 * DAY:
            raise InputError(f"{path}: shift {shift.id!r} ends more than a day after the one it starts on")
    return program


def read_rules(path: str) -> Rules:
    """The rules, all of those that the audit knows how to check."""
    rules = _decode(path, Rules)
    missing = sorted(set(RULE_IDS) - {rule.id for rule in rules.rules})
    if missing:
        raise InputError(f"{path}: no rule {', '.join(missing)}")
    return rules


def read_roster(path: str, period: Period) -> list[Resident]:
    """The residents in the order of the file.

    Raises:
        InputError: A row does not fit; the message names its line.
    """
    residents: list[Resident] = []
    with Path(path).open(newline="", encoding="utf-8") as file:
        for line, row in enumerate(csv.DictReader(file), start=2):
            try:
                residents.append(_resident(row, period))
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise InputError(f"{path}, line {line}: {error}") from None
    ids = [resident.id for resident in residents]
    if len(set(ids)) < len(ids):
        raise InputError(f"{path}: an id is given twice: {max(ids, key=ids.count)}")
    return residents


def _resident(row: dict[str, str], period: Period) -> Resident:
    leave: list[int] = []
    for span in filter(None, row["leave"].split(";")):
        first, last = (period.day(dt.date.fromisoformat(part)) for part in span.split("/"))
        if last < first:
            raise ValueError(f"leave {span} ends before it starts")
        leave.extend(range(max(first, 0), min(last + 1, period.days)))
    wishes = [period.day(dt.date.fromisoformat(part)) for part in filter(None, row["days_off"].split(";"))]
    pgy = int(row["pgy"])
    if not 1 <= pgy <= 7:
        raise ValueError(f"PGY level {pgy}; there are 1 to 7")
    if not row["id"]:
        raise ValueError("no id")
    prefers = tuple(filter(None, row["prefers"].split(";")))
    return Resident(row["id"], row["name"], pgy, frozenset(leave), frozenset(wishes), prefers)


def _decode(path: str, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(Path(path).read_bytes(), type=kind)
    except msgspec.DecodeError as error:  # ValidationError is one of them, and names the place
        raise InputError(f"{path}: {error}") from None


def digest(paths: Iterable[str], *more: object) -> str:
    """SHA-256 over the contents of files and some values: the same inputs have the same digest."""
    seen = hashlib.sha256()
    for path in paths:
        seen.update(hashlib.sha256(Path(path).read_bytes()).digest())
    seen.update(repr(more).encode())
    return seen.hexdigest()


def write_atomically(path: Path, text: str) -> str:
    """Write a file so that nobody ever sees half of it, and return its SHA-256.

    The text goes to a file beside it that then takes its place in one move. A handler may be killed at any moment
    and run again; with this, and with the same text every time, a second run changes nothing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")  # an abandoned run may still write
    data = text.encode()
    with draft.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    return hashlib.sha256(data).hexdigest()
