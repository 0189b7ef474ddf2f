"""What is run in a simulation: random definitions, and handlers that do what handlers do."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any, NamedTuple

from msgspec.structs import replace

from stepwell.consumers.worker.context import StepContext
from stepwell.consumers.worker.handlers import Handlers
from stepwell.core.plan.compile import Plan
from stepwell.errors import DefinitionError
from stepwell.language import compile_plan, load_definition
from stepwell.schemas.definitions.model import Definition, Step
from tests.core.model import definition as random_definition
from tests.simulation.oracle import Oracle

HANDLERS = ("work", "mend", "undo")


class Boom(Exception):  # noqa: N818 - what definitions name
    """A failure of no known kind."""


class ValidationError(Exception):
    """One that no second attempt would help."""


def definitions(dice: random.Random, count: int, families: float) -> list[Plan]:
    """Random definitions, small enough for thousands of runs.

    Args:
        families: How many of those that could begin with a child that is waited for do.
    """
    plans: list[Plan] = []
    while len(plans) < count:
        made = random_definition(dice, most_steps=dice.choice((2, 4, 8)))
        child = dice.choice(("nowhere", *(plan.definition.name for plan in plans)))  # never itself: it would not end
        steps = [replace(step, config=_shortened(step.config, child)) for step in made.steps]
        if plans and dice.random() < families:
            first = Step("family", type="workflow_trigger", config={"workflow": plans[-1].definition.name})
            steps.insert(0, first)
        limit = None if made.default_timeout_seconds is None else dice.choice((5.0, 40.0))
        name = f"wf{len(plans)}"
        try:
            sure = load_definition(replace(made, name=name, steps=tuple(steps), default_timeout_seconds=limit))
            plans.append(compile_plan(sure))
        except DefinitionError:
            continue
    return plans


def _shortened(config: dict[str, Any], child: str) -> dict[str, Any]:
    if "workflow" in config:
        return {**config, "workflow": child}
    if "timeout_seconds" in config:  # of a gate: short enough that its levels are asked while there is trouble
        return {**config, "timeout_seconds": 3}
    return {**config, "seconds": min(config["seconds"], 4)} if "seconds" in config else config


def as_registered(plan: Plan) -> Definition:
    """What a client registers."""
    return plan.definition


class Moods(NamedTuple):
    """How likely a handler does what."""

    fails: float = 0.15
    dawdles: float = 0.2
    overruns: float = 0.04
    hangs: float = 0.03
    floods: float = 0.05


class Hands:
    """The handlers of all workers.

    Attributes:
        healed: Set once everything is to go well.
        ran: How many runs have begun, and in how many ways they ended.
    """

    def __init__(
        self, dice: random.Random, moods: Moods, oracle: Oracle, guarded: Callable[..., None] = lambda *_: None
    ) -> None:
        self._guarded = guarded
        self._dice = dice
        self._moods = moods
        self._oracle = oracle
        self.healed = asyncio.Event()
        self.ran = 0

    def of_worker(self, lacking: str | None, worker: str, most: int) -> Handlers:
        """The handlers that one worker knows.

        Args:
            worker: Its name.
            most: How often it lets a run be lost.
        """

        async def work(data: Any, ctx: StepContext) -> Any:
            self._guarded(self._oracle.runs, worker, ctx.instance_id, ctx.run, most)
            return await self._work(data, ctx)

        found = Handlers()
        for name in HANDLERS:
            if name != lacking:
                found.register(name, work)
        return found

    async def _work(self, _data: Any, ctx: StepContext) -> Any:
        dice, moods = self._dice, self._moods
        self.ran += 1
        if not self.healed.is_set():
            chance = dice.random()
            if dice.random() < moods.dawdles:
                ctx.heartbeat(dice.randrange(5))
                await asyncio.sleep(dice.random() * 2)
            if (chance := chance - moods.fails) < 0:
                raise dice.choice((Boom, ValidationError, ConnectionError, ValueError))("it went wrong")
            if (chance := chance - moods.overruns) < 0:
                await asyncio.sleep(10)
            elif (chance := chance - moods.hangs) < 0:
                await self.healed.wait()
                raise Boom("nobody waits for this any more")
            elif chance - moods.floods < 0:
                return self._gives(ctx, {"v": "x" * dice.choice((3_000, 20_000))})
        if dice.random() < 0.3:
            ctx.set(f"by {ctx.step_id}", dice.randrange(9))
        return self._gives(ctx, dice.choice(({"v": 1}, {"v": 2, "b": [1, {"z": 1}]}, 7, None, [1, 2.5], "text")))

    def _gives(self, ctx: StepContext, output: Any) -> Any:
        self._oracle.outcome(ctx.instance_id, ctx.step_id, ctx.run, output)
        return output
