"""Services whose log is taken away from under them: they end soon, say why, and with a status that fits the unit."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.cli.conftest import Shell
from tests.files import database
from tests.patience import HANG, until


def live(path: Path, service: str) -> bool:
    """Whether a service is at work on a log."""
    if not path.exists():
        return False
    try:
        with database(path) as file:
            teams = {team for (team,) in file.execute("SELECT team FROM members")}
    except sqlite3.OperationalError:  # it is being made
        return False
    return {"engine": {"engines"}, "worker": {"workers"}, "serve": {"engines", "workers"}}[service] <= teams


@pytest.mark.slow
@pytest.mark.parametrize("service", ["engine", "worker", "serve"])
@pytest.mark.parametrize("trouble", ["removed", "taken for dead"])
def test_a_service_whose_log_is_lost_ends_and_says_so(shell: Shell, tmp_path: Path, service: str, trouble: str):
    path = tmp_path / "log.db"
    more = ["--port", "0"] if service == "serve" else []
    process = shell.start(service, *more, "--log", f"file:{path}")
    try:
        until(lambda: live(path, service))
        if trouble == "removed":
            path.unlink()
        else:
            with database(path) as file:
                file.execute("DELETE FROM processes")
        _, errors = process.communicate(timeout=HANG)
    finally:
        process.kill()
        process.communicate()
    assert "Traceback" not in errors
    expected, status = ("is not there any more", 2) if trouble == "removed" else ("for dead", 75)
    assert f"error: {path}" in errors
    assert expected in errors
    assert process.returncode == status
