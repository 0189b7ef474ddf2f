"""A shell for the tests: runs the real command in a directory of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from stepwell.cli.main import command
from stepwell.consumers.worker.handlers import registered
from tests.patience import HANG

HANDLERS = '''
import os, time
import stepwell

def note(data, ctx):
    """Write a line for every run, so that tests can count what really ran."""
    time.sleep(ctx.config.get("seconds", 0))
    while "until" in ctx.config and not os.path.exists(ctx.config["until"]):
        time.sleep(0.01)
    with open("runs.txt", "a") as file:
        file.write(f"{ctx.instance_id} {ctx.step_id} {ctx.run}\\n")
    return {ctx.step_id: ctx.attempt}

def fail(data):
    raise ValueError("nothing but trouble")

def flaky(data, ctx):
    if ctx.attempt < 3:
        raise ConnectionError("try again")
    return {"attempt": ctx.attempt}

@stepwell.handler("greet")
async def greet(data):
    print("a handler that prints")
    return {"greeting": f"hello {data.get('name', 'world')}"}

async def unserialisable(data):
    return {"when": object()}

async def huge(data):
    return {"text": "x" * 2_000_000}
'''


class Shell:
    """Runs ``stepwell`` in a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.env = {key: value for key, value in os.environ.items() if not key.startswith("STEPWELL")}
        self.env["NO_COLOR"] = "1"
        (directory / "steps.py").write_text(HANDLERS)

    def write(self, name: str, content: Any) -> Path:
        path = self.directory / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "stepwell", *words],
            cwd=self.directory, env=self.env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def __call__(self, *words: str, status: int | None = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "stepwell", *words],
            cwd=self.directory, env=self.env, text=True, capture_output=True, timeout=HANG,
        )  # fmt: skip
        assert "Traceback" not in done.stderr, done.stderr
        if status is not None:
            assert done.returncode == status, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def json(self, *words: str, status: int | None = 0) -> Any:
        return json.loads(self(*words, "--json", status=status).stdout)

    def runs(self) -> list[tuple[str, str, int]]:
        file = self.directory / "runs.txt"
        lines = file.read_text().split("\n") if file.exists() else []
        return [(a, b, int(c)) for a, b, c in (line.split() for line in lines if line)]


class Inside:
    """Runs ``stepwell`` inside this process: the same code, without an interpreter's start."""

    def __init__(self, shell: Shell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        self.directory = shell.directory
        self.write = shell.write
        monkeypatch.chdir(shell.directory)
        monkeypatch.syspath_prepend(str(shell.directory))
        monkeypatch.delenv("STEPWELL_LOG", raising=False)
        monkeypatch.setattr(registered, "_registered", {})  # as a new interpreter has it
        monkeypatch.delitem(sys.modules, "steps", raising=False)

    def __call__(self, *words: str, status: int = 0) -> str:
        """Run a verb; return what it printed to stderr."""
        return self._run(words, status).err

    def out(self, *words: str, status: int = 0) -> str:
        """Run a verb; return what it printed to stdout."""
        return self._run(words, status).out

    def json(self, *words: str, status: int = 0) -> Any:
        return json.loads(self.out(*words, "--json", status=status))

    def _run(self, words: tuple[str, ...], status: int) -> Any:
        self._monkeypatch.setattr(sys, "argv", ["stepwell", *words])
        ended = command()
        printed = self._capsys.readouterr()
        assert ended == status, f"{printed.out}\n{printed.err}"
        assert "Traceback" not in printed.err
        return printed


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Inside]:
    yield Inside(Shell(tmp_path), monkeypatch, capsys)
    sys.modules.pop("steps", None)
    structlog.reset_defaults()  # a process of its own would have taken its settings with it


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def chain(length: int, **config: Any) -> dict[str, Any]:
    """A workflow of steps one after the other, each noted when it runs."""
    return {
        "name": "chain",
        "steps": [
            {
                "id": f"s{i}", "handler": "steps.note", "config": config,
                "depends_on": [f"s{i - 1}"] if i else [],
            }
            for i in range(length)
        ],
    }  # fmt: skip
