"""The processes under test, and the brokers that they talk to."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.kafka_broker import Broker

_YOUNG = 5.0  # seconds after its start in which a process may not have got as far as to hear signals
NOTES = "CHAOS_NOTES"  # the variable that names the directory of what handlers note
BUG = "CHAOS_BUG"  # and the one that names a deliberate bug
ROOT = Path(__file__).resolve().parents[2]


class Part:
    """An engine or a worker as a process of its own, which can be broken and mended.

    Attributes:
        name: What it calls itself in the log.
        busy: Whether it is broken at the moment.
        pids: Those of all its lives.
    """

    def __init__(self, role: str, number: int, url: str, folder: Path, bug: str = "") -> None:
        self.role = role
        self.name = f"{role}-{number}"
        self.busy = False
        self.pids: list[int] = []
        self._folder = folder
        self._bug = bug
        words = [role, "--json", "--name", self.name, "--log", url, "--retry-for", "3600"]
        if role == "worker":
            words += ["--handlers", "tests.chaos.handlers", "--concurrency", "8", "--grace", "1"]
        self._command = [sys.executable, "-m", "tests.chaos.service", *words]
        self._process: subprocess.Popen[bytes]

    def start(self) -> None:
        hash_seed = str(len(self.pids) * 7 + len(self.name))
        environment = {
            **os.environ, NOTES: str(self._folder / "notes"), "CHAOS_NAME": self.name, "PYTHONHASHSEED": hash_seed,
            BUG: self._bug,
        }  # fmt: skip
        with (self._folder / f"{self.name}.log").open("ab") as output:
            self._process = subprocess.Popen(
                self._command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        self.pids.append(self._process.pid)
        self._began = time.monotonic()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    @property
    def ended(self) -> int | None:
        """Its exit status, if it has ended."""
        return self._process.poll()

    async def stop(self) -> str:
        """Ask it to stop; what was wrong with its end."""
        young = time.monotonic() - self._began < _YOUNG
        self._process.terminate()
        for _ in range(300):
            if self._process.poll() is not None:
                fine = self.ended == 0 or (young and self.ended == -signal.SIGTERM)
                return "" if fine else f"{self.name} has ended with status {self.ended}"
            await asyncio.sleep(0.05)
        self.kill()
        return f"{self.name} had to be killed, for it did not stop"


class Brokers:
    """One broker or three, of our own; or somebody else's, which stay as they are."""

    def __init__(self, broker: Broker | None, count: int) -> None:
        self._broker = broker
        self.count = count if broker else 0
        self.busy = False

    async def kill(self, number: int) -> None:
        await asyncio.to_thread(self._run, "kill", number)

    async def start(self, number: int) -> None:
        await asyncio.to_thread(self._run, "start-node", number)

    def _run(self, verb: str, number: int) -> None:
        assert self._broker is not None
        self._broker.run(verb, "--node", str(number + 1))


def in_hand(folder: Path, pid: int) -> set[tuple[str, str, int]]:
    """The runs that a worker process has begun and not ended."""
    runs: set[tuple[str, str, int]] = set()
    for line in notes(folder, pid):
        (runs.add if line["what"] == "begin" else runs.discard)(tuple(line["of"]))
    return runs


def notes(folder: Path, pid: int | None = None) -> list[dict]:
    """What handlers have noted: of one process, or of all."""
    found = []
    for path in sorted((folder / "notes").glob(f"*-{pid}.jsonl" if pid else "*.jsonl")):
        found += [json.loads(line) for line in path.read_bytes().splitlines()]
    return found
