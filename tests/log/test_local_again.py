"""Work that is sent again is one entry of the file's queue; and how often it was lost with its worker is counted."""

from __future__ import annotations

import asyncio

import pytest

from stepwell.log.local import handover, resends
from stepwell.log.local.log import LocalLog
from stepwell.log.port import AGAIN, COMMANDS, ID, NewRecord, Outgoing
from tests.files import database


def sent(name: str, *, again: bool = False) -> NewRecord:
    return NewRecord("k", name.encode(), {ID: name, **({AGAIN: "1"} if again else {})})


def waiting(log: LocalLog) -> list[str]:
    with database(log.path) as shell:
        return [value.decode() for (value,) in shell.execute("SELECT value FROM queue ORDER BY id")]


async def served(log: LocalLog, prefetch: int = 1):
    worker = await log.consume(["q"], prefetch=prefetch)
    while not worker.open_to_new:  # until it has looked, and found nothing
        await asyncio.sleep(0.001)
    return worker


async def test_what_waits_is_one_entry_whatever_is_sent_again(open_log):
    log = await open_log()
    await log.enqueue("q", [sent("a"), sent("b")])
    await log.enqueue("q", [sent("a", again=True), sent("c", again=True), sent("c", again=True)])
    await (await open_log()).enqueue("q", [sent("c", again=True), sent("b", again=True)])
    assert waiting(log) == ["a", "b", "c"]


async def test_an_entry_that_a_dead_worker_gives_back_is_the_one_that_was_sent_again(open_log):
    log = await open_log()
    worker = await served(log)
    written = log.enqueue("q", [sent("a")])
    await worker.take(1)
    await written
    await log._shut(tidy=False)
    other = await open_log()
    await other.enqueue("q", [sent("a", again=True)])
    worker = await other.consume(["q"], prefetch=5)
    (taken,) = await worker.take(5)
    assert waiting(other) == ["a"]
    await worker.settle([taken])
    assert waiting(other) == []


async def test_what_is_in_hand_in_memory_is_found_when_it_is_sent_again(open_log):
    log = await open_log()
    worker = await served(log)
    first = log.enqueue("q", [sent("a")])
    (taken,) = await worker.take(1)
    assert not first.done()
    await log.enqueue("q", [sent("a", again=True)])
    assert waiting(log) == ["a"]
    await worker.settle([taken])
    assert waiting(log) == []
    await first


async def test_what_is_written_late_comes_beside_nothing_that_was_sent_again(open_log):
    log, other = await open_log(), await open_log()
    await other.enqueue("q", [sent("a", again=True), sent("b", again=True)])
    worker = await other.consume(["q"], prefetch=1)
    await worker.settle(await worker.take(1))
    assert waiting(log) == ["b"]
    await log.enqueue("q", [sent("a"), sent("b"), sent("c")])
    assert waiting(log) == ["b", "c"]


async def test_who_settles_what_he_was_handed_in_memory_settles_what_others_have_sent_again(open_log):
    log, other = await open_log(), await open_log()
    worker = await served(log, prefetch=2)
    first = log.enqueue("q", [sent("a")])
    taken = await worker.take(1)
    again = other.enqueue("q", [sent("a", again=True)])
    await again
    await worker.settle(taken, [Outgoing(COMMANDS, 0, [NewRecord("k", b"done")])])
    assert waiting(log) == []
    await first


@pytest.mark.parametrize("settled", [False, True])
async def test_what_lies_ready_and_was_settled_elsewhere_is_not_taken_any_more(open_log, monkeypatch, settled):
    monkeypatch.setattr(handover, "LINGER", 3_600)  # until we say so: what is written first is claimed for the first
    log, other = await open_log(), await open_log()
    worker = await served(log)
    first = log.enqueue("q", [sent("a")])  # ready, in memory, and not taken
    await other.enqueue("q", [sent("a", again=True)])
    elsewhere = await other.consume(["q"], prefetch=1)
    taken = await elsewhere.take(1)
    if settled:
        await elsewhere.settle(taken)
        await elsewhere.close()  # else it may take the next one, too
    log._handover.write()
    await first  # has been looked for in the file
    if settled:
        assert worker.room == 1
        last = log.enqueue("q", [sent("b")])
        assert [one.value for one in await worker.take(5)] == [b"b"]
        log._handover.write()
        await last
    else:
        assert [one.value for one in await worker.take(5)] == [b"a"]
        assert waiting(log) == ["a"]


async def test_a_record_without_an_id_is_what_it_always_was(open_log):
    log = await open_log()
    await log.enqueue("q", [NewRecord("k", b"a", {AGAIN: "1"}), NewRecord("k", b"a", {AGAIN: "1"})])
    assert waiting(log) == ["a", "a"]


async def test_a_file_of_an_earlier_version_gets_what_it_lacks(open_log):
    log = await open_log()
    await log.enqueue("q", [sent("a")])
    await log.close()
    with database(log.path) as shell:
        shell.executescript("DROP TABLE lost; DROP TABLE sent_again;")
    log = await open_log()
    await log.enqueue("q", [sent("a", again=True), sent("b", again=True)])
    assert waiting(log) == ["a", "b"]


async def test_what_was_sent_again_long_ago_is_not_looked_up_any_more(open_log, monkeypatch):
    asked = []
    log = await open_log()
    await log.enqueue("q", [sent("a", again=True)])
    log._writer._connection.set_trace_callback(asked.append)
    await log.enqueue("q", [sent("b")])
    assert any("FROM sent_again" in statement for statement in asked)
    asked.clear()
    monkeypatch.setattr(resends, "KEPT_FOR", -1)
    await log.enqueue("q", [sent("a"), sent("c")])
    assert not any("sent_again" in statement for statement in asked)
    assert waiting(log) == ["a", "b", "a", "c"]
