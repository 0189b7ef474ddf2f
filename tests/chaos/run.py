"""One chaos run: brokers, processes and a client; trouble; healing; and then the look at what is in the log."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from msgspec import Struct

from stepwell.client.client import Client
from stepwell.errors import LogUnavailableError
from stepwell.log.kafka.log import KafkaLog
from stepwell.log.port import ENGINES, EVENTS, WORKERS
from stepwell.log.urls import open_log
from stepwell.schemas.records.codec import decode_transition
from tests.chaos.driver import Driver
from tests.chaos.follower import Follower
from tests.chaos.injector import BACK, Injector
from tests.chaos.oracle import Findings, judge
from tests.chaos.parts import ROOT, Brokers, Part, notes
from tests.chaos.plan import SESSION, draw
from tests.chaos.recovery import begun_late, figures, recoveries, slowest
from tests.chaos.refold import accepted, from_beginning
from tests.kafka_broker import Broker, forget, local_broker
from tests.patience import HANG

PARTITIONS = 4
# A broker that was killed is missed, and let in again, after 2 seconds instead of 9: more faults in the same time.
QUICK = ("--set", "broker.session.timeout.ms=2000", "--set", "broker.heartbeat.interval.ms=300")
HEALED_WITHIN = 45.0


class Settings(Struct, frozen=True):
    """What a run is like.

    Attributes:
        log: ``kafka://HOST:PORT`` of brokers that are there, and that nobody kills; else ``brokers`` of our own.
        bug: A deliberate bug that the engines and workers have: a name of ``tests.simulation.mutations``.
        healed_within: Seconds after the last fault was mended in which every instance must have ended.
    """

    seed: int
    seconds: float
    brokers: int = 1
    engines: int = 3
    workers: int = 3
    log: str = ""
    bug: str = ""
    healed_within: float = HEALED_WITHIN

    @property
    def again(self) -> str:
        """The command that makes the same run."""
        where = f"--log {self.log}" if self.log else f"--brokers {self.brokers}"
        return (
            f"python -m tests.chaos --seed {self.seed} --seconds {self.seconds:g} {where}"
            f" --engines {self.engines} --workers {self.workers}" + (f" --bug '{self.bug}'" if self.bug else "")
        )


class Report(Struct):
    """How it went: ``figures`` for programs, ``problems`` for people."""

    figures: dict[str, Any]
    problems: list[str]


async def play(settings: Settings, folder: Path) -> Report:
    """Make a run; the logs of all processes are left in ``folder``."""
    (folder / "notes").mkdir(parents=True)
    with contextlib.ExitStack() as stack:
        broker: Broker | None = None
        if settings.log:
            bootstrap = settings.log.removeprefix("kafka:").strip("/")
        else:
            broker = stack.enter_context(local_broker("--brokers", str(settings.brokers), *QUICK))
            bootstrap = broker.bootstrap
        namespace = f"chaos-{secrets.token_hex(4)}"
        url = (
            f"kafka://{bootstrap}?namespace={namespace}&partitions={PARTITIONS}"
            f"&session_timeout={SESSION}&append_timeout=5"
        )
        try:
            return await _on(settings, url, Brokers(broker, settings.brokers), folder)
        finally:
            if broker is None:
                await forget(bootstrap, namespace)
            else:
                for path in broker.data.glob("broker-*.log"):
                    (folder / path.name).write_bytes(path.read_bytes())


async def _on(settings: Settings, url: str, brokers: Brokers, folder: Path) -> Report:
    log = await open_log(url)
    assert isinstance(log, KafkaLog)
    client = Client(log)
    follower = Follower(log)
    driver = Driver(client, follower, settings.seed)
    try:
        await driver.register()
        async with _parts(settings, url, folder) as parts:
            injector = Injector(log, driver, follower, parts, brokers, folder)
            await _all_there(log, settings)
            plan = draw(
                settings.seed, settings.seconds,
                engines=settings.engines, workers=settings.workers, brokers=brokers.count,
            )  # fmt: skip
            driving = asyncio.ensure_future(driver.run())
            try:
                began = time.monotonic()
                await injector.follow(plan)
                await asyncio.sleep(max(0.0, began + settings.seconds - time.monotonic()))
                driver.stop()
                healed = time.monotonic()
                stuck = await _heal(driver, driving, follower, settings.healed_within)
                healing = time.monotonic() - healed
                injector.look()
                injector.problems += filter(None, await asyncio.gather(*(part.stop() for part in parts)))
            finally:
                driving.cancel()
                await asyncio.gather(driving, return_exceptions=True)
            ends = [await log.end(EVENTS, number) for number in range(log.partitions)]
            divergences = await _refold_all(log, url, ends, folder)
        findings, totals = await _judge(log, follower, driver, folder)
        return _report(
            settings, injector, driver, follower, findings, totals, stuck, divergences, healing, notes(folder)
        )
    finally:
        await follower.close()
        await client.subscriber.close()
        await log.close()


@contextlib.asynccontextmanager
async def _parts(settings: Settings, url: str, folder: Path) -> AsyncIterator[list[Part]]:
    parts = [Part("engine", number, url, folder, settings.bug) for number in range(settings.engines)]
    parts += [Part("worker", number, url, folder, settings.bug) for number in range(settings.workers)]
    for part in parts:
        part.start()
    try:
        yield parts
    finally:
        for part in parts:
            part.kill()


async def _all_there(log: KafkaLog, settings: Settings) -> None:
    async with asyncio.timeout(HANG):
        while True:
            # A slow machine's brokers load their groups for longer than the log waits for an answer.
            with contextlib.suppress(LogUnavailableError):
                engines, workers = len(await log.members(ENGINES)), len(await log.members(WORKERS))
                if engines >= settings.engines and workers >= settings.workers:
                    return
            await asyncio.sleep(0.1)


async def _heal(driver: Driver, driving: asyncio.Future[None], follower: Follower, within: float) -> list[str]:
    """Nothing goes wrong any more: wait until everything has ended; what has not within the bound is stuck."""
    deadline = time.monotonic() + within
    await asyncio.wait((driving,), timeout=within)
    stuck = [] if driving.done() else ["the client still waits for an acknowledgement"]
    if driving.done():
        driving.result()
    begun = {command.instance_id for command in driver.acknowledged.values()}
    while (left := begun - follower.ended.keys()) and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    return stuck + sorted(left)


async def _refold_all(log: KafkaLog, url: str, ends: list[int], folder: Path) -> list[str]:
    """Fold every partition three times, twice elsewhere and under other hash seeds; where they differ."""
    own = [await from_beginning(log, number, end) for number, end in enumerate(ends)]
    different = []
    for start, hash_seed in (("beginning", "1"), ("snapshot", "4242")):
        words = [sys.executable, "-m", "tests.chaos.refold", url, start, str(folder), *map(str, ends)]
        process = await asyncio.create_subprocess_exec(
            *words, cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": hash_seed}, stdout=asyncio.subprocess.PIPE
        )
        said, _ = await process.communicate()
        if process.returncode:
            different.append(f"refolding from the {start} failed")
            continue
        for number, first in enumerate(json.loads(said)):
            if (folder / f"{start}-{number}.json").read_bytes() != own[number]:
                (folder / f"own-{number}.json").write_bytes(own[number])
                different.append(f"partition {number} folded from {start} {first} up to {ends[number]}")
    return different


async def _judge(log: KafkaLog, follower: Follower, driver: Driver, folder: Path) -> tuple[Findings, dict[str, int]]:
    histories = []
    totals = {"claims": 0, "refused": 0, "snapshots": 0, "transitions": 0}
    changed = []
    for number, seen in enumerate(follower.rules):
        rule, records = await accepted(log, number, seen.position)
        if rule.digest.digest() != seen.digest.digest():
            changed.append(f"events[{number}] up to {seen.position} is not what was read while it was written")
        rule, records = await accepted(log, number, await log.end(EVENTS, number))
        histories.append([decode_transition(one.value, f"events[{number}]@{one.offset}") for one in records])
        totals["claims"] += rule.claims
        totals["refused"] += rule.refused
        totals["snapshots"] += rule.snapshots
        totals["transitions"] += len(records)
    findings = judge(histories, driver.acknowledged, notes(folder))
    findings.strange += changed
    return findings, totals


def _report(
    settings: Settings, injector: Injector, driver: Driver, follower: Follower, findings: Findings,
    totals: dict[str, int], stuck: list[str], divergences: list[str], healing: float, noted: list[dict],
) -> Report:  # fmt: skip
    wrong = [
        f"{instance_id}: {follower.ended[instance_id]}, not {end}"
        for instance_id, end in driver.expected.items()
        if follower.ended.get(instance_id, end) != end
    ]
    other = [*findings.strange, *wrong, *driver.untold, *follower.problems, *injector.problems]
    seconds, without = recoveries(injector.hits, follower.seen)
    late = begun_late(noted, follower.seen)
    problems = [f"acknowledged and lost: {one}" for one in findings.lost]
    problems += [f"diverges: {one}" for one in divergences]
    problems += [f"twice: {one}" for one in findings.twice]
    problems += [f"stuck after healing: {one}" for one in stuck]
    problems += other
    return Report(
        {
            "seed": settings.seed,
            "seconds": settings.seconds,
            "brokers": settings.brokers if not settings.log else settings.log,
            "faults": dict(sorted(injector.made.items())),
            "acknowledged": len(driver.acknowledged),
            "lost": len(findings.lost),
            "divergences": len(divergences),
            "duplicate_transitions": len(findings.twice),
            "handler_runs_needed": findings.needed,
            "handler_runs_beyond": findings.beyond,
            "handler_runs_after_their_outcome": late,
            "instances": len(follower.started),
            "stuck": len(stuck),
            "other_problems": len(other),
            **totals,
            "sent_again": driver.doubts,
            "healing_seconds": round(healing, 2),
            "recovery": {
                "all": figures(one for kind, some in seconds.items() if kind != BACK for one in some),
                **{kind: figures(some) for kind, some in sorted(seconds.items())},
            },
            "slowest": slowest(injector.hits, follower.seen),
            "hit_and_not_needed_again": without,
        },
        problems,
    )
