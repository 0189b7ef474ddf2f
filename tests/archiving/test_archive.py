"""Archives: what was written is read back, and what is damaged says how much of it is left."""

from __future__ import annotations

import gzip
import json

import pytest

from stepwell import Archive
from stepwell.core.fold.evolve import fold
from stepwell.errors import ArchiveDamagedError, ArchiveError, ArchiveVersionError, UnknownInstanceError
from stepwell.schemas.records.events import EVENTS_VERSION
from tests.archiving.conftest import LATER, crowd, ended, world


@pytest.mark.rows("O17")
@pytest.mark.parametrize("seed", range(6))
async def test_histories_are_read_back_as_they_were(seed, log, client, tmp_path):
    _, found, _ = await world(log, seed)
    written = await client.archive(tmp_path / "all.gz", finished_before=LATER)
    archive = Archive(tmp_path / "all.gz")
    finished = {name: one for name, one in found.items() if ended(one)}
    read = {one.id: one for one in archive}
    assert read.keys() == finished.keys()
    assert written == (len(finished), sum(map(len, finished.values())))
    assert (archive.check().instances, archive.check().transitions) == written
    for name, transitions in finished.items():
        one = archive.get(name)
        assert [two.transition for two in one.transitions] == transitions
        assert one.history() == [record for record in await client.history(name) if record.sequence]
        assert one.view() == await client.get(name)
        for to in range(1, fold(transitions).sequence + 1, 3):
            assert one.view(to) == await client.replay(name, to)
        asked = await client.views.audit(instance_id=name, limit=1_000)
        assert sorted((a.at, a.by, a.command) for a in one.asked) == sorted((a.at, a.by, a.command) for a in asked)
    with pytest.raises(UnknownInstanceError):
        archive.get("nobody")
    with pytest.raises(ArchiveError, match="no event 0"):
        next(iter(archive)).view(0)


async def test_only_what_was_chosen_is_written(log, client, tmp_path):
    _, found, _ = await world(log, 1)
    states = {name: fold(one) for name, one in found.items()}
    await client.archive(tmp_path / "failed.gz", finished_before=LATER, status="failed")
    assert {one.id for one in Archive(tmp_path / "failed.gz")} == {
        n for n, s in states.items() if s.status == "failed"
    }
    await client.archive(tmp_path / "none.gz", finished_before=LATER, workflow="other")
    assert not list(Archive(tmp_path / "none.gz"))
    middle = sorted(s.finished_at for s in states.values() if not s.live)[4]
    await client.archive(tmp_path / "early.gz", finished_before=middle)
    early = {n for n, s in states.items() if not s.live and s.finished_at < middle}
    assert {one.id for one in Archive(tmp_path / "early.gz")} == early


async def test_the_definitions_come_along(log, client, tmp_path):
    from tests.workbench import ends, handlers_of, stage, steps, workflow

    async def work(data):
        return {"done": True}

    chain = workflow(*steps("a", "b"), {"id": "never", "handler": "work", "depends_on": ["b"], "condition": "False"})
    async with stage(log, handlers_of(work=work), chain) as other:
        await other.start("w", {"n": 1}, id="one")
        await ends(other, "one")
        shown = await other.get("one")
    await client.archive(tmp_path / "one.gz", finished_before=LATER)
    one = Archive(tmp_path / "one.gz").get("one")
    assert one.view() == shown
    assert one.definition.name == "w"
    assert list(one.view(1).steps) == ["a", "b", "never"]  # in written order, those too to which nothing had happened


async def test_a_file_that_is_there_is_replaced_only_by_force(log, client, tmp_path):
    path = tmp_path / "all.gz"
    await crowd(log, 1, 20)
    path.write_text("dear diary")
    with pytest.raises(ArchiveError, match="there already"):
        await client.archive(path, finished_before=LATER)
    assert path.read_text() == "dear diary"
    await client.archive(path, finished_before=LATER, force=True)
    assert Archive(path).check().instances == 28
    assert {one.name for one in tmp_path.iterdir() if one.name.startswith("all")} == {"all.gz"}


