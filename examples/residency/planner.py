"""A year's schedule in three passes: who rotates where, who works when, and what can be made fairer.

1. *Blocks.* Everybody gets a rotation for every four-week block: at random first, then improved by exchanges
   between two residents until none of many tries makes it cheaper (hill climbing).
2. *Days.* Day by day, each shift goes to the best resident whom no rule forbids it. When nobody is free for a
   shift, those who already have one move over along an augmenting path, as in Kuhn's algorithm for bipartite
   matching; so a shift stays open only if no arrangement of that day could fill it. Then, and only then, rules
   are given up one kind at a time, because patients need somebody; the audit will say so.
3. *Exchanges* of single shifts that no rule forbids, for days off that were asked for and for even weekends.

Everything is drawn from one seeded generator, and nothing depends on the order of a set: the same input gives the
same schedule, byte for byte, on any machine. A step that may run twice should have this property.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from examples.residency.ledger import Ledger, Strictness
from examples.residency.model import Period, Program, Resident, Rules, Shift

Progress = Callable[[str, int, int], None]
Blocks = list[list[str]]  # rotation by block and resident


class Assignment(NamedTuple):
    """One resident works one shift; ``strict`` tells which rules had to be given up for it."""

    day: int
    shift: Shift
    who: int
    required: bool
    strict: Strictness


class Slot(NamedTuple):
    """One place to fill: a shift, and whether only a senior will do."""

    shift: Shift
    senior: bool


class Plan(NamedTuple):
    """A finished schedule."""

    blocks: Blocks
    assignments: list[Assignment]
    uncovered: int
    wishes_kept: tuple[int, int]
    ledger: Ledger


def plan_schedule(
    program: Program, rules: Rules, residents: Sequence[Resident], period: Period, seed: int, progress: Progress
) -> Plan:
    """The schedule of a period.

    Args:
        progress: Called now and then with the name of the pass, what is done of it, and how much there is.
    """
    rng = random.Random(seed)  # noqa: S311 - a schedule is no secret; it has to be reproducible
    blocks = plan_blocks(program, residents, period, rng, progress)
    filler = _DayFiller(program, Ledger(residents, rules, period), blocks)
    for day in range(period.days):
        if day % program.block_days == 0:
            progress("days", day, period.days)
        filler.fill(day)
    exchanged = _exchange(filler, rng, progress)
    wishes = [(who, day) for who, r in enumerate(residents) for day in sorted(r.wishes) if 0 <= day < period.days]
    kept = sum(filler.ledger.worked[who][day] == 0 for who, day in wishes)
    assignments = sorted(exchanged, key=lambda a: (a.day, program.shifts.index(a.shift), a.who))
    return Plan(blocks, assignments, filler.uncovered, (kept, len(wishes)), filler.ledger)


# -- 1. blocks


def plan_blocks(
    program: Program, residents: Sequence[Resident], period: Period, rng: random.Random, progress: Progress
) -> Blocks:
    """A rotation for everybody in every block. The last block takes the days that are left over."""
    count = max(period.days // program.block_days, 1)
    blocks = [_deal(program, residents, rng) for _ in range(count)]
    away = [[_weeks_away(r, b, count, program, period) for r in residents] for b in range(count)]
    tries_a_block = 40 * len(residents)
    for done in range(count * 8):
        at = done % count
        if at == 0:
            progress("blocks", done, count * 8)
        for _ in range(tries_a_block // 4):
            a, b = int(rng.random() * len(residents)), int(rng.random() * len(residents))
            if blocks[at][a] == blocks[at][b] or residents[a].senior != residents[b].senior:
                continue  # an exchange between equals keeps the number of seniors in every rotation
            before = _cost(program, residents, blocks, away, a) + _cost(program, residents, blocks, away, b)
            blocks[at][a], blocks[at][b] = blocks[at][b], blocks[at][a]
            after = _cost(program, residents, blocks, away, a) + _cost(program, residents, blocks, away, b)
            if after > before:
                blocks[at][a], blocks[at][b] = blocks[at][b], blocks[at][a]
    return blocks


def _deal(program: Program, residents: Sequence[Resident], rng: random.Random) -> list[str]:
    """One block at random: seniors where they are needed, then everybody else, what is left to the last rotation.

    With too few residents every rotation gets its share of those who are there.
    """
    order = sorted(range(len(residents)), key=lambda _: rng.random())
    seniors = [who for who in order if residents[who].senior]
    rest = [who for who in order if not residents[who].senior]
    scale = min(1.0, len(residents) / sum(r.heads for r in program.rotations.values()))
    rotation_of = [""] * len(residents)
    open_heads: list[str] = []
    for name, rotation in program.rotations.items():
        taken = [seniors.pop() for _ in range(min(round(rotation.min_seniors * scale), len(seniors)))]
        for who in taken:
            rotation_of[who] = name
        open_heads += [name] * max(round(rotation.heads * scale) - len(taken), 0)
    spare = next(name for name, rotation in program.rotations.items() if rotation.heads == 0)
    for who in rest + seniors:  # interns first, so that seniors are left to be called upon
        rotation_of[who] = open_heads.pop(0) if open_heads else spare
    return rotation_of


def _cost(
    program: Program, residents: Sequence[Resident], blocks: Blocks, away: list[list[float]], who: int
) -> float:
    """What a resident's year costs: leave in busy rotations, hard blocks in a row, an uneven mix, wishes unmet."""
    resident, total = residents[who], 0.0
    seen: dict[str, int] = {}
    previous = ""
    for at, block in enumerate(blocks):
        name = block[who]
        hardship = program.rotations[name].hardship
        total += 3.0 * hardship * away[at][who]
        if name == previous:
            total += hardship
        seen[name] = seen.get(name, 0) + 1
        previous = name
    total += sum(times * times for times in seen.values())
    return total - 1.5 * sum(seen.get(name, 0) > 0 for name in resident.prefers)


