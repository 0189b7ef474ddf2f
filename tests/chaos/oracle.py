"""What must hold of a history when all is over."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from stepwell.schemas.records.events import (
    CommandNoted,
    CommandRejected,
    IncidentRaised,
    StepCompensated,
    StepFailed,
    StepReady,
    StepRetryScheduled,
    StepSucceeded,
    StepWaiting,
    Transition,
    WorkflowStarted,
)

_SETTLES = (StepSucceeded, StepFailed, StepRetryScheduled, StepCompensated)


class Findings(Struct):
    """What was found.

    Attributes:
        lost: Acknowledged commands that no event answers.
        twice: Whatever has happened twice and may happen once.
        strange: All else that cannot be.
        needed: Runs of handlers that the history has asked for and got.
        beyond: Runs of handlers more than that.
    """

    lost: list[str] = []
    twice: list[str] = []
    strange: list[str] = []
    needed: int = 0
    beyond: int = 0


def judge(histories: Iterable[Sequence[Transition]], acknowledged: Iterable[str], notes: Sequence[Any]) -> Findings:
    """Look at the accepted transitions of all partitions."""
    found = Findings()
    answered: set[str] = set()
    given: dict[tuple[str, str, int], list[Any]] = defaultdict(list)
    begun: Counter[tuple[str, str, int]] = Counter()
    for note in notes:
        of = tuple(note["of"])
        if note["what"] == "begin":
            begun[of] += 1
        elif note["what"] == "end":
            given[of].append(note["output"])
    ready: dict[tuple[str, str, int], StepReady] = {}
    for history in histories:
        _judge_partition(history, found, answered, ready, given)
    found.lost = sorted(set(acknowledged) - answered)
    found.needed = len(begun.keys() & ready.keys())
    found.beyond = sum(begun.values()) - found.needed
    found.strange += [f"{of}: a run that nobody asked for" for of in begun.keys() - ready.keys()]
    return found


def _judge_partition(  # noqa: C901, PLR0912 - one pass over a history, each rule beside what it is about
    history: Sequence[Transition],
    found: Findings,
    answered: set[str],
    ready: dict[tuple[str, str, int], StepReady],
    given: Mapping[tuple[str, str, int], Sequence[Any]],
) -> None:
    sequences: Counter[str] = Counter()
    followed: set[str] = set()
    settled: set[tuple[str, str, int]] = set()
    numbered: set[tuple[str, int]] = set()
    started: set[str] = set()
    last = 0
    for transition in history:
        instance_id = transition.instance_id
        if transition.at < last:
            found.strange.append(f"{instance_id}#{transition.sequence}: time goes back")
        last = transition.at
        if transition.sequence:
            if transition.sequence != sequences[instance_id] + 1:
                found.twice.append(f"{instance_id}: event {transition.sequence} after {sequences[instance_id]}")
            sequences[instance_id] = transition.sequence + len(transition.events) - 1
        for command_id in {getattr(event, "command_id", "") for event in transition.events} - {""}:
            answered.add(command_id)
            if all(isinstance(event, (CommandNoted, CommandRejected)) for event in transition.events):
                continue
            if command_id in followed:
                found.twice.append(f"{instance_id}: command {command_id} was followed twice")
            followed.add(command_id)
        for event in transition.events:
            if isinstance(event, WorkflowStarted):
                if instance_id in started:
                    found.twice.append(f"{instance_id}: started twice")
                started.add(instance_id)
            elif isinstance(event, (StepReady, StepWaiting)):
                if (instance_id, event.run) in numbered:
                    found.twice.append(f"{instance_id}: run {event.run} was routed twice")
                numbered.add((instance_id, event.run))
                if isinstance(event, StepReady):
                    ready[instance_id, event.step_id, event.run] = event
            elif isinstance(event, _SETTLES):
                run = (instance_id, event.step_id, event.run)
                if run in settled:
                    found.twice.append(f"{run}: settled twice")
                settled.add(run)
                by_handler = run in ready and isinstance(event, (StepSucceeded, StepCompensated))
                if by_handler and event.output not in given.get(run, ()):
                    found.strange.append(f"{run}: an output that no handler gave: {event.output}")
            elif isinstance(event, IncidentRaised):
                found.strange.append(f"{instance_id}: incident {event.code}: {event.message}")