async def test_an_archive_that_cannot_be_written_leaves_nothing_behind(log, client, tmp_path):
    await crowd(log, 1, 5)
    (tmp_path / "file").write_text("")
    with pytest.raises(ArchiveError, match="cannot be written"):
        await client.archive(tmp_path / "file" / "all.gz", finished_before=LATER)
    (tmp_path / "left.gz.part").write_bytes(b"of one who was killed")
    await client.archive(tmp_path / "left.gz", finished_before=LATER)
    assert Archive(tmp_path / "left.gz").check().instances == 13
    assert not (tmp_path / "left.gz.part").exists()


@pytest.fixture
async def lines(log, client, tmp_path):
    """The lines of a good archive."""
    await crowd(log, 1, 20)
    await client.archive(tmp_path / "good.gz", finished_before=LATER)
    return gzip.decompress((tmp_path / "good.gz").read_bytes()).splitlines(keepends=True)


def readable(path):
    """How many instances of a damaged file can be read, and what is said of the others."""
    count = 0
    instances = iter(Archive(path))
    with pytest.raises(ArchiveDamagedError) as caught:  # noqa: PT012 - how far it comes is the question
        while next(instances).id:
            count += 1
    assert caught.value.readable == count
    assert f"{count} instance" in str(caught.value)
    return count, str(caught.value)


async def test_a_file_that_is_cut_off_says_how_much_can_be_read(lines, tmp_path):
    path, whole = tmp_path / "cut.gz", (tmp_path / "good.gz").read_bytes()
    counts = []
    for share in (0.3, 0.6, 0.9, 0.999):
        path.write_bytes(whole[: int(len(whole) * share)])
        counts.append(readable(path)[0])
    assert counts == sorted(counts)
    assert counts[-1] > 20
    path.write_bytes(gzip.compress(b"".join(lines[:-1])))  # without its last line
    assert "ends in the middle" in readable(path)[1]
    first = Archive(path)
    assert next(iter(first)).view().finished
    path.write_bytes(whole[:5])
    with pytest.raises(ArchiveError, match="no archive"):
        Archive(path)


async def test_a_file_in_which_something_was_changed_is_found_out(lines, tmp_path):
    path = tmp_path / "changed.gz"
    changed = [
        line.replace(b'"version":%d' % EVENTS_VERSION, b'"version":1') if n == 6 else line
        for n, line in enumerate(lines)
    ]
    assert changed != lines
    path.write_bytes(gzip.compress(b"".join(changed)))
    with pytest.raises(ArchiveDamagedError, match="checksum"):
        Archive(path).check()
    path.write_bytes(gzip.compress(b"".join([*lines[:4], b"{]\n", *lines[4:]])))
    assert "cannot be read" in readable(path)[1]
    path.write_bytes(gzip.compress(b"".join(lines[:3] + lines[4:])))  # one line is missing
    assert "missing" in readable(path)[1] or "not where it should be" in readable(path)[1]
    path.write_bytes((tmp_path / "good.gz").read_bytes() + b"more")
    assert "something follows" in readable(path)[1] or "unpacked" in readable(path)[1]
    whole = bytearray((tmp_path / "good.gz").read_bytes())
    whole[len(whole) // 2] ^= 0xFF
    path.write_bytes(whole)
    readable(path)


async def test_a_file_of_a_newer_stepwell_and_one_of_somebody_else_are_refused(lines, tmp_path):
    path = tmp_path / "newer.gz"
    header = json.loads(lines[0])
    header["archive"] = {"format": "stepwell-archive", "version": 99, "something": "new"}
    path.write_bytes(gzip.compress(b"".join([json.dumps(header).encode() + b"\n", *lines[1:]])))
    with pytest.raises(ArchiveVersionError, match="99"):
        Archive(path)
    path.write_bytes(gzip.compress(b'{"a": 1}\n'))
    with pytest.raises(ArchiveError, match="no archive"):
        Archive(path)
    with pytest.raises(ArchiveError, match="cannot be read"):
        Archive(tmp_path / "nowhere.gz")
    with pytest.raises(ArchiveError, match="cannot be read"):
        Archive(tmp_path)
