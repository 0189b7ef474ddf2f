"""A kit for testing workflows: the real engine, worker and client, on a simulated log, in virtual time.

A three-day timeout passes in milliseconds; a crash is one call; the events are there to be looked at. Nothing is
mocked but what the test wants to be: a handler can be replaced by a stub, everything around it is the code that runs
in production::

    def test_an_unpaid_order_is_cancelled_after_three_days() -> None:
        async def scenario(world: World) -> None:
            await world.register("order.yaml")
            run = await world.start("order", {"order": 1})
            await world.advance(days=3)
            assert (await run.status()).status == "failed"
            assert "workflow.failed" in await world.types(run.id)

        simulate(scenario, handlers={"shop.charge": stub({"paid": False})}, modules=["shop"])
"""

from __future__ import annotations

import asyncio
import functools
import itertools
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Concatenate, Final, TypeVar, Unpack, overload

from stepwell.arguments import check_functions, check_numbers
from stepwell.builder.workflows import Workflow
from stepwell.client.client import Client, Registrable
from stepwell.client.run import Run
from stepwell.client.startable import StartOptions, WithInput, WithoutInput
from stepwell.consumers.engine.engine import Engine
from stepwell.consumers.reading.events import Accepted
from stepwell.consumers.reading.histories import EventRecord, event_records
from stepwell.consumers.reading.patterns import wanted_types
from stepwell.consumers.reading.views import InstanceView
from stepwell.consumers.worker import settings
from stepwell.consumers.worker.builtin import BUILTIN
from stepwell.consumers.worker.handlers import Handlers, registered
from stepwell.consumers.worker.worker import Worker
from stepwell.errors import HandlerError, StepwellError
from stepwell.log.simulated.log import SimulatedLog, SimulatedStorage
from stepwell.schemas.definitions.model import Definition
from stepwell.tasks import cancel_and_wait
from stepwell.testing.loop import VirtualLoop, run
from stepwell.testing.views import MomentaryReadModels, own_directory

Result = TypeVar("Result")
Input = TypeVar("Input")
Output = TypeVar("Output")

_BEGINNING: Final = 1_767_225_600_000  # 2026-01-01T00:00:00Z: when every simulated world begins


