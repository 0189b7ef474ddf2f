"""The client of a chaos run: starts and steers workflows, a bounded number of them at a time."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from random import Random
from typing import Any

from stepwell.client.client import Client
from stepwell.client.requests import ANSWER_TIMEOUT
from stepwell.errors import CommandRejectedError, LogError
from stepwell.schemas.records.commands import (
    CancelWorkflow,
    Command,
    PauseWorkflow,
    ResumeWorkflow,
    RollbackWorkflow,
    StartWorkflow,
)
from tests.chaos.follower import Follower
from tests.chaos.workflows import definitions

IN_FLIGHT = 24
PATIENCE = 3.0  # seconds that an answer may be on its way to who waits for it


class Driver:
    """Starts instances as fast as others end.

    Attributes:
        acknowledged: Commands by id that the client has said are in the log, or decided.
        expected: How instances that nobody has steered must end.
        untold: Commands whose answer is in the log, and whose sender was not told.
        doubts: How often nothing was known about a command, so that it was sent again under its id.
    """

    def __init__(self, client: Client, follower: Follower, seed: int) -> None:
        self._client = client
        self._follower = follower
        self._seed = seed
        self._kinds = definitions(seed)
        self._count = 0
        self._stopping = asyncio.Event()
        self.acknowledged: dict[str, Command] = {}
        self.recent: deque[Command] = deque(maxlen=50)
        self.expected: dict[str, str] = {}
        self.doubts = 0
        self.untold: list[str] = []

    async def register(self) -> None:
        for definition, _ in self._kinds.values():
            await self._client.register(definition)

    async def run(self) -> None:
        """Start and steer until told to stop; then every command that was begun is acknowledged."""
        async with asyncio.TaskGroup() as group:
            for _ in range(IN_FLIGHT):
                group.create_task(self._keep_busy())

    def stop(self) -> None:
        self._stopping.set()

    async def _keep_busy(self) -> None:
        while not self._stopping.is_set():
            number, self._count = self._count, self._count + 1
            await self._one(f"c{number:05}", Random(f"instance {number} of {self._seed}"))

    async def _one(self, instance_id: str, rng: Random) -> None:
        name = rng.choice(sorted(self._kinds))
        await self.say(StartWorkflow(instance_id, workflow=name, input={"n": 1}, command_id=f"{instance_id}-start"))
        if rng.random() < 0.2:
            await self._steer(instance_id, rng)
        else:
            self.expected[instance_id] = self._kinds[name][1]
        ending = asyncio.ensure_future(self._follower.end_of(instance_id))
        stopping = asyncio.ensure_future(self._stopping.wait())
        await asyncio.wait((ending, stopping), return_when=asyncio.FIRST_COMPLETED)
        for task in (ending, stopping):
            task.cancel()

    async def _steer(self, instance_id: str, rng: Random) -> None:
        """Whatever it is, the instance must come to an end by itself after it."""
        await self._pass(rng.uniform(0, 1))
        what = rng.choice(["pause", "cancel", "rollback"])
        command_id = f"{instance_id}-{what}"
        if what == "cancel":
            await self.say(CancelWorkflow(instance_id, "chaos", command_id=command_id))
        elif what == "rollback":
            await self.say(RollbackWorkflow(instance_id, "start", command_id=command_id))
        else:
            await self.say(PauseWorkflow(instance_id, "chaos", command_id=command_id))
            await self._pass(rng.uniform(0, 1))
            await self.say(ResumeWorkflow(instance_id, command_id=f"{instance_id}-resume"))

    async def _pass(self, seconds: float) -> None:
        """Let time go by, unless the run is over."""
        waiting: Any = self._stopping.wait()
        try:
            await asyncio.wait_for(waiting, seconds)
        except TimeoutError:
            return

    async def say(self, command: Command) -> None:
        """Send a command until it is known to be in the log."""
        command_id: str = command.command_id  # type: ignore[union-attr]
        again = False
        while True:
            try:
                # Where the first sending was followed, the second one has no answer: a repeat changes nothing.
                await self._client.send(command, timeout=PATIENCE if again else ANSWER_TIMEOUT)
            except CommandRejectedError:
                break
            except TimeoutError:  # it is in the log, and will be decided
                answered = self._follower.answers.get(command_id)
                if not again and answered is not None and answered < time.time() - PATIENCE:
                    self.untold.append(f"{command_id} has an answer in the log that its sender was not told")
                break
            except LogError:
                again = True
                self.doubts += 1
                await asyncio.sleep(0.2)
            else:
                break
        self.acknowledged[command_id] = command
        self.recent.append(command)
