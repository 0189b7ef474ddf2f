"""The schedule as a file: one line for each shift of each resident.

Ten thousand lines do not belong into an event log. The step that makes them writes a file and returns its path and
checksum; the steps after it open the file, and refuse it if the checksum is another.
"""

from __future__ import annotations

import csv
import datetime as dt
import hashlib
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from examples.residency.model import Period, Program, Resident, ScheduleChangedError
from examples.residency.planner import Assignment

COLUMNS = ("date", "shift", "resident", "start", "end", "free_at", "required", "override")


class Duty(NamedTuple):
    """One line of the file.

    Attributes:
        date: The day that the shift belongs to.
        end: When scheduled work ends.
        free_at: When the resident goes home, after handing over.
        required: Counts for coverage; the others are in clinic or elective because there is time.
        override: Which kinds of rules the planner gave up to fill it; empty for none.
    """

    date: dt.date
    shift: str
    resident: str
    start: dt.datetime
    end: dt.datetime
    free_at: dt.datetime
    required: bool
    override: str

    @property
    def weekend(self) -> bool:
        """On a Saturday or Sunday."""
        return self.date.weekday() >= 5


def to_csv(assignments: Iterable[Assignment], residents: Sequence[Resident], period: Period) -> str:
    """The text of the file."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for day, shift, who, required, strict in assignments:
        midnight = dt.datetime.combine(period.date(day), dt.time())
        times = (
            (midnight + dt.timedelta(minutes=minute)).isoformat(timespec="minutes")
            for minute in (shift.start_minute, shift.end_minute, shift.free_minute)
        )
        override = strict.name.lower() if strict else ""
        writer.writerow([period.date(day), shift.id, residents[who].id, *times, int(required), override])
    return text.getvalue()


def read_schedule(path: str, sha256: str) -> list[Duty]:
    """The lines of a schedule.

    Raises:
        ScheduleChangedError: The file is not the one with this checksum.
    """
    data = Path(path).read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise ScheduleChangedError(f"{path} has changed since it was written: {found[:12]}, not {sha256[:12]}")
    at = dt.datetime.fromisoformat
    return [
        Duty(
            dt.date.fromisoformat(row["date"]), row["shift"], row["resident"],
            at(row["start"]), at(row["end"]), at(row["free_at"]), row["required"] == "1", row["override"],
        )
        for row in csv.DictReader(io.StringIO(data.decode()))
    ]  # fmt: skip


def calls_of(program: Program) -> frozenset[str]:
    """Ids of the shifts that are in-house call."""
    return frozenset(shift.id for shift in program.shifts if shift.call)


def nights_of(program: Program) -> frozenset[str]:
    """Ids of the shifts that count as a night of night float."""
    return frozenset(shift.id for shift in program.shifts if shift.night)
