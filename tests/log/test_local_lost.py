"""A process that its log is lost to: the file is gone, or others took the process for dead. It is told so, and ends."""

from __future__ import annotations

import asyncio

import pytest

from stepwell.errors import LogLostError
from stepwell.log.local import members
from stepwell.log.local.log import LocalLog
from stepwell.log.local.members import bury
from stepwell.log.port import COMMANDS, EVENTS, NewRecord, Outgoing
from tests.patience import HANG
from tests.workbench import until


class Busy:
    """One of everything that may wait for a log."""

    def __init__(self, log):
        self.log = log

    async def begin(self):
        log = self.log
        self.worker = await log.consume(["q"], prefetch=1)
        self.place = await log.join("engines")
        self.waiting = [
            asyncio.ensure_future(log.read(EVENTS, 0, 0, wait=None)),
            asyncio.ensure_future(self.worker.take(1)),
            asyncio.ensure_future(self._follow(await self.place.assignment())),
        ]
        return self

    async def _follow(self, known):
        while True:  # first, it is told that nothing is its own any more
            known = await self.place.changed(known)

    async def told(self):
        """What all of them are told, and whoever asks anew."""
        log = self.log
        errors = await asyncio.wait_for(asyncio.gather(*self.waiting, return_exceptions=True), HANG)
        asked = [
            log.append(EVENTS, 0, [NewRecord("k", b"late")]),
            log.read(EVENTS, 0, 0),
            log.end(EVENTS, 0),
            log.members("engines"),
            self.worker.take(1),
            self.place.assignment(),
        ]
        errors += await asyncio.gather(*asked, return_exceptions=True)
        assert {type(error) for error in errors} == {LogLostError}, errors
        assert len({str(error) for error in errors}) == 1
        return errors[0]


async def test_who_was_taken_for_dead_is_told_even_if_he_does_nothing_and_writes_nothing_more(open_log):
    log, other = await open_log(), await open_log()
    busy = await Busy(log).begin()
    await other._change(bury([log._process], other.partitions, died=True))
    error = await busy.told()
    assert error.restart
    assert "for dead" in error.message
    assert await other.end(EVENTS, 0) == 0


async def test_a_commit_of_one_that_was_taken_for_dead_meanwhile_changes_nothing(open_log):
    """However soon it comes: before the process has looked at anything."""
    log, other = await open_log(), await open_log()
    worker = await log.consume(["q"], prefetch=1)
    await log.enqueue("q", [NewRecord("k", b"a")])
    taken = await worker.take(1)
    await other._change(bury([log._process], other.partitions, died=True))
    late = [
        log.append(EVENTS, 0, [NewRecord("k", b"late")]),
        log.enqueue("q", [NewRecord("k", b"late")]),
        worker.settle(taken, [Outgoing(COMMANDS, 0, [NewRecord("k", b"late")])]),
    ]
    assert {type(error) for error in await asyncio.gather(*late, return_exceptions=True)} == {LogLostError}
    again = log.append(EVENTS, 0, [NewRecord("k", b"late")])
    with pytest.raises(LogLostError):
        await again
    assert await other.end(EVENTS, 0) == await other.end(COMMANDS, 0) == 0
    second = await other.consume(["q"], prefetch=5)
    assert [one.value for one in await second.take(5)] == [b"a"]


@pytest.mark.parametrize("directory", [False, True])
async def test_lock_files_that_somebody_has_removed_are_made_anew_and_nobody_is_taken_for_dead(open_log, directory):
    logs = [await open_log(), await open_log(), await open_log()]
    worker = await logs[0].consume(["q"], prefetch=1)
    await logs[1].join("engines")
    folder = logs[0]._directory.path
    for file in folder.iterdir():
        file.unlink()
    if directory:
        folder.rmdir()
    for log in logs:
        await log.bury_the_dead()
    await until(lambda: len(list(folder.glob("*-*"))) == 3)
    newcomer = await open_log()
    await newcomer.bury_the_dead()
    for log in logs:
        await log.append(EVENTS, 0, [NewRecord("k", b"alive")])
    await logs[2].enqueue("q", [NewRecord("k", b"a")])
    assert [one.value for one in await worker.take(1)] == [b"a"]
    assert len(await newcomer.members("engines")) == 1


async def test_one_that_has_died_and_whose_lock_file_is_gone_is_found_dead_in_the_end(open_log, monkeypatch):
    monkeypatch.setattr(members, "MISSING_FOR", 0.3)
    log, other = await open_log(), await open_log()
    await log.join("engines")
    await log._shut(tidy=False)
    log._lock.path.unlink()
    await until(lambda: other_alone(other))


async def other_alone(log):
    return not await log.members("engines")


@pytest.mark.parametrize("replaced", [False, True])
async def test_a_log_whose_file_was_removed_or_replaced_is_noticed_by_whoever_uses_it(open_log, tmp_path, replaced):
    log = await open_log()
    await log.append(EVENTS, 1, [NewRecord("k", b"before")])
    busy = await Busy(log).begin()
    (tmp_path / "log.db").rename(tmp_path / "old.db")
    if replaced:
        copy = await LocalLog.open(tmp_path / "new.db")
        await copy.close()
        (tmp_path / "new.db").rename(tmp_path / "log.db")
    error = await busy.told()
    assert not error.restart
    assert ("another file" if replaced else "not there") in error.message
    assert str(tmp_path / "log.db") in str(error)
