"""The verbs archive, archived and cleanup, as people and scripts use them."""

from __future__ import annotations

import pytest

from stepwell.log.local.log import LocalLog
from tests.archiving.conftest import crowd, world, write_more
from tests.cli.conftest import Shell, shell
from tests.projections.worlds import histories

__all__ = ["Shell", "shell"]


@pytest.fixture
async def filled(shell):
    """A directory whose log holds histories; one instance of each partition is live and holds the rest back."""
    (shell.directory / ".stepwell").mkdir()
    log = await LocalLog.open(shell.directory / ".stepwell" / "log.db", partitions=2, durability="normal")
    await crowd(log, 1, 30)
    await log.close()
    return shell


@pytest.mark.rows("O17")
def test_a_cleanup_tells_what_it_does_and_what_is_gone_is_shown_from_the_archive(filled):
    told = filled("cleanup", "--older-than", "1s", "--dry-run").stdout
    assert "can go" in told
    assert "cannot go yet" in told
    before = filled.json("status", "c1")
    shown, events = filled("replay", "c1", "--to", "2").stdout, filled("history", "c1").stdout

    said = filled("cleanup", "--older-than", "1s", "--archive", "old.gz", "--yes").stdout
    assert "they are in" in said
    assert "before," in said
    gone = filled("status", "c1", status=2)
    assert "cleaned away" in gone.stderr
    assert "stepwell archived" in gone.stderr
    assert filled.json("history", "c1", status=2)["error"]["type"] == "UnknownInstanceError"

    assert "c1 " in filled("archived", "old.gz").stdout
    listed = filled.json("archived", "old.gz")
    assert "c1" in [one["instance_id"] for one in listed["instances"]]
    assert listed["archive"]["format"] == "stepwell-archive"
    assert filled.json("archived", "old.gz", "c1") == before
    assert filled("archived", "old.gz", "c1", "--to", "2").stdout == shown
    assert filled("archived", "old.gz", "c1", "--history").stdout == events
    again = filled.json("cleanup", "--older-than", "1s", "--archive", "old.gz", "--yes")
    assert (again["resumed"], again["instances"]) == (True, 0)


async def test_what_holds_a_partition_back_is_named(shell):
    (shell.directory / ".stepwell").mkdir()
    log = await LocalLog.open(shell.directory / ".stepwell" / "log.db", partitions=2, durability="normal")
    rnd, _, writers = await world(log, 3, waves=2)
    await write_more(writers, rnd, histories(rnd, 4, prefix="behind-"))
    await log.close()
    report = shell.json("cleanup", "--older-than", "1s", "--dry-run")
    told = shell("cleanup", "--older-than", "1s", "--dry-run").stdout
    for plan in report["partitions"]:
        held = plan["held_back"]
        assert f"partition {plan['partition']} is" in told
        if held["by"] == "instance":
            assert f"held back by {held['name']}" in told


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("cleanup", "--older-than", "1s"), "--no-archive"),
        (("cleanup", "--older-than", "1s", "--no-archive"), "--yes"),
        (("cleanup", "--older-than", "1s", "--no-archive", "--archive", "x.gz"), "exclude"),
        (("cleanup", "--older-than", "soon", "--dry-run"), "is no time"),
        (("cleanup", "--older-than", "2999-01-01", "--dry-run"), "future"),
        (("archive", "x.gz", "--older-than", "1s", "--status", "running"), "no status of a finished one"),
        (("archived", "nowhere.gz"), "cannot be read"),
        (("archived", "steps.py"), "no archive"),
        (("archived", "x.gz", "--history"), "about one instance"),
        (("archive", "steps.py", "--older-than", "1s"), "there already"),
    ],
)
def test_bad_input_is_told_and_deletes_nothing(filled, words, said):
    done = filled(*words, status=2)
    assert said in done.stderr
    assert filled.json("status", "c1")["instance_id"] == "c1"


def test_an_archive_of_some_is_written_and_told(filled):
    assert "1 instance" not in filled("archive", "all.gz", "--older-than", "1s").stdout
    assert filled.json("archive", "none.gz", "--older-than", "1s", "--workflow", "other")["instances"] == 0
    assert filled("archived", "none.gz").stdout.startswith("0 instances")
    whole = filled.json("archive", "all.gz", "--older-than", "1s", "--force")
    assert len(filled.json("archived", "all.gz")["instances"]) == whole["instances"] == 38
    (filled.directory / "cut.gz").write_bytes((filled.directory / "all.gz").read_bytes()[:-40])
    done = filled("archived", "cut.gz", status=2)
    assert "can be read" in done.stderr
    assert "c1 " in done.stdout  # what can be is shown
    assert "error" in filled.json("archived", "cut.gz", status=2)
