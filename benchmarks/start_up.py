"""What a process costs before it is of use: ``--version``, ``run`` of three steps, ``serve`` until it answers.

``python -m benchmarks.start_up --base COMMIT`` makes a wheel of that commit and one of the working tree, installs
each into an environment of its own with its byte code compiled, and runs the same commands with both in turns. A
machine with other work takes a third more or less from minute to minute: so what is compared is CPU time of the
process (user and system, of all its threads, as the kernel counts it), of one run with the run beside it, many times.

Prints a JSON line for each command: the median of either side in milliseconds, and the median of the pairs' ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import py_compile
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Final
from urllib.error import URLError
from urllib.request import urlopen

from benchmarks.common import must

_ROOT: Final = Path(__file__).parent.parent
_HANG: Final = 120  # seconds after which a command is taken for one that never ends
_WORKFLOW: Final = """\
name: order
steps:
  - {id: a, handler: shop.step}
  - {id: b, handler: shop.step, depends_on: [a]}
  - {id: c, handler: shop.step, depends_on: [b]}
"""
_HANDLERS: Final = "def step(data):\n    return {'n': 1}\n"


# --- what is installed --------------------------------------------------------------------------------------


def install(uv: str, source: Path, place: Path) -> Path:
    """The ``stepwell`` of a source tree, installed from its wheel with byte code compiled; where the program is."""
    place.mkdir()

    def do(*words: str | Path) -> None:
        subprocess.run([uv, *words], check=True, stdout=sys.stderr)

    do("build", "-q", "--wheel", "-o", place, source)
    (wheel,) = place.glob("*.whl")
    do("venv", "-q", "-p", sys.executable, place / "env")
    do("pip", "install", "-q", "--compile-bytecode", "-p", place / "env/bin/python", f"{wheel}[server]")
    return place / "env/bin/stepwell"


def tree_of(commit: str, place: Path) -> Path:
    """The files of a commit, with the history that its version may be made from."""
    subprocess.run(["git", "clone", "-q", "--shared", _ROOT, place], check=True)
    subprocess.run(["git", "-c", "advice.detachedHead=false", "checkout", "-q", commit], cwd=place, check=True)
    return place


# --- what is run --------------------------------------------------------------------------------------------


def version(program: Path, folder: Path) -> float:
    return _ended(program, folder, "--version")


def validate(program: Path, folder: Path) -> float:
    return _ended(program, folder, "validate", "order.yaml")


def run(program: Path, folder: Path) -> float:
    return _ended(program, folder, "run", "order.yaml", "--handlers", "shop")


def serve(program: Path, folder: Path) -> float:
    """Until the first answer of ``/v1/health``; then it is killed, so that it does nothing else that is counted."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = _started(program, folder, "serve", "--port", str(port))
    began = time.monotonic()
    try:
        while not _answers(f"http://127.0.0.1:{port}/v1/health"):
            must(process.poll() is None, "serve has ended")
            must(time.monotonic() - began < _HANG, "serve does not answer")
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        seconds, _ = _cost(process)
    return seconds


_COMMANDS: Final[dict[str, Callable[[Path, Path], float]]] = {
    "version": version, "validate": validate, "run": run, "serve": serve,
}  # fmt: skip


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=_HANG) as answer:
            return bool(answer.status == 200)
    except (URLError, ConnectionError):  # nobody listens yet, or it says 503
        return False


def _started(program: Path, folder: Path, *words: str) -> subprocess.Popen[bytes]:
    own = {name: value for name, value in os.environ.items() if not name.startswith(("STEPWELL", "PYTHON"))}
    quiet = subprocess.DEVNULL
    return subprocess.Popen([program, *words], cwd=folder, env=own, stdout=quiet, stderr=quiet)


def _cost(process: subprocess.Popen[bytes]) -> tuple[float, int]:
    """Wait for the end of a process; its seconds of CPU, and how it ended."""
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)  # so that nobody waits for it again
    return used.ru_utime + used.ru_stime, process.returncode


def _ended(program: Path, folder: Path, *words: str) -> float:
    seconds, status = _cost(_started(program, folder, *words))
    must(status == 0, f"stepwell {' '.join(words)} ended with {status}")
    return seconds


def once(command: str, program: Path) -> float:
    """Seconds of CPU of a command in a new directory."""
    with tempfile.TemporaryDirectory(prefix="start-up-") as name:
        folder = Path(name)
        (folder / "order.yaml").write_text(_WORKFLOW)
        (folder / "shop.py").write_text(_HANDLERS)
        py_compile.compile(str(folder / "shop.py"))
        return _COMMANDS[command](program, folder)


def compare(command: str, programs: dict[str, Path], pairs: int) -> dict[str, float]:
    """Run a command with each program in turns; the figures of all."""
    took: dict[str, list[float]] = {side: [] for side in programs}
    for number in range(pairs + 1):
        for side in list(programs)[:: 1 if number % 2 else -1]:  # neither is always the first
            seconds = once(command, programs[side])
            if number:  # the first pair reads the files from the disk
                took[side].append(seconds)
    found = {f"{side}_ms": round(median(seconds) * 1000, 1) for side, seconds in took.items()}
    if "base" in took:
        ratios = [new / base for new, base in zip(took["now"], took["base"], strict=True)]
        found["ratio"] = round(median(ratios), 3)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", metavar="COMMIT", help="a commit to compare the working tree with")
    parser.add_argument("--pairs", type=int, default=20, help="how often each command is run (default: 20)")
    parser.add_argument("--only", choices=_COMMANDS, action="append", help="one command; may be repeated")
    options = parser.parse_args()
    uv = shutil.which("uv") or str(_ROOT / ".tools/bin/uv")
    with tempfile.TemporaryDirectory(prefix="start-up-") as name:
        place = Path(name)
        programs = {"now": install(uv, _ROOT, place / "now")}
        if options.base:
            programs["base"] = install(uv, tree_of(options.base, place / "tree"), place / "base")
        for command in options.only or _COMMANDS:
            figures = compare(command, programs, options.pairs)
            line = {"workload": "START-UP", "command": command, "pairs": options.pairs, **figures,
                    "python": platform.python_version(), "load": round(os.getloadavg()[0], 2)}  # fmt: skip
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
