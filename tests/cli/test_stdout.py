"""Standard output belongs to results: whatever handlers, their modules and their processes print stands on stderr."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import pytest

from stepwell import stdout
from tests.patience import HANG

from .conftest import Shell

LOUD = """
import asyncio, logging, os, subprocess, sys
import stepwell

print("a module that prints")
os.system("echo a module that runs something")
logging.basicConfig(stream=sys.stdout, level=logging.INFO)

@stepwell.handler("loud")
def loud(data):
    print("a handler that prints")
    sys.stdout.write("and writes\\n")
    sys.__stdout__.write("even there\\n")
    logging.info("and logs")
    os.write(1, b"to the descriptor\\n")
    subprocess.run([sys.executable, "-c", "print('a process that prints')"])
    os.system("echo a shell that prints")
    return {"text": "caf\\u00e9 \\U0001f680"}

@stepwell.handler("loud_coroutine")
async def loud_coroutine(data):
    print("a coroutine that prints")
    process = await asyncio.create_subprocess_exec("echo", "a process of a coroutine")
    await process.wait()
    return {}
"""

DEFINITION = {"name": "w", "steps": [
    {"id": "a", "handler": "loud"}, {"id": "b", "handler": "loud_coroutine", "depends_on": ["a"]},
]}  # fmt: skip


@pytest.fixture
def loud(shell: Shell) -> Shell:
    (shell.directory / "loud.py").write_text(LOUD)
    shell.write("w.json", DEFINITION)
    return shell


def test_run_prints_one_object_and_handlers_print_on_stderr(loud: Shell) -> None:
    done = loud("run", "w.json", "--handlers", "loud", "--json")
    assert json.loads(done.stdout)["steps"]["a"]["output"] == {"text": "café \U0001f680"}
    for said in (
        "a module that prints", "a module that runs something", "a handler that prints", "and writes", "even there",
        "and logs", "to the descriptor", "a process that prints", "a shell that prints", "a coroutine that prints",
        "a process of a coroutine",
    ):  # fmt: skip
        assert said in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("validate", "w.json", "--handlers", "loud"),
        ("plan", "w.json", "--handlers", "loud"),
        ("register", "w.json", "--handlers", "loud"),
        ("run", "w.json", "--handlers", "loud", "--param", "x"),
        ("run", "w.json", "--handlers", "loud", "--strict"),
    ],
    ids=" ".join,
)
def test_every_verb_that_imports_handlers_prints_one_object(loud: Shell, words: tuple[str, ...]) -> None:
    done = loud(*words, "--json", status=None)
    assert isinstance(json.loads(done.stdout), dict)
    assert "that prints" not in done.stdout


def test_a_worker_prints_lines_of_json_and_nothing_else(loud: Shell) -> None:
    loud("register", "w.json", "--handlers", "loud")
    engine = loud.start("engine")
    worker = loud.start("worker", "--handlers", "loud", "--json")
    try:
        assert loud.json("start", "w", "--wait")["status"] == "completed"
    finally:
        worker.terminate()
        out, err = worker.communicate(timeout=HANG)
        engine.kill()
        engine.communicate()
    events = [json.loads(line)["event"] for line in out.splitlines()]
    assert events[0] == "started"
    assert "a process that prints" in err


def test_results_are_still_written_where_nobody_reads_stderr(loud: Shell) -> None:
    command = [sys.executable, "-m", "stepwell", "run", "w.json", "--handlers", "loud", "--json"]
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" 2>&-', "sh", *command],
        cwd=loud.directory, env=loud.env, capture_output=True, text=True, timeout=HANG, check=False,
    )  # fmt: skip
    assert json.loads(done.stdout)["status"] == "completed"


# --- encodings ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
@pytest.mark.parametrize("as_json", [True, False])
def test_what_the_encoding_of_stdout_has_no_bytes_for_is_escaped_as_in_json(
    loud: Shell, encoding: str, as_json: bool
) -> None:
    loud.env["PYTHONIOENCODING"] = encoding
    done = subprocess.run(
        [sys.executable, "-m", "stepwell", "run", "w.json", "--handlers", "loud", "--id", "é\U0001f680",
         *(["--json"] if as_json else [])],
        cwd=loud.directory, env=loud.env, capture_output=True, timeout=HANG, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert b"\\ud83d\\ude80" in done.stdout + done.stderr
    if as_json:
        read = json.loads(done.stdout.decode(encoding))
        assert read["steps"]["a"]["output"] == {"text": "café \U0001f680"}


@pytest.mark.parametrize("words", [("--help",), ("run", "--help"), ("list",), ("history", "é")], ids=" ".join)
def test_every_verb_writes_to_a_terminal_that_has_ascii_only(loud: Shell, words: tuple[str, ...]) -> None:
    loud.env["PYTHONIOENCODING"] = "ascii"
    loud("run", "w.json", "--handlers", "loud", "--id", "é")
    loud(*words)


def test_halves_of_characters_are_escaped_and_read_back() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors=stdout.ESCAPES)
    stream.write('"caf\udce9 é \U0001f680"')
    stream.flush()
    assert stream.buffer.getvalue() == '"caf\\udce9 é \U0001f680"'.encode()


@pytest.mark.parametrize("closed", ["1>&-", "0<&- 1>&- 2>&-"])
def test_what_handlers_print_is_in_no_file_where_a_process_has_no_standard_output(loud: Shell, closed: str) -> None:
    """A file that is opened gets the lowest descriptor that is free: without a standard output, its own."""
    command = [sys.executable, "-m", "stepwell", "run", "w.json", "--handlers", "loud", "--id", "quiet"]
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}', "sh", *command],
        cwd=loud.directory, env=loud.env, capture_output=True, text=True, timeout=HANG, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done
    for file in (loud.directory / ".stepwell").rglob("*"):
        assert file.is_dir() or b"prints" not in file.read_bytes()
    assert json.loads(loud("status", "quiet", "--json").stdout)["status"] == "completed"


def test_an_error_is_one_object_also_where_there_is_no_stderr(shell: Shell) -> None:
    command = [sys.executable, "-m", "stepwell", "status", "nobody", "--json"]
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" 2>&-', "sh", *command],
        cwd=shell.directory, env=shell.env, capture_output=True, text=True, timeout=HANG, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"]["message"]