def _weeks_away(resident: Resident, at: int, count: int, program: Program, period: Period) -> float:
    first = at * program.block_days
    last = period.days if at == count - 1 else first + program.block_days
    return sum(first <= day < last for day in resident.leave) / 7


# -- 2. days


class _DayFiller:
    """Fills one day after another."""

    def __init__(self, program: Program, ledger: Ledger, blocks: Blocks) -> None:
        self.program = program
        self.ledger = ledger
        self.blocks = blocks
        self.assignments: list[Assignment] = []
        self.uncovered = 0
        self.weekends = [0] * len(ledger.residents)

    def fill(self, day: int) -> None:
        """Give every shift of a day to somebody, if anybody can be found."""
        slots = self._slots(day)
        held: dict[int, int] = {}  # who fills which slot
        holder: list[int | None] = [None] * len(slots)
        for strict in Strictness:
            able = self._able(day, slots, strict, with_interns=strict == Strictness.NO_REST)
            for index in range(len(slots)):
                if holder[index] is None:
                    self._place(index, able, held, holder, set())
            if None not in holder:
                break
        for index, who in enumerate(holder):
            if who is None:
                self.uncovered += 1
                continue
            shift = slots[index].shift
            strict = next(s for s in Strictness if self.ledger.fits(who, day, shift, s))
            self._assign(Assignment(day, shift, who, required=True, strict=strict))
        self._fill_spare_time(day)

    def rotation(self, who: int, day: int) -> str:
        """The rotation of a resident on a day."""
        return self.blocks[min(day // self.program.block_days, len(self.blocks) - 1)][who]

    def at_home(self, who: int, assignment: Assignment) -> bool:
        """Whether a shift belongs to a resident's own rotation, or the resident is one of those called upon."""
        own = self.rotation(who, assignment.day)
        return own == assignment.shift.rotation or self.program.rotations[own].flexible

    def _slots(self, day: int) -> list[Slot]:
        date, slots = self.ledger.period.date(day), []
        for shift in self.program.shifts:
            needed = shift.needed(date)
            slots += [Slot(shift, senior=n < shift.min_seniors) for n in range(needed)]
        return slots

    def _able(self, day: int, slots: list[Slot], strict: Strictness, *, with_interns: bool) -> list[list[int]]:
        """For each slot the residents whom nothing forbids it, the best first."""
        ledger, everybody = self.ledger, range(len(self.ledger.residents))
        share = [ledger.recent_share(who, day) for who in everybody]
        by_shift: dict[str, list[int]] = {}
        able = []
        for slot in slots:
            shift = slot.shift
            if shift.id not in by_shift:
                fit = [who for who in everybody if ledger.fits(who, day, shift, strict)]
                by_shift[shift.id] = sorted(fit, key=lambda w: (self._reluctance(w, day, shift, share[w]), w))
            fit = by_shift[shift.id]
            seniors_only = slot.senior and not with_interns
            able.append([who for who in fit if not seniors_only or ledger.residents[who].senior])
        return able

    def _reluctance(self, who: int, day: int, shift: Shift, share: float) -> float:
        """How unwelcome a shift is: foreign rotations, tired people, days off asked for; runs of nights stay."""
        ledger, own = self.ledger, self.rotation(who, day)
        total = 60 * share
        if own != shift.rotation:
            total += 60 if self.program.rotations[own].flexible else 120
        if day in ledger.residents[who].wishes:
            total += 70
        if shift.night and own == "night_float":
            last_night = ledger.shifts[who][day - 1] if day else None
            total += -50 if last_night is not None and last_night.night else 10
        if ledger.period.date(day).weekday() >= 5:
            total += 2 * self.weekends[who]
        return total + 4 * (ledger.residents[who].senior and not shift.min_seniors)

    def _place(
        self, index: int, able: list[list[int]], held: dict[int, int], holder: list[int | None], asked: set[int]
    ) -> bool:
        """Fill a slot, if need be by moving somebody from another slot that a third one can fill."""
        for who in able[index]:
            if who not in held:
                held[who], holder[index] = index, who
                return True
        for who in able[index]:
            if who in asked:
                continue
            asked.add(who)
            other = held[who]
            if self._place(other, able, held, holder, asked):  # it now has somebody else
                held[who], holder[index] = index, who
                return True
        return False

    def _fill_spare_time(self, day: int) -> None:
        """On weekdays, whoever is in a flexible rotation and has no shift goes about its ordinary work."""
        date = self.ledger.period.date(day)
        if date.weekday() >= 5:
            return
        ordinary = {s.rotation: s for s in self.program.shifts if self.program.rotations[s.rotation].flexible}
        for who, resident in enumerate(self.ledger.residents):
            shift = ordinary.get(self.rotation(who, day))
            if shift is None or day in resident.wishes or self.ledger.recent_share(who, day) > 0.75:
                continue
            if self.ledger.fits(who, day, shift):
                self._assign(Assignment(day, shift, who, required=False, strict=Strictness.ALL_RULES))

    def _assign(self, assignment: Assignment) -> None:
        self.ledger.assign(assignment.who, assignment.day, assignment.shift)
        self.assignments.append(assignment)
        self.weekends[assignment.who] += self.ledger.period.date(assignment.day).weekday() >= 5


# -- 3. exchanges


def _exchange(filler: _DayFiller, rng: random.Random, progress: Progress) -> list[Assignment]:
    """Pass shifts on where that makes the year fairer and no rule is in the way."""
    ledger, assignments = filler.ledger, filler.assignments
    residents, weekends = ledger.residents, filler.weekends
    tries = list(_worth_a_try(filler))
    for done, index in enumerate(tries):
        if done % 500 == 0:
            progress("exchanges", done, len(tries))
        at = assignments[index]
        weekend = ledger.period.date(at.day).weekday() >= 5
        giver = at.who
        wished = at.day in residents[giver].wishes
        takers = [
            who
            for who in range(len(residents))
            if residents[who].senior == residents[giver].senior
            and ledger.shifts[who][at.day] is None
            and at.day not in residents[who].wishes
            and filler.at_home(who, at)
            and (wished or weekends[who] + 1 < weekends[giver])
        ]
        takers.sort(key=lambda who: (weekends[who], rng.random()))
        for who in takers:
            if ledger.fits(who, at.day, at.shift):
                ledger.release(giver, at.day)
                ledger.assign(who, at.day, at.shift)
                weekends[giver] -= weekend
                weekends[who] += weekend
                assignments[index] = at._replace(who=who, strict=Strictness.ALL_RULES)
                break
    return assignments


def _worth_a_try(filler: _DayFiller) -> Iterator[int]:
    """Shifts on days that their holder wanted off, then those of weekends."""
    residents, period = filler.ledger.residents, filler.ledger.period
    for index, a in enumerate(filler.assignments):
        if a.required and a.day in residents[a.who].wishes:
            yield index
    for index, a in enumerate(filler.assignments):
        if a.required and period.date(a.day).weekday() >= 5:
            yield index
