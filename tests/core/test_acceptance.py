"""The ownership rule against owners that all believe they own the partition, over a log that does its worst.

Appends land late, twice, in another order or never; acknowledgements get lost; owners come and go at any moment. Two
things must hold of every run, and a weaker rule, or an owner that does not ask for proof, must break them.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell.core.fold.acceptance import (
    CLAIM,
    EPOCH,
    INDEX,
    KIND,
    SNAPSHOT,
    SOURCE,
    TRANSITION,
    Acceptance,
    Stamp,
    proves,
    read_stamp,
    stamp_headers,
)
from tests.core.model import examples

RUNS = int(os.environ.get("STEPWELL_EXAMPLES", "0")) or 3_000

Headers = dict[str, str]
Read = Callable[[Acceptance, int, Headers], tuple[Acceptance, bool]]


def by_the_rule(known: Acceptance, offset: int, headers: Headers) -> tuple[Acceptance, bool]:
    return known.read(offset, headers)


class Accepted(NamedTuple):
    offset: int
    command: int


def history(log: list[Headers], read: Read = by_the_rule) -> list[Accepted]:
    known, kept = Acceptance(), []
    for offset, headers in enumerate(log):
        known, counts = read(known, offset, headers)
        if counts:
            kept.append(Accepted(offset, int(headers[SOURCE])))
    return kept


@dataclass
class Owner:
    """Believes that it owns the partition."""

    claimed: bool = False
    epoch: int = -1  # unknown until its claim is acknowledged
    written: int = 0  # transitions appended, acknowledged or not
    proved: int = 0
    next_command: int = 0
    offsets: dict[int, int] = field(default_factory=dict)  # of index -> where its append landed; 0 is the claim


class InFlight(NamedTuple):
    owner: int
    index: int
    headers: Headers


@dataclass
class World:
    """A partition, whoever writes to it, and whatever is under way to it."""

    rnd: random.Random
    commands: int
    orderly: bool  # appends of one owner land in order and once, as with Kafka's idempotent producer
    proof: Callable[[int, int, int], bool]
    read: Read
    log: list[Headers] = field(default_factory=list)
    flight: list[InFlight] = field(default_factory=list)
    owners: dict[int, Owner] = field(default_factory=dict)
    born: int = 0
    released: list[Accepted] = field(default_factory=list)
    stepped_back: int = 0

    def live(self) -> None:
        """Anything may happen; then trouble ends, and one last owner decides what is left."""
        for _ in range(self.rnd.randrange(50, 400)):
            dice = self.rnd.random()
            if dice < 0.05 and len(self.owners) < 4:
                self.owners[self.born] = Owner()
                self.born += 1
            elif dice < 0.45 and self.flight:
                self._network()
            elif self.owners:
                who = self.rnd.choice(sorted(self.owners))
                self._act(who, self.owners[who])
        epoch = len(self.log)
        self.log.append({KIND: CLAIM})
        rest = range(self._next_command(epoch), self.commands)
        self.log += [_transition(epoch, index, command) for index, command in enumerate(rest, 1)]

    def _network(self) -> None:
        at = 0 if self.rnd.random() < 0.6 else self.rnd.randrange(len(self.flight))
        if self.orderly:
            at = next(n for n, one in enumerate(self.flight) if one.owner == self.flight[at].owner)
        sent, fate = self.flight[at], self.rnd.random()
        if fate < 0.05:
            if self.orderly:  # a lost append ends the session; nothing of it lands afterwards
                self.flight = [one for one in self.flight if one.owner != sent.owner]
                self.owners.pop(sent.owner, None)
            else:
                del self.flight[at]
            return
        if self.orderly or fate < 0.9:  # else it lands, and stays under way to land again
            del self.flight[at]
        self.log.append(sent.headers)
        if sent.owner in self.owners and self.rnd.random() < 0.95:
            self.owners[sent.owner].offsets.setdefault(sent.index, len(self.log) - 1)

    def _act(self, who: int, owner: Owner) -> None:
        if not owner.claimed:
            owner.claimed = True
            self.flight.append(InFlight(who, 0, {KIND: CLAIM}))
        elif owner.epoch < 0:
            if 0 in owner.offsets:
                owner.epoch = owner.offsets[0]
                owner.next_command = self._next_command(owner.epoch)
        elif self.rnd.random() < 0.02:
            del self.owners[who]  # it dies; what it has sent is still under way
        elif self.rnd.random() < 0.5 and owner.next_command < self.commands:
            owner.written += 1
            headers = _transition(owner.epoch, owner.written, owner.next_command)
            self.flight.append(InFlight(who, owner.written, headers))
            owner.next_command += 1
        elif owner.proved + 1 in owner.offsets:
            offset = owner.offsets[owner.proved + 1]
            if self.proof(owner.epoch, owner.proved + 1, offset):
                owner.proved += 1
                self.released.append(Accepted(offset, int(self.log[offset][SOURCE])))
            else:  # somebody else wrote
                del self.owners[who]
                self.stepped_back += 1

    def _next_command(self, upto: int) -> int:
        kept = history(self.log[:upto], self.read)
        return kept[-1].command + 1 if kept else 0


def _transition(epoch: int, index: int, command: int) -> Headers:
    return stamp_headers(TRANSITION, Stamp(epoch, index, source=command))


def world(seed: int, *, proof=proves, read: Read = by_the_rule) -> World:
    rnd = random.Random(seed)
    made = World(rnd, commands=rnd.randrange(1, 15), orderly=rnd.random() < 0.3, proof=proof, read=read)
    made.live()
    return made


def is_broken(made: World) -> str:
    """Which of the two assertions a run breaks."""
    kept = history(made.log, made.read)
    if [one.command for one in kept] != list(range(made.commands)):
        return "the history is not each command once, in order"
    if not {*made.released} <= {*kept}:
        return "something was released that is no part of the history"
    return ""


def test_the_history_holds_each_command_once_and_all_that_was_released_on_proof():
    worlds = [world(seed) for seed in range(RUNS)]
    assert [(seed, is_broken(made)) for seed, made in enumerate(worlds) if is_broken(made)] == []
    # The runs must have been worth it: foreign writes were noticed, late ones refused, and much was released.
    refused = sum(KIND in one and one[KIND] == TRANSITION for made in worlds for one in made.log) - sum(
        len(history(made.log)) for made in worlds
    )
    assert sum(made.stepped_back for made in worlds) > RUNS / 10
    assert sum(len(made.released) for made in worlds) > RUNS
    assert refused > RUNS


def no_epoch(known, offset, headers):
    return known.read(offset, headers | {EPOCH: str(known.epoch)} if headers[KIND] == TRANSITION else headers)


def no_index(known, offset, headers):
    return known.read(offset, headers | {INDEX: str(known.index + 1)} if headers[KIND] == TRANSITION else headers)


def gaps_allowed(known, offset, headers):
    if headers[KIND] == TRANSITION and int(headers[EPOCH]) == known.epoch and int(headers[INDEX]) > known.index:
        return Acceptance(known.epoch, int(headers[INDEX])), True
    return known.read(offset, headers)


def repeats_allowed(known, offset, headers):
    again = headers[KIND] == TRANSITION and int(headers[EPOCH]) == known.epoch and headers[INDEX] == str(known.index)
    return (known, True) if again else known.read(offset, headers)


def later_claims_ignored_by_older_epochs(known, offset, headers):
    if headers[KIND] == CLAIM and known.epoch >= 0 and known.index == 0:
        return known, False  # "nothing was written yet, so the older claim may stand"
    return known.read(offset, headers)


@pytest.mark.parametrize(
    "weaker", [no_epoch, no_index, gaps_allowed, repeats_allowed, later_claims_ignored_by_older_epochs]
)
def test_a_weaker_rule_is_found_out(weaker):
    assert any(is_broken(world(seed, read=weaker)) for seed in range(2_000))


@pytest.mark.parametrize(
    "proof",
    [
        pytest.param(lambda *_: True, id="none"),
        pytest.param(lambda epoch, index, offset: offset >= epoch + index, id="at least"),
        pytest.param(lambda epoch, index, offset: offset > epoch, id="behind the claim"),
    ],
)
def test_a_weaker_proof_is_found_out(proof):
    assert any(is_broken(world(seed, proof=proof)) for seed in range(2_000))


@examples(150)
@given(st.integers(0, 2**32), st.floats(0, 1))
def test_a_reader_that_starts_in_the_middle_accepts_the_same(seed, where):
    log = world(seed).log
    start = round(where * len(log))
    known = Acceptance()
    for offset, headers in enumerate(log[:start]):
        known, _ = known.read(offset, headers)
    kept = []
    for offset, headers in enumerate(log[start:], start):
        known, counts = known.read(offset, headers)
        if counts:
            kept.append(offset)
    assert kept == [one.offset for one in history(log) if one.offset >= start]


def test_before_the_first_claim_nothing_counts():
    known = Acceptance()
    for epoch in (-1, 0):
        known, counts = known.read(0, _transition(epoch, 1, 0))
        assert not counts
    assert known == Acceptance()


def test_a_snapshot_record_is_fenced_like_every_transition():
    known, _ = Acceptance().read(7, {KIND: CLAIM})
    stamp = stamp_headers(SNAPSHOT, Stamp(7, 1))
    after, counts = known.read(8, stamp)
    assert counts
    assert after == Acceptance(7, 1)
    assert after.read(9, stamp) == (after, False)
    replaced, _ = known.read(8, {KIND: CLAIM})
    assert replaced.read(9, stamp) == (replaced, False)


@pytest.mark.parametrize(
    "headers", [{}, {KIND: "noise"}, {KIND: TRANSITION}, {KIND: TRANSITION, EPOCH: "7", INDEX: "x"}]
)
def test_a_record_of_another_kind_or_without_a_stamp_changes_nothing(headers):
    known = Acceptance(7, 3)
    assert known.read(20, headers) == (known, False)


def test_a_stamp_is_read_as_it_was_written():
    stamp = Stamp(epoch=9, index=2, source=4, snapshot=1, released=8)
    assert read_stamp(stamp_headers(TRANSITION, stamp)) == stamp
    with pytest.raises(KeyError):
        read_stamp({KIND: TRANSITION})
