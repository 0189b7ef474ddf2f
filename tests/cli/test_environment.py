"""What the environment says: read from a file when asked, and never ignored without a word."""

from __future__ import annotations

import os
import signal

import pytest

from stepwell.cli.environment import read_env_file, take_env_file, tell_unused
from stepwell.cli.session import UsageError
from stepwell.consumers.worker import settings
from stepwell.consumers.worker.heartbeats import Heartbeats
from stepwell.errors import StepwellError
from stepwell.logs import _level

from .conftest import Inside, Shell, chain

FILE = """\ufeff# a remark
A=1
 export B = two words  # a remark
C='# as $it is "x"'
D="line\\nbreak \\"x\\" \\\\"
E=
F=a#b
G=file:/x?y=z
"""


def test_a_file_s_lines_are_read_as_they_are_written(tmp_path):
    (tmp_path / ".env").write_text(FILE)
    assert read_env_file(tmp_path / ".env") == {
        "A": "1", "B": "two words", "C": '# as $it is "x"', "D": 'line\nbreak "x" \\', "E": "", "F": "a#b", "G": "file:/x?y=z",
    }  # fmt: skip


@pytest.mark.parametrize("line", ["A", "=1", "A B=1", "1A=1", "A='x", 'A="x', "A='x' y"])
def test_a_line_that_is_none_is_refused_with_its_number(tmp_path, line):
    (tmp_path / ".env").write_text(f"OK=1\n{line}\n")
    with pytest.raises(UsageError, match=r"\.env, line 2: is not of the form NAME=VALUE"):
        read_env_file(tmp_path / ".env")


def test_the_option_stands_anywhere_and_what_is_set_already_stays(tmp_path, monkeypatch):
    (tmp_path / "a").write_text("ONE=a\nTWO=a\n")
    (tmp_path / "b").write_text("TWO=b\nTHREE=b\n")
    monkeypatch.setenv("ONE", "set")
    for name in ("TWO", "THREE"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    words = [
        "--env-file",
        str(tmp_path / "a"),
        "run",
        f"--env-file={tmp_path / 'b'}",
        "x",
        "--",
        "--env-file",
        "kept",
    ]
    assert take_env_file(words) == ["run", "x", "--", "--env-file", "kept"]
    assert [os.environ[name] for name in ("ONE", "TWO", "THREE")] == ["set", "a", "b"]


def test_a_file_s_log_is_the_log_of_a_verb(inside: Inside, monkeypatch):
    monkeypatch.setenv("STEPWELL_LOG", "")
    monkeypatch.delenv("STEPWELL_LOG")
    inside.write(".env", "STEPWELL_LOG=file:elsewhere.db\n")
    inside.write("w.json", chain(1))
    assert inside.json("register", "w.json", "--env-file", ".env")["registered"]
    assert (inside.directory / "elsewhere.db").exists()
    assert "there is no such file" in inside("list", "--env-file", "none.env", status=2)
    assert "needs a file" in inside("list", "--env-file", status=2)


def test_without_the_option_no_file_is_read(inside: Inside):
    inside.write(".env", "STEPWELL_LOG=file:elsewhere.db\n")
    inside.write("w.json", chain(1))
    inside("register", "w.json")
    assert not (inside.directory / "elsewhere.db").exists()


def test_variables_without_a_counterpart_are_warned_about_once(capsys):
    tell_unused({"STALE_TIMEOUT_INPUT": "30", "ORCHESTRATOR_RECOVERY_TIMEOUT": "60", "ENVIRONMENT": "dev", "PATH": "x",
                 "WORKER_CONCURRENCY": "3", "WORKER_HEARTBEAT_INTERVAL": "5", "LOG_LEVEL": "INFO"})  # fmt: skip
    err = capsys.readouterr().err
    assert err.count("settings that Stepwell does not know") == 1
    assert "ENVIRONMENT, ORCHESTRATOR_RECOVERY_TIMEOUT, STALE_TIMEOUT_INPUT" in err
    assert "WORKER" not in err
    tell_unused({"PATH": "x"})
    assert capsys.readouterr().err == ""


def test_a_service_warns_and_keeps_to_its_level(shell: Shell):
    shell.env |= {"STALE_TIMEOUT_DEFAULT": "120", "ENVIRONMENT": "prod"}
    process = shell.start("worker", "--json")
    assert process.stdout is not None
    line = next(line for line in process.stdout if "does not know" in line)
    process.send_signal(signal.SIGTERM)
    rest, _ = process.communicate()
    assert "ENVIRONMENT, STALE_TIMEOUT_DEFAULT" in line
    assert "does not know" not in rest
    shell.env |= {"LOG_LEVEL": "nonsense"}
    assert "LOG_LEVEL: 'nonsense' is no level" in shell("worker", status=2).stderr


@pytest.mark.parametrize(("said", "level"), [("", 20), ("warning", 30), ("DEBUG", 10), (" ERROR ", 40)])
def test_a_level_is_what_the_environment_says(monkeypatch, said, level):
    monkeypatch.delenv("STEPWELL_DEBUG", raising=False)
    monkeypatch.setenv("LOG_LEVEL", said)
    assert _level() == level


def test_heartbeats_come_as_seldom_as_the_environment_says(monkeypatch):
    monkeypatch.setenv(settings.HEARTBEAT, "5.0")
    assert settings.heartbeat_seconds() == 5
    assert Heartbeats(lambda _: None, 1, "w")._every == 5
    for wrong in ("0", "soon", "nan", "1e9"):
        monkeypatch.setenv(settings.HEARTBEAT, wrong)
        with pytest.raises(StepwellError, match=r"WORKER_HEARTBEAT_INTERVAL: .* is no number of seconds"):
            settings.heartbeat_seconds()
