"""What is to go wrong, and when: drawn from the seed before anything starts."""

from __future__ import annotations

from random import Random

from msgspec import Struct

SESSION = 1.5  # seconds after which a silent process is taken for dead

PROCESSES = ("kill engine", "kill worker", "freeze engine", "freeze worker")
REPEATS = ("repeat command", "repeat record")
BROKER = "kill broker"
_EVERY = 1.1  # seconds between two faults, on the average
_BROKER_EVERY = 14.0  # a broker's death stops everything for some seconds; between two there must be work


class Fault(Struct):
    """One thing that goes wrong.

    Attributes:
        at: Seconds after the beginning.
        number: Which engine, worker or broker; or which of what could be repeated.
        seconds: How long the process is away.
    """

    at: float
    kind: str
    number: int
    seconds: float


def draw(seed: int, seconds: float, *, engines: int, workers: int, brokers: int) -> list[Fault]:
    """The faults of a run, in order. Every kind is among them if there is time for all."""
    rng = Random(f"faults of {seed}")
    kinds = list(PROCESSES + REPEATS)
    rng.shuffle(kinds)
    faults = []
    at = 2.0  # the parts must have something in hand
    while at < seconds - 1:
        kind = kinds.pop() if kinds else rng.choices(PROCESSES + REPEATS, weights=(3, 3, 3, 2, 2, 3))[0]
        most = engines if kind.endswith("engine") else workers if kind.endswith("worker") else 1_000_000
        frozen = rng.uniform(1.3, 3.0) * SESSION  # so that the others have taken over when it wakes
        away = frozen if kind.startswith("freeze") else rng.choice([0.0, rng.uniform(0, 3)])
        faults.append(Fault(at, kind, rng.randrange(most), round(away, 2)))
        at += rng.expovariate(1 / _EVERY)
    if brokers:
        at = rng.uniform(0.25, 0.6) * min(seconds, _BROKER_EVERY)
        while at < seconds - 1:
            faults.append(Fault(at, BROKER, rng.randrange(brokers), round(rng.uniform(0, 4), 2)))
            at += rng.uniform(0.7, 1.5) * _BROKER_EVERY
    return sorted(faults, key=lambda fault: fault.at)
