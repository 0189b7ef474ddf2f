"""What TAB makes of a line in a real bash that reads from a terminal."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import stepwell
from tests.patience import HANG

from .conftest import Shell

IDS = (
    "o-1", "x@y", "eu:7", "eu:8", "my order", "my other", "it's", "a*", "ü/1", "~z", "!bang", 'q"r', "$(touch run)",
    "-v",
)  # fmt: skip
SETTINGS = """PS1=; bind "set bell-style none"; bind -x '"\\C-x\\C-x": printf "\\n<<%s>>\\n" "$READLINE_LINE"'\n"""


def _is_new() -> bool:
    bash = shutil.which("bash")
    if bash is None:
        return False
    version = subprocess.run([bash, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"(\d+)\.(\d+)", version)
    return found is not None and (int(found[1]), int(found[2])) >= (4, 4)


pytestmark = pytest.mark.skipif(not _is_new(), reason="there is no bash, or one before 4.4")


def _terminal(shell: Shell) -> tuple[int, int]:
    """A bash at a terminal, in the directory of the log; its process, and what writes to it."""
    process, terminal = pty.fork()
    if process == 0:
        try:
            path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
            env = {**shell.env, "PATH": path, "TERM": "dumb", "INPUTRC": "/dev/null", "LC_ALL": "C.UTF-8"}
            os.chdir(shell.directory)
            os.execvpe("bash", ["bash", "--norc", "--noprofile", "-i"], env)
        finally:
            os._exit(127)
    return process, terminal


def tab(shell: Shell, lines: list[str], *, before: str = "") -> list[str]:
    """What each line has become once TAB was pressed at its end."""
    process, terminal = _terminal(shell)
    told = b""

    def until(pattern: bytes) -> bytes:
        nonlocal told
        ends = time.monotonic() + HANG
        while not (found := re.search(pattern, told)):
            assert time.monotonic() < ends, told
            if select.select([terminal], [], [], 1)[0]:
                told += os.read(terminal, 4_096)
        return found[1]

    try:
        os.write(terminal, f'{SETTINGS}{before}\neval "$(stepwell completion bash)"; echo "re"ady\n'.encode())
        until(b"\n(ready)")
        became = []
        for line in lines:
            told = b""
            os.write(terminal, b"\x15" + line.encode() + b"\t\x18\x18")  # ^U: away with the line before
            became.append(until(rb"<<([^\n]*)>>").decode())
    finally:
        os.close(terminal)  # it hangs up
        os.waitpid(process, 0)
    return became


@pytest.fixture
def begun(shell: Shell) -> Shell:
    """A log with two workflows, and an instance of each of these ids."""

    async def begin() -> None:
        async with stepwell.connect(f"file:{shell.directory}/.stepwell/log.db", embedded=False) as client:
            for name in ("orders", "refunds"):
                steps = [{"id": "a", "type": "approval_gate"}]
                await client.register({"name": name, "version": f"1.{name}", "steps": steps})
            for instance_id in IDS:
                await client.start("orders", id=instance_id, watch=False)
            await client.instances()  # whoever presses TAB finds the read models made

    asyncio.run(begin())
    shell.write("orders.json", {})
    return shell


def test_tab_completes_ids_and_names_however_they_are_written(begun: Shell) -> None:
    log = f"file:{begun.directory}/.stepwell/log.db"
    becomes = {
        "hist": "history ",
        "status o": "status o-1 ",
        "status x@": "status x@y ",
        "status eu": "status eu:",
        "status eu:7": "status eu:7 ",
        "status my": r"status my\ o",
        r"status my\ ot": r"status my\ other ",
        "status 'my or": "status 'my order' ",
        'status "my or': 'status "my order" ',
        "status it": r"status it\'s ",
        "status 'it": "status 'it",  # nothing within these quotes is this id
        "status a": r"status a\* ",
        "status ü": "status ü/1 ",
        r"status \~": r"status \~z ",
        r"status \!": r"status \!bang ",
        "status q": r"status q\"r ",
        "status $": r"status \$\(touch\ run\) ",
        r"status \$": r"status \$\(touch\ run\) ",
        "activate orders@": "activate orders@1.orders ",
        "activate ref": "activate refunds@1.refunds ",
        "stats orders@1": "stats orders@1.orders ",
        "stats ord": "stats orders ",
        "list --workflow=ref": "list --workflow=refunds ",
        "list --workflow ref": "list --workflow refunds ",
        f"status --log {log} x@": f"status --log {log} x@y ",
        f"status --log={log} eu:8": f"status --log={log} eu:8 ",
        "start ./or": "start ./orders.json ",
    }
    lines = [f"stepwell {line}" for line in becomes]
    assert dict(zip(becomes, tab(begun, lines), strict=True)) == {
        line: f"stepwell {became}" for line, became in becomes.items()
    }
    assert not (begun.directory / "run").exists()


def test_tab_completes_where_words_are_split_otherwise_and_in_the_middle_of_a_command(begun: Shell) -> None:
    lines = ["stepwell list --workflow=ref", "stepwell activate orders@", "true; A=1 stepwell status eu:8"]
    became = [
        "stepwell list --workflow=refunds ",
        "stepwell activate orders@1.orders ",
        "true; A=1 stepwell status eu:8 ",
    ]
    assert tab(begun, lines, before="COMP_WORDBREAKS=$' \\t\\n'") == became


def test_zsh_and_fish_are_given_what_needs_no_quotes(begun: Shell) -> None:
    program = Path(sys.executable).with_name("stepwell")
    # zsh gives the words, and the number of the one that is completed; fish the line, and that word so far
    for name, words, word in (("zsh", "stepwell status ''", "2"), ("fish", "stepwell status ", "")):
        env = {**begun.env, "_STEPWELL_COMPLETE": f"{name}_complete", "COMP_WORDS": words, "COMP_CWORD": word}
        ran = subprocess.run([program], cwd=begun.directory, env=env, capture_output=True, text=True, timeout=HANG)
        assert "o-1" in ran.stdout
        assert "touch" not in ran.stdout
        assert "my order" not in ran.stdout
