"""Settings under which what is rare because it is large happens in a small world, too."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from stepwell.consumers.engine import deciding, inbox, owner, snapshotting, start_order, tenure
from stepwell.consumers.engine import engine as engine_module
from stepwell.consumers.engine.deciding import Decider
from stepwell.consumers.worker import heartbeats, worker
from stepwell.core.decide.decision import BUDGET
from stepwell.core.fold import snapshots
from stepwell.logs import Logger
from tests.simulation.actors import WatchedLedger, WatchedOwner

if TYPE_CHECKING:
    from tests.simulation.world import World


@contextlib.contextmanager
def miniature(world: World) -> Iterator[None]:
    """Make rare what is rare only because it is large: snapshots, chunks, batches; and keep the logs quiet."""
    dice = world.dice
    tail = world.bias.tail or dice.choice((500, 2_000, 20_000, 4_000_000))

    def quiet(_: Logger, event: str, **values: Any) -> None:
        world.say(f"log: {event} {values}")

    def undecidable(_: Logger, event: str, **values: Any) -> None:
        world.violated(f"{event}: {values}")

    def decide_or_die(self: Decider, instance: Any, command: Any, circumstances: Any) -> Any:
        if world.is_deadly(command):
            self._log.die()  # type: ignore[attr-defined]
            raise asyncio.CancelledError
        return decided(self, instance, command, circumstances)

    decided = Decider._answer

    class Owner(WatchedOwner):
        pass

    class WorldsLedger(WatchedLedger):
        pass

    Owner.world = WorldsLedger.world = world
    settings: list[tuple[Any, str, Any]] = [
        (snapshotting, "SMALLEST_TAIL", tail),
        (snapshotting, "FACTOR", dice.choice((0.1, 1, 4))),
        (snapshots, "CHUNK_BYTES", dice.choice((300, 3_000, 10_000 if world.tight else 256 * 1024))),
        (Decider, "_answer", decide_or_die),
        (deciding, "BUDGET", dice.choice((1, 3, 256))),
        (inbox, "BATCH", dice.choice((1, 4, 200))),
        (start_order, "TURN_EVERY", dice.choice((2, 10))),
        (start_order, "WINDOW", dice.choice((2, 20_000))),
        (tenure, "MOST_AHEAD", dice.choice((1, 3, 1_000))),
        (tenure, "BATCH", dice.choice((1, 4, 200))),
        (tenure, "MAX_UNPROVED", dice.choice((1, 5, 4_000))),
        (worker, "REMEMBERED", dice.choice((1, 5, 10_000))),
        (worker, "PASS_ON_EVERY", 0.5),
        (heartbeats, "SWEEP_EVERY", 0.5),
        (engine_module, "PartitionOwner", Owner),
        (owner, "Ledger", WorldsLedger),
        (Logger, "warning", quiet),
        (Logger, "info", quiet),
        (Logger, "debug", quiet),
        (Logger, "exception", undecidable),
    ]
    before = [(place, name, getattr(place, name)) for place, name, _ in settings]
    for place, name, value in settings:
        setattr(place, name, value)
    world.oracle.roomy = not world.tight and deciding.BUDGET == BUDGET
    try:
        yield
    finally:
        for place, name, value in before:
            setattr(place, name, value)