class World:
    """One engine, one worker and one client, in virtual time. Made by ``simulate``.

    Attributes:
        client: The client; whatever it can do, a test can.
        crashes: How many there were.
    """

    def __init__(
        self, storage: SimulatedStorage, client: Client, handlers: Handlers, queues: Iterable[str] = ("default",)
    ) -> None:
        self._queues = settings.listed(queues)
        self.client = client
        self.crashes: int = 0
        self._storage = storage
        self._handlers = handlers
        self._process: tuple[SimulatedLog, list[asyncio.Task[None]]] | None = None
        self._triggers: list[tuple[Callable[[EventRecord], bool], asyncio.Future[EventRecord]]] = []

    # --- what a test does -----------------------------------------------------------------------------------

    async def register(self, source: Registrable) -> Definition:
        """Register a definition: a path, a text, plain data, a ``Definition``, or a workflow written in Python."""
        return await self.client.register(source)

    @overload
    async def start(
        self, workflow: str | Definition, input: Any = None, **options: Unpack[StartOptions]
    ) -> Run[Any]: ...
    @overload
    async def start(
        self,
        workflow: WithoutInput[Output],
        input: Mapping[str, Any] | None = None,
        **options: Unpack[StartOptions],
    ) -> Run[Output]: ...
    @overload
    async def start(
        self, workflow: WithInput[Input, Output], input: Input, **options: Unpack[StartOptions]
    ) -> Run[Output]: ...
    @overload
    async def start(
        self,
        workflow: Workflow[Concatenate[Any, Any, ...], Output],
        input: Mapping[str, Any],
        **options: Unpack[StartOptions],
    ) -> Run[Output]: ...
    async def start(self, workflow: Any, input: Any = None, **options: Unpack[StartOptions]) -> Run[Any]:  # noqa: A002 - as Client.start
        """Start an instance; see ``Client.start``."""
        return await self.client.start(workflow, input, **options)

    @overload
    async def run(
        self, workflow: str | Definition, input: Any = None, **options: Unpack[StartOptions]
    ) -> InstanceView[Any]: ...
    @overload
    async def run(
        self,
        workflow: WithoutInput[Output],
        input: Mapping[str, Any] | None = None,
        **options: Unpack[StartOptions],
    ) -> InstanceView[Output]: ...
    @overload
    async def run(
        self, workflow: WithInput[Input, Output], input: Input, **options: Unpack[StartOptions]
    ) -> InstanceView[Output]: ...
    @overload
    async def run(
        self,
        workflow: Workflow[Concatenate[Any, Any, ...], Output],
        input: Mapping[str, Any],
        **options: Unpack[StartOptions],
    ) -> InstanceView[Output]: ...
    async def run(self, workflow: Any, input: Any = None, **options: Unpack[StartOptions]) -> InstanceView[Any]:  # noqa: A002
        """Start an instance and let time pass until it has finished; see ``Client.start``."""
        started = await self.client.start(workflow, input, **options)
        return await started.result()

    async def advance(self, *, seconds: float = 0, minutes: float = 0, hours: float = 0, days: float = 0) -> None:
        """Let virtual time pass; whatever is due meanwhile happens.

        Raises:
            StepwellError: One of them is no number.
        """
        check_numbers(StepwellError, seconds=seconds, minutes=minutes, hours=hours, days=days)
        await asyncio.sleep(seconds + 60 * (minutes + 60 * (hours + 24 * days)))

    @property
    def now(self) -> int:
        """Virtual milliseconds since 1970."""
        return _BEGINNING + int(asyncio.get_running_loop().time() * 1000)

    async def crash(self) -> None:
        """End the process of engine and worker as ``kill -9`` does, and start another one.

        What they held in memory is gone; handlers that ran are gone with it; the log is what it was.
        """
        await self._kill()
        await self.boot()

    async def _kill(self) -> None:
        if self._process is not None:
            log, tasks = self._process
            self._process = None
            self.crashes += 1
            await self._storage.crash(log)
            await cancel_and_wait(*tasks)

    async def crash_when(self, happens: str | Callable[[EventRecord], bool]) -> EventRecord:
        """Crash as soon as an event is accepted, and start another process; return the event.

        Args:
            happens: As for ``until``.

        Raises:
            PatternError: As for ``until``.
        """
        record = await self.until(happens)
        await self.crash()
        return record

    async def until(self, happens: str | Callable[[EventRecord], bool]) -> EventRecord:
        """Let time pass until an event is accepted that has not been yet; return it.

        Args:
            happens: The event's type, such as ``step.failed``, also with wildcards; or a predicate over events.

        Raises:
            PatternError: It is neither, or there is no such type.
        """
        wanted: Callable[[EventRecord], bool]
        if callable(happens):
            wanted = happens
        else:
            types = wanted_types(happens)
            wanted = lambda record: record.type in types  # noqa: E731 - as the other one
        future: asyncio.Future[EventRecord] = asyncio.get_running_loop().create_future()
        self._triggers.append((wanted, future))
        return await future

    async def events(self, instance_id: str) -> list[EventRecord]:
        """Everything that has happened to an instance."""
        return await self.client.history(instance_id)

    async def types(self, instance_id: str) -> list[str]:
        """The types of its events: ``workflow.started``, ``step.ready``, …"""
        return [record.type for record in await self.events(instance_id)]

    # --- behind it ------------------------------------------------------------------------------------------

    async def boot(self) -> None:
        """Start a process with an engine and a worker."""
        log = await self._storage.open(f"process-{self.crashes}")
        clock = lambda: self.now  # noqa: E731 - a name for what it is
        engine = Engine(log, clock=clock, name=f"engine-{self.crashes}")
        name = f"worker-{self.crashes}"
        worker = Worker(log, self._handlers, queues=self._queues, concurrency=64, hand_back=False, name=name)
        tasks = [asyncio.ensure_future(engine.run()), asyncio.ensure_future(worker.run())]
        self._process = (log, tasks)

    async def shut(self) -> None:
        """End everything."""
        if self._process is not None:
            await cancel_and_wait(*self._process[1])
        await self.client.close()
        await self._storage.close()

    def broken(self, error: BaseException) -> None:
        """Tell whoever waits that nothing more will be heard."""
        for _, future in self._triggers:
            if not future.done():
                future.set_exception(error)

    def heard(self, accepted: Accepted) -> None:
        """Look whether somebody waits for what has happened."""
        if not self._triggers:
            return
        for record in event_records(accepted.transition, 0, accepted.record.offset):
            for trigger in list(self._triggers):
                wanted, future = trigger
                if not future.done() and wanted(record):
                    self._triggers.remove(trigger)
                    future.set_result(record)


