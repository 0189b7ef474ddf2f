"""The laws of design.md, section 5, over random graphs, commands and orders of events."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from stepwell.core.fold.acceptance import Stamp
from stepwell.core.fold.evolve import evolve, fold
from stepwell.core.fold.partition import PartitionState, follow
from stepwell.core.fold.snapshots import decode_partition, encode_partition
from stepwell.core.fold.state import InstanceState, decode_instance, encode_instance, progress
from stepwell.schemas.records.commands import (
    CancelWorkflow,
    FailStep,
    HeartbeatStep,
    PauseWorkflow,
    QuarantineInstance,
    ReportStarted,
    ResumeWorkflow,
    RollbackWorkflow,
)
from stepwell.schemas.records.events import ErrorInfo, RollbackStarted, Transition, WorkflowReopened
from stepwell.schemas.records.statuses import StepStatus
from tests.core.invariants import Watch
from tests.core.model import Engine, definition, examples, fixed_fate, good_fate, moody_fate, nonsense, play

ROOT = Path(__file__).resolve().parents[2]
graphs = st.builds(definition, st.randoms(use_true_random=False))
seeds = st.integers(0, 2**32)
budgets = st.sampled_from((256, 3, 1))


def scene(graph, seed, *, budget=256, commands=60, **fields) -> Engine:
    """An instance that much has happened to."""
    rnd = random.Random(seed)
    engine = Engine(graph, moody_fate(rnd), budget=budget, **fields)
    engine.watch = Watch(engine.plan)
    for _ in play(engine, rnd, commands=commands):
        pass
    return engine


def without_answers(state: InstanceState | None) -> bytes:
    """A state without its counts of answers: what a repeat must not change."""
    return b"" if state is None else encode_instance(replace(state, sequence=0, commands=()))


# --- 1. determinism -------------------------------------------------------------------------------------------


@examples(60)
@given(graphs, seeds, budgets)
def test_folding_the_same_events_gives_the_same_bytes(graph, seed, budget):
    engine = scene(graph, seed, budget=budget)
    first, second = fold(engine.transitions), fold(engine.transitions)
    assert encode_instance(first) == encode_instance(second) == encode_instance(engine.latest)


def fingerprint(scenes: int) -> str:
    """A hash of everything that many scenes led to: every event, and every state in its encoding."""
    digest = hashlib.sha256()
    for seed in range(scenes):
        rnd = random.Random(seed)
        engine = scene(definition(rnd), seed, budget=rnd.choice((1, 256)))
        for encoded in (*engine.encoded, encode_instance(engine.latest)):
            digest.update(encoded)
    return digest.hexdigest()


def test_every_process_decides_and_folds_the_same_whatever_its_hash_seed():
    scenes = 60
    source = f"from tests.core.test_laws import fingerprint; print(fingerprint({scenes}))"
    found = {fingerprint(scenes)}
    for hash_seed in ("0", "1", "4242"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        ran = subprocess.run(
            [sys.executable, "-c", source], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
        )
        found.add(ran.stdout.strip())
    assert len(found) == 1


# --- 2. prefix ------------------------------------------------------------------------------------------------


@examples(60)
@given(graphs, seeds, st.floats(0, 1))
def test_a_fold_may_stop_anywhere_be_saved_and_go_on(graph, seed, where):
    engine = scene(graph, seed)
    cut = round(where * len(engine.transitions))
    head, tail = engine.transitions[:cut], engine.transitions[cut:]
    whole, state = fold(engine.transitions), fold(head)
    assert encode_instance(fold(tail, state)) == encode_instance(whole)
    if state is not None:
        saved = decode_instance(encode_instance(state))
        assert saved == state
        assert encode_instance(saved) == encode_instance(state)
        assert encode_instance(fold(tail, saved)) == encode_instance(whole)


@examples(60)
@given(graphs, seeds, st.floats(0, 1))
def test_a_fold_stops_at_any_event(graph, seed, where):
    engine = scene(graph, seed)
    to = round(where * engine.latest.sequence)
    state, events = None, [(one.at, event) for one in engine.transitions for event in one.events]
    for at, event in events[:to]:
        state = evolve(state, event, at, engine.id)
    assert fold(engine.transitions, to=to) == state


@examples(60)
@given(graphs, seeds, budgets)
def test_deciding_on_a_state_from_a_snapshot_leads_to_the_same_bytes(graph, seed, budget):
    assert scene(graph, seed, budget=budget, forgetful=True).encoded == scene(graph, seed, budget=budget).encoded


def stamps(seed: int, count: int) -> list[Stamp]:
    """Where commands come from: most from ``commands``, some from ``starts``, in their turn or ahead of it."""
    rnd, source, started, ahead = random.Random(seed), -1, -1, set()
    made = []
    for index in range(1, count + 1):
        taken, kind = -1, rnd.random()
        free = [offset for offset in range(started + 1, started + 9) if offset not in ahead]
        if kind < 0.6:
            source += 1
        elif kind < 0.85 or not free:
            started += 1 + (started + 1 in ahead)
        else:
            taken = rnd.choice(free)
            ahead.add(taken)
        made.append(Stamp(0, index, source, started=started, ahead=taken))
    return made


def partition_history(seed: int, instances: int) -> list[Transition]:
    """Transitions of several instances, interleaved."""
    rnd = random.Random(seed)
    histories = [
        list(scene(definition(rnd, most_steps=6), seed + n, commands=30, instance_id=f"i{n}").transitions)
        for n in range(instances)
    ]
    merged = []
    while histories:
        history = rnd.choice(histories)
        merged.append(history.pop(0))
        histories = [history for history in histories if history]
    return merged


@examples(25)
@given(seeds, st.floats(0, 1))
def test_a_partition_may_be_saved_anywhere(seed, where):
    transitions = partition_history(seed, 6)
    cut = round(where * len(transitions))
    states, places = [PartitionState()], stamps(seed, len(transitions))
    for transition, stamp in zip(transitions, places, strict=True):
        states.append(follow(states[-1], transition, stamp))
    chunks = list(encode_partition(states[cut]))
    saved = decode_partition(chunks)
    assert saved == states[cut]
    assert list(encode_partition(saved)) == chunks
    for transition, stamp in zip(transitions[cut:], places[cut:], strict=True):
        saved = follow(saved, transition, stamp)
    assert list(encode_partition(saved)) == list(encode_partition(states[-1]))
    assert all(instance.live for instance in saved.instances.values())


# --- 3. totality ----------------------------------------------------------------------------------------------


@examples(120)
@given(graphs, seeds, budgets)
def test_every_command_yields_events_or_one_answer_and_every_event_keeps_the_invariants(graph, seed, budget):
    engine = scene(graph, seed, budget=budget, commands=80)
    numbers = [(transition.sequence, len(transition.events)) for transition in engine.transitions]
    assert all(first + count == following for (first, count), (following, _) in pairwise(numbers))


@examples(100)
@given(graphs, seeds)
def test_no_nonsense_brings_decide_down_or_moves_the_instance(graph, seed):
    rnd = random.Random(seed)
    engine = scene(graph, seed, commands=rnd.randrange(60))
    for _ in range(30):
        command = nonsense(engine, rnd)
        before = engine.latest
        decision = engine.send(command)
        speaks_of_a_run = engine.in_hand and getattr(command, "run", 0) <= before.runs and hasattr(command, "run")
        tags = {event.__struct_config__.tag for event in decision.events}
        if not speaks_of_a_run and tags & {"command.rejected", "command.noted"}:
            assert without_answers(before) == without_answers(engine.latest)


# --- 4. idempotence -------------------------------------------------------------------------------------------


@examples(80)
@given(graphs, seeds, budgets)
def test_a_command_delivered_twice_changes_nothing_the_second_time(graph, seed, budget):
    rnd = random.Random(seed)
    engine = Engine(graph, moody_fate(rnd), budget=budget)
    for command in play(engine, rnd, commands=50, quarantine=False):
        if isinstance(command, RollbackWorkflow) and not command.command_id:
            continue  # nonsense may lack an id: then a second one is a second request
        before, archived = engine.state, engine.archived
        decision = engine.send(command)
        assert without_answers(engine.state) == without_answers(before), command
        assert engine.archived is archived
        if isinstance(command, HeartbeatStep):  # a second sign of life says the same
            continue
        answers = {"command.rejected", "command.noted"}
        assert {event.__struct_config__.tag for event in decision.events} <= answers, command
        if getattr(command, "command_id", "") and before is not None:
            assert not decision.events, command


@examples(60)
@given(graphs, seeds)
def test_a_late_word_of_any_earlier_run_changes_nothing(graph, seed):
    rnd = random.Random(seed)
    engine = scene(graph, seed, commands=70)
    latest = engine.latest
    under_way = {step.run for step in latest.steps.values() if step.status in (StepStatus.READY, StepStatus.RUNNING)}
    if latest.rollback and latest.rollback.current:
        under_way.add(latest.rollback.current.run)
    late = [command for command in engine.said if command.run not in under_way]
    for command in rnd.sample(late, min(20, len(late))):
        error = ErrorInfo("Boom")
        for word in (command, FailStep(engine.id, command.step_id, command.run, error),
                     ReportStarted(engine.id, command.step_id, command.run, "late"),
                     HeartbeatStep(engine.id, command.step_id, command.run, "late")):  # fmt: skip
            before = without_answers(engine.state)
            engine.send(word)
            assert without_answers(engine.state) == before


# --- 5. confluence --------------------------------------------------------------------------------------------


@examples(80)
@given(st.builds(partial(definition, confluent=True), st.randoms(use_true_random=False)), seeds, budgets)
def test_independent_outcomes_may_arrive_in_any_order(graph, seed, budget):
    ends = []
    for order in range(4):
        rnd = random.Random(order)
        engine = Engine(graph, fixed_fate(seed), budget=256 if order % 2 else budget)
        engine.watch = Watch(engine.plan)
        engine.start()
        engine.drain(rnd if order else None)
        state = engine.latest
        error = state.error and (state.error.type, state.error.message)
        settled = {step_id: (step.status, step.attempt) for step_id, step in state.steps.items()}
        ends.append((state.status, state.output, error, settled, progress(state)))
    assert all(end == ends[0] for end in ends)


# --- 6. rollback ----------------------------------------------------------------------------------------------


@examples(120)
@given(graphs, seeds, seeds, st.booleans())
def test_after_a_rollback_progress_is_what_it_was(graph, seed, choice, pause):
    engine = scene(graph, seed, commands=choice % 80)
    engine.fate = good_fate
    rnd = random.Random(choice)
    to = 1 + rnd.randrange(engine.latest.sequence)
    # Words about an error handler are left out: a later failure of its step runs it anew, in its old place.
    handlers = {step_id for step_id, plan_step in engine.plan.steps.items() if plan_step.handles}

    def achieved(state):
        found = progress(state)
        return {**found, "steps": {key: step for key, step in found["steps"].items() if key not in handlers}}

    then, now = fold(engine.transitions, to=to), engine.latest
    undone = sorted(
        (
            (step.settled, step_id)
            for step_id, step in now.steps.items()
            if step.status is StepStatus.SUCCEEDED
            and step.settled > to
            and engine.plan.steps[step_id].step.compensate
        ),
        reverse=True,
    )
    late = list(engine.in_hand)
    decision = engine.send(RollbackWorkflow(engine.id, to, pause, "the rollback"))
    started = [event for event in decision.events if isinstance(event, RollbackStarted)]
    if not started:
        assert decision.events[0].code in ("unknown_checkpoint", "rollback_under_way", "nothing_to_undo")
        refused = decision.events[0].code == "unknown_checkpoint"
        assert not refused or any(first <= to <= last for first, last in now.abandoned)
        return
    assert started[0].compensate == tuple(step_id for _, step_id in undone)
    while engine.latest.rollback and engine.state and engine.state.status == "running":
        (undoing,) = [item for item in engine.in_hand if item.step.run == engine.state.rollback.current.run]
        engine.deliver(undoing)
    if engine.latest.rollback:  # a compensation whose input cannot be made: a person goes on without it
        return
    end = next(
        n for n, event in enumerate(engine.events, 1) if n > now.sequence and tag(event) == "workflow.rolled_back"
    )
    back = fold(engine.transitions, to=end)
    assert achieved(back) == achieved(then)
    assert dict(back.checkpoints) == dict(then.checkpoints)
    assert not pause or (engine.state and engine.state.status == "paused")
    if engine.state is not None:
        before = without_answers(engine.state)
        for item in late:
            engine.deliver(item)
        assert without_answers(engine.state) == before


def tag(event):
    return event.__struct_config__.tag


# --- 8. liveness, its pure part ---------------------------------------------------------------------------------


@examples(120)
@given(graphs, seeds, budgets)
def test_once_handlers_succeed_and_persons_resume_every_instance_finishes(graph, seed, budget):
    rnd = random.Random(seed)
    engine = scene(graph, seed, budget=budget)
    engine.fate, engine.agreeable = good_fate, True
    for attempt in range(2 * len(engine.plan.steps) + 3):
        engine.drain(rnd)
        if engine.state is None:
            return
        assert engine.state.status == "paused"  # nothing is under way: it must wait for a person
        if attempt > 2 and any(engine.plan.steps[key].step.type == "approval_gate" for key in engine.state.failures):
            engine.send(CancelWorkflow(engine.id, "a gate that nobody can be asked to open, and nobody may skip"))
            continue
        engine.send(ResumeWorkflow(engine.id, "retry" if attempt < 2 else "skip", f"resume {attempt}"))
    raise AssertionError("it never finishes")


@examples(60)
@given(graphs, seeds)
def test_a_pause_and_a_resume_anywhere_do_not_change_the_end(graph, seed):
    """Nobody notices: no run is lost, none is run twice."""
    ends = []
    for pauses in (False, True):
        rnd = random.Random(seed)
        engine = Engine(graph, fixed_fate(seed))
        engine.watch = Watch(engine.plan)
        engine.start()
        number = 0
        while engine.state is not None and engine.state.status == "running" and number < 500:
            number += 1
            if pauses and rnd.random() < 0.3 and engine.state.rollback is None:
                engine.send(PauseWorkflow(engine.id, "", f"pause {number}"))
                engine.send(ResumeWorkflow(engine.id, "retry", f"resume {number}"))
            elif engine.in_hand:
                engine.deliver(engine.in_hand[0])
            elif engine.waits():
                step_id = engine.waits()[0]
                engine.send(engine.word(step_id, f"vote {number}", well=len(step_id) % 2 == 0))
            elif not engine.go_on():
                due = engine.next_due()
                engine.wait(max(0, due - engine.now) / 1000)
        state = engine.latest
        ends.append((state.status, state.output, state.failed_step, state.incident, progress(state), state.runs))
    assert ends[0] == ends[1]


@pytest.mark.parametrize("seed", range(30))
def test_a_quarantined_instance_resumes_and_finishes(seed):
    rnd = random.Random(seed)
    engine = Engine(definition(rnd), moody_fate(rnd))
    for _ in play(engine, rnd, commands=rnd.randrange(30)):
        pass
    if engine.state is None:
        return
    engine.send(QuarantineInstance(engine.id, ErrorInfo("KeyError", "a bug")))
    lost = list(engine.in_hand)
    for item in lost:
        engine.deliver(item)  # rejected while it is quarantined
    assert not any(isinstance(event, WorkflowReopened) for event in engine.transitions[-1].events)
    engine.fate, engine.agreeable = good_fate, True
    for attempt in range(2 * len(engine.plan.steps)):
        if engine.state is None:
            return
        if attempt > 2 and any(engine.plan.steps[key].step.type == "approval_gate" for key in engine.state.failures):
            engine.send(CancelWorkflow(engine.id, "a gate that nobody can be asked to open, and nobody may skip"))
            return
        engine.send(ResumeWorkflow(engine.id, "retry" if attempt < 2 else "skip", f"r{attempt}"))
        engine.drain(rnd)
    assert engine.state is None
