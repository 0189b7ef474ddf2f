"""What goes wrong in a simulated log, and when: drawn from one seeded source, so that a seed repeats it all."""

from __future__ import annotations

import random
from collections import Counter
from typing import Final, NamedTuple

from stepwell.errors import LogError, LogFullError


class Rates(NamedTuple):
    """How often what goes wrong: probabilities of a single operation, and times in seconds.

    Attributes:
        latency: The shortest and the longest way to the log or back, as a rule.
        straggler: An operation takes ``straggling`` seconds at most instead.
        refused: An append fails and leaves nothing.
        doubt: An append fails, and nobody can say what became of it.
        lateness: How much later a doubtful append may still land.
        split: The records of one append land apart, and others in between.
        read_error: A reading call fails.
        short_read: A read gives fewer records than there are.
        crash: The process dies in the middle of a call.
        shuffled: A worker gets records in another order than the queue's.
        delayed: A queue's record is seen by workers only ``lateness`` seconds later at most.
        forgetful: A settlement appends its outcomes and forgets no delivery.
        keeps: ``delete_before`` does nothing.
        burial: How long a death goes unnoticed, at most.
    """

    latency: tuple[float, float] = (0.0, 0.0)
    straggler: float = 0.0
    straggling: float = 1.0
    refused: float = 0.0
    doubt: float = 0.0
    lateness: float = 5.0
    split: float = 0.0
    read_error: float = 0.0
    short_read: float = 0.0
    crash: float = 0.0
    shuffled: float = 0.0
    delayed: float = 0.0
    forgetful: float = 0.0
    keeps: float = 0.0
    burial: float = 0.0


CALM: Final = Rates(latency=(0.0001, 0.002))
"""A log that works."""

STORMY: Final = Rates(
    latency=(0.0005, 0.02),
    straggler=0.02,
    refused=0.004,
    doubt=0.008,
    split=0.03,
    read_error=0.002,
    short_read=0.1,
    crash=0.002,
    shuffled=0.2,
    delayed=0.05,
    forgetful=0.02,
    keeps=0.3,
    burial=3.0,
)
"""A log that has a bad day."""


class Fate(NamedTuple):
    """What becomes of an append.

    Attributes:
        error: What its caller hears, if not success.
        landings: How many seconds late it lands, each time that it does. On success exactly once, in time.
    """

    error: LogError | None = None
    landings: tuple[float, ...] = (0.0,)


_WELL: Final = Fate()


class Faults:
    """Draws what goes wrong.

    Args:
        dice: The source of all chance.
        rates: How often what happens.

    Attributes:
        active: Whether anything goes wrong at all; ``heal`` ends it.
        full: Whether the log has no room.
        slowness: What latencies are multiplied by.
        counts: How often what has happened.
    """

    def __init__(self, dice: random.Random, rates: Rates = CALM) -> None:
        self.dice = dice
        self.rates = rates
        self.active: bool = rates != CALM
        self.full: bool = False
        self.slowness: float = 1.0
        self.counts: Counter[str] = Counter()

    def heal(self) -> None:
        """From now on everything works. What is on its way may still be late."""
        self.active = self.full = False
        self.slowness = 1.0

    def strikes(self, kind: str, probability: float) -> bool:
        """Whether this goes wrong now."""
        if not self.active or not probability or self.dice.random() >= probability:
            return False
        self.counts[kind] += 1
        return True

    def latency(self) -> float:
        """Seconds to the log, or back."""
        shortest, longest = self.rates.latency
        seconds = shortest + (longest - shortest) * self.dice.random()
        if self.active:
            seconds *= self.slowness
            if self.strikes("straggler", self.rates.straggler):
                seconds += self.dice.random() * self.rates.straggling
        return seconds

    def late(self) -> float:
        """Seconds that something comes too late."""
        return self.dice.random() ** 2 * self.rates.lateness  # mostly little

    def of_append(self) -> Fate:
        """What becomes of an append."""
        if not self.active:
            return _WELL
        if self.full:
            self.counts["full"] += 1
            remedy = "Make room, then try again."
            return Fate(LogFullError("there is no room left", place="the simulated log", remedy=remedy), ())
        if self.strikes("refused", self.rates.refused):
            return Fate(LogError("refused", place="the simulated log"), ())
        if not self.strikes("doubt", self.rates.doubt):
            return _WELL
        kind = self.dice.choice(("never", "lost answer", "late", "late", "twice", "late twice"))
        self.counts[f"doubt: {kind}"] += 1
        landings = {
            "never": (),
            "lost answer": (0.0,),
            "late": (self.late(),),
            "twice": (0.0, self.late()),
            "late twice": (self.late(), self.late()),
        }[kind]
        return Fate(LogError("no answer came", place="the simulated log"), landings)

    def of_orphan(self) -> Fate:
        """What becomes of an append that was on its way when its process died."""
        if not self.active:
            return Fate(None, ())
        kind = self.dice.choice(("never", "in time", "in time", "late"))
        self.counts[f"crash: append {kind}"] += 1
        return Fate(None, {"never": (), "in time": (0.0,), "late": (self.late(),)}[kind])