def simulate(
    scenario: Callable[[World], Awaitable[Result]],
    *,
    handlers: Mapping[str, Callable[..., Any]] | None = None,
    modules: Iterable[str] = (),
    queues: Iterable[str] = ("default",),
    seed: int = 0,
) -> Result:
    """Run a scenario in a world of its own; the same seed gives the same world.

    Args:
        scenario: A coroutine function that gets the world.
        handlers: What stands in for handlers, by the name that definitions use (a registered name, a dotted path)
            or, for ``process`` and ``http_request``, by the step's type. The rest is what ``@stepwell.handler``
            has registered. Functions run without threads, in no virtual time; only coroutines can take time
            (``await asyncio.sleep(3600)`` costs nothing).
        modules: Modules from which steps may name functions by dotted path.
        queues: What the world's worker serves, such as the queues of agents.
        seed: Of the simulated log's latencies.

    Returns:
        What the scenario returns.

    Raises:
        DeadlockError: It waits for something that can never happen, such as the result of an instance that waits
            for a person.
        HandlerError: The scenario, or a handler, is no function.
        StepwellError: ``modules``, ``queues`` or ``seed`` is of a wrong type.
    """
    given: object = {} if handlers is None else handlers
    if not isinstance(given, Mapping):
        raise HandlerError(f"handlers are functions by name, not {given!r:.100}")
    check_functions(
        HandlerError, scenario=scenario, **{f"the handler {name!r:.100}": one for name, one in given.items()}
    )
    check_numbers(StepwellError, whole=True, seed=seed)
    stand_ins = dict(given)
    builtin = {kind: stand_ins.pop(kind, function) for kind, function in BUILTIN.items()}
    known = Handlers(modules, builtin)
    known.update(registered)
    for name, function in stand_ins.items():
        known.replace(name, function)

    loop = VirtualLoop()

    async def main(views: Path) -> Result:
        storage = SimulatedStorage(seed, beginning=_BEGINNING)
        numbers = itertools.count(1)
        clock = loop.clock(_BEGINNING)
        client = Client(
            await storage.open("client"),
            views=views,
            make_id=lambda: f"id-{next(numbers)}",
            clock=clock,
            models=functools.partial(MomentaryReadModels, clock=clock),
        )
        world = World(storage, client, known, queues)
        await world.boot()
        await client.subscriber.listen(world.heard, world.broken)
        try:
            return await scenario(world)
        finally:
            await world.shut()

    with own_directory() as views:
        return run(main(views), loop=loop)


def stub(output: Any = None, *, seconds: float = 0) -> Callable[..., Awaitable[Any]]:
    """A handler that returns an output after some virtual seconds.

    Raises:
        StepwellError: ``seconds`` is no number.
    """
    check_numbers(StepwellError, seconds=seconds)

    async def handler(_data: Any) -> Any:
        await asyncio.sleep(seconds)
        return output

    return handler


def failing(error: Exception, *, times: int | None = None, then: Any = None) -> Callable[..., Awaitable[Any]]:
    """A handler that raises, for ever or so many times, and then returns an output.

    Raises:
        HandlerError: ``error`` is no exception.
        StepwellError: ``times`` is no whole number.
    """
    raised: object = error
    if not isinstance(raised, Exception):
        raise HandlerError(f"error is an exception, not {raised!r:.100}")
    check_numbers(StepwellError, none=True, whole=True, times=times)
    left = itertools.count() if times is None else iter(range(times))

    async def handler(_data: Any) -> Any:
        if next(left, None) is not None:
            raise error
        return then

    return handler
