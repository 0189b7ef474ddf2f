"""What a shell completes: verbs, options, ids of instances and names of workflows."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import stepwell
from tests.patience import HANG

from .conftest import Shell


@pytest.fixture
def begun(shell: Shell) -> Shell:
    """A log with two workflows, and instances of one."""
    for name in ("orders", "refunds"):
        shell.write(f"{name}.json", {"name": name, "steps": [{"id": "a", "type": "approval_gate"}]})
        shell("register", f"{name}.json")
    for instance_id in ("o-1", "o-2", "x", "$(reboot)"):
        shell("start", "orders", "--id", instance_id)
    return shell


def completed(shell: Shell, *words: str) -> set[str]:
    """What bash would be given for the last of these words."""
    line = " ".join(("stepwell", *words))
    env = {**shell.env, "_STEPWELL_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words))}
    program = Path(sys.executable).with_name("stepwell")  # the variable is that of the installed command
    ran = subprocess.run([program], cwd=shell.directory, env=env, capture_output=True, text=True, timeout=HANG)
    assert (ran.returncode, ran.stderr) == (0, ""), ran
    return {one.partition(",")[2] for one in ran.stdout.splitlines()}


def test_verbs_and_options(shell: Shell) -> None:
    assert {"status", "start", "stats"} <= completed(shell, "sta")
    assert "--follow" in completed(shell, "history", "--")
    assert not (shell.directory / ".stepwell").exists(), "who only types makes no log"


def test_ids_and_names_but_nothing_that_a_shell_would_run(begun: Shell) -> None:
    assert completed(begun, "status", "o-") == {"o-1", "o-2"}
    assert completed(begun, "status", "''") == {"o-1", "o-2", "x"}
    assert completed(begun, "start", "ref") == {"refunds"}
    assert {word.partition("@")[0] for word in completed(begun, "activate", "ord")} == {"orders"}


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_each_shell_has_a_script_which_it_can_read(shell: Shell, name: str) -> None:
    script = shell("completion", name).stdout
    assert "_STEPWELL_COMPLETE" in script
    if shutil.which(name):
        subprocess.run([name, "-n"], input=script, text=True, check=True, env={**os.environ})


def test_another_shell_is_refused_with_those_that_there_are(shell: Shell) -> None:
    said = shell("completion", "bsh", status=2).stderr
    assert "there is no completion for 'bsh', did you mean \"bash\"?" in said
    assert "bash, zsh and fish have one." in said


def test_dir_of_the_package_tells_all_that_it_has() -> None:
    assert {*stepwell.__all__} <= {*dir(stepwell)}


def test_help_cuts_no_summary_short(shell: Shell) -> None:
    said = " ".join(shell("--help").stdout.split())
    assert "Return to an earlier point: what came after is undone where it has a compensation, and runs anew." in said
    assert "Steer an instance" in said
