"""What a partition's transitions add up to: live instances, the finished ones it remembers, and where to go on."""

import pytest

from stepwell.core.fold import finished
from stepwell.core.fold.acceptance import Stamp
from stepwell.core.fold.partition import PartitionState, Progress, follow
from stepwell.core.fold.snapshots import CHUNK_BYTES, decode_partition, encode_partition
from stepwell.schemas.records.commands import CancelWorkflow, PauseWorkflow, ResumeWorkflow
from stepwell.schemas.records.events import CommandRejected, Transition
from tests.core.build import step, workflow
from tests.core.model import Engine


def ended(instance_id):
    """The transitions of an instance that was started and cancelled."""
    engine = Engine(workflow(step("a")), instance_id=instance_id)
    engine.start(command_id=f"start {instance_id}")
    engine.send(CancelWorkflow(instance_id))
    return engine.transitions


def folded(transitions, state=None):
    state = state or PartitionState()
    for transition in transitions:
        state = follow(state, transition, Stamp(0, 1, source=state.progress.command))
    return state


def test_a_live_instance_is_held_and_a_finished_one_is_only_remembered():
    started, cancelled = ended("i")
    state = follow(PartitionState(), started, Stamp(0, 1, source=7))
    assert state.instances["i"].status == "running"
    assert (state.progress.command, state.at) == (8, 1_000_000)
    state = follow(state, cancelled, Stamp(0, 1, source=9))
    assert not state.instances
    kept = state.finished.get("i")
    assert (kept.status, kept.sequence, kept.command_id) == ("cancelled", 3, "start i")
    assert state.progress.command == 10


def test_a_place_moves_on_and_never_back():
    progress = Progress().after(Stamp(0, 1, source=4, started=1))
    assert progress == Progress(5, 2)
    assert progress.after(Stamp(0, 2, source=3, started=0)) == progress
    assert progress.after(Stamp(0, 2)) == progress


def test_a_start_taken_ahead_of_its_turn_is_passed_over_when_its_turn_comes():
    progress = Progress()
    for ahead in (5, 3, 5):
        progress = progress.after(Stamp(0, 1, ahead=ahead))
    assert progress == Progress(0, 0, (3, 5))
    progress = progress.after(Stamp(0, 2, started=1))
    assert progress == Progress(0, 2, (3, 5))
    progress = progress.after(Stamp(0, 3, started=2))
    assert progress == Progress(0, 4, (5,))
    assert progress.after(Stamp(0, 4, started=6)) == Progress(0, 7)
    assert Progress().after(Stamp(0, 1, ahead=0)) == Progress(0, 1)


def test_an_answer_for_an_instance_that_is_not_live_is_no_history():
    answer = Transition(2, 5, "i", 0, (CommandRejected("PauseWorkflow", "unknown_instance", "there is none"),))
    state = follow(PartitionState(), answer, Stamp(0, 1, source=3))
    assert (dict(state.instances), state.progress.command, state.at) == ({}, 4, 5)


def test_a_reopened_instance_is_live_again_and_finishes_again():
    engine = Engine(workflow(step("a")))
    engine.start()
    engine.fail("a")
    engine.send(ResumeWorkflow("i"))
    state = folded(engine.transitions)
    assert [*state.instances] == ["i"]
    engine.complete("a")
    state = folded(engine.transitions)
    assert not state.instances
    kept = state.finished.get("i")
    assert (kept.status, kept.number) == ("completed", 1)


def small_blocks(monkeypatch):
    monkeypatch.setattr(finished, "BLOCK", 2)
    monkeypatch.setattr(finished, "BLOCKS", 3)


def test_the_oldest_finished_instance_is_forgotten_first(monkeypatch):
    small_blocks(monkeypatch)
    state = PartitionState()
    for number in range(9):
        state = folded(ended(f"i{number}"), state)
    assert [name for name, _ in state.finished.entries()] == ["i2", "i3", "i4", "i5", "i6", "i7", "i8"]
    assert [f"i{number}" in state.finished for number in range(9)] == [False] * 2 + [True] * 7
    state = folded(ended("i9"), state)
    assert [name for name, _ in state.finished.entries()] == ["i4", "i5", "i6", "i7", "i8", "i9"]
    assert decode_partition(encode_partition(state)) == state


def test_an_instance_that_finished_again_is_remembered_by_its_last_end(monkeypatch):
    small_blocks(monkeypatch)
    engine = Engine(workflow(step("a")), instance_id="again")
    engine.start()
    engine.fail("a")
    first = list(engine.transitions)
    engine.send(ResumeWorkflow("again"))
    engine.fail("a")
    state = folded(first)
    for number in range(5):
        state = folded(ended(f"i{number}"), state)
    state = folded(engine.transitions[len(first) :], state)
    assert state.finished.get("again").number == 6
    state = folded(ended("i5"), state)  # its first end falls out of the window
    assert [name for name, _ in state.finished.entries()] == ["i1", "i2", "i3", "i4", "again", "i5"]


def test_a_hole_in_a_history_is_noticed():
    engine = Engine(workflow(step("a")))
    engine.start()
    engine.send(PauseWorkflow("i"))
    with pytest.raises(LookupError, match="before the instance was started"):
        follow(PartitionState(), engine.transitions[1], Stamp(0, 1))


def test_an_instance_larger_than_a_chunk_is_cut():
    engine = Engine(workflow(step("a"), step("b", "a")))
    engine.start({"large": "x" * 3 * CHUNK_BYTES})
    state = folded([*engine.transitions, *ended("other")])
    chunks = list(encode_partition(state))
    assert len(chunks) > 3
    assert max(map(len, chunks)) == CHUNK_BYTES
    assert decode_partition(chunks) == state


@pytest.mark.parametrize("chunks", [[], [b""], [b"{}\n"], [b"nonsense"], [b"\n"]])
def test_what_is_no_snapshot_is_refused(chunks):
    with pytest.raises(ValueError):
        decode_partition(chunks)


def test_a_snapshot_that_is_not_whole_is_refused():
    chunks = list(encode_partition(folded(ended("i"))))
    with pytest.raises(ValueError):
        decode_partition([chunks[0][:-1]])
