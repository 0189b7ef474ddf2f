"""What Stepwell makes is for its owner; and a server that had tokens does not start without."""

from __future__ import annotations

import os
import stat

import pytest

from stepwell import private_files
from stepwell.private_files import FileGroupError, make_directory, make_file
from tests.cli.test_serve import server, stepwell

DEFINITION = "name: w\nsteps:\n  - {id: a, type: output}\n"


def modes(directory):
    """The mode of everything below, by path."""
    return {
        str(path.relative_to(directory)): f"{stat.S_IMODE(path.stat().st_mode):04o}"
        for path in [directory, *directory.rglob("*")]
    }


async def test_log_read_models_locks_tokens_and_archives_are_for_their_owner_alone(shell):
    before = os.umask(0)
    try:
        shell.write("w.yaml", DEFINITION)
        shell("token", "ops", "--role", "admin")
        shell("run", "w.yaml", "--id", "one")
        shell("list")
        shell("archive", "archives/old.jsonl.gz", "--older-than", "0s", status=None)
        async with server(shell.directory) as (_, _, told):
            assert told["access"] == "tokens"
            found = modes(shell.directory / ".stepwell")
    finally:
        os.umask(before)
    assert {"log.db", "log.db-wal", "log.db-members", "log.db.views", "tokens", "log.db.access"} <= set(found)
    assert set(found.values()) == {"0700", "0600"}, found
    if (shell.directory / "archives").exists():
        assert set(modes(shell.directory / "archives").values()) == {"0700", "0600"}


def test_what_others_can_read_already_is_told_and_left_as_it_is(shell):
    shell.write("w.yaml", DEFINITION)
    shell("run", "w.yaml")
    log = shell.directory / ".stepwell/log.db"
    log.chmod(0o644)
    log.parent.chmod(0o755)
    told = shell("run", "w.yaml").stderr
    assert told.count("others on this machine") == 1
    assert "chmod go=" in told
    assert stat.S_IMODE(log.stat().st_mode) == 0o644
    log.parent.chmod(0o700)  # nobody else gets there
    assert "others on this machine" not in shell("run", "w.yaml").stderr


def test_a_group_may_share_the_files(tmp_path, monkeypatch):
    monkeypatch.setenv(private_files.GROUP, str(os.getgid()))
    make_directory(tmp_path / "a/b")
    make_file(tmp_path / "a/b/c")
    assert modes(tmp_path / "a") == {".": "2770", "b": "2770", "b/c": "0660"}
    assert (tmp_path / "a/b/c").stat().st_gid == os.getgid()
    monkeypatch.setenv(private_files.GROUP, "no-such-group")
    with pytest.raises(FileGroupError):
        make_directory(tmp_path / "d")


async def test_a_server_whose_tokens_are_gone_does_not_start(shell):
    shell("token", "ops", "--role", "admin")
    async with server(shell.directory) as (_, _, told):
        assert told["access"] == "tokens"
    (shell.directory / ".stepwell/tokens").unlink()
    told = shell("serve", "--port", "0", status=2).stderr
    assert "served with access tokens" in told
    assert "--open" in told


async def test_a_server_in_another_directory_does_not_start_without_the_tokens_of_its_log(shell, tmp_path):
    log = f"file:{shell.directory}/.stepwell/log.db"
    shell("token", "ops", "--role", "admin")
    async with server(shell.directory):
        pass
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    process = await stepwell(elsewhere, "serve", "--port", 0, "--log", log)
    _, err = await process.communicate()
    assert process.returncode == 2
    assert f"--tokens {shell.directory}/.stepwell/tokens" in err.decode()
    async with server(elsewhere, "--log", log, "--open") as (_, http, told):
        assert told["access"] == "everybody on this machine"
        assert (await http.get("/v1/definitions")).status_code == 200
