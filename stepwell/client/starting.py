"""Starting instances."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Concatenate, Literal, TypeVar, Unpack, overload

from stepwell.arguments import check_numbers, check_texts, rejected
from stepwell.client.refusals import Refusals
from stepwell.client.run import Run
from stepwell.client.same_start import check_same
from stepwell.client.startable import StartOptions, ToStart, WithInput, WithoutInput, to_start
from stepwell.client.steering import Steering
from stepwell.core.decide.requests import INACTIVE_VERSION
from stepwell.errors import (
    NOT_PLAIN,
    CommandRejectedError,
    StepwellError,
    UnknownInstanceError,
    is_plain,
    visible,
)
from stepwell.schemas.definitions.model import Definition
from stepwell.schemas.records.commands import StartWorkflow
from stepwell.schemas.records.events import CommandNoted

if TYPE_CHECKING:
    from stepwell.builder.workflows import Workflow

Input = TypeVar("Input")
Output = TypeVar("Output")


class Starting(Steering):
    """How a client starts instances. Part of ``Client``."""

    refusals: Refusals
    _starting: asyncio.Semaphore

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
    async def start(
        self,
        workflow: Any,
        input: Any = None,  # noqa: A002 - the word of the definition
        *,
        id: str | None = None,  # noqa: A002
        version: str | None = None,
        priority: int = 0,
        timeout_seconds: float | None = None,
        watch: bool = True,
        if_exists: Literal["refuse", "use"] = "refuse",
    ) -> Run[Any]:
        """Start an instance.

        Args:
            workflow: Name of a registered definition; or what was registered under it, a workflow that is written in
                Python or a ``Definition``: these start the version that they are.
            input: Its input, any JSON-able value; a mapping as a rule. For a workflow that is written in Python, what
                its function takes; where that takes several parameters, a mapping with a value for each.
            id: What it is to be called. Starting the same again under the same id gives the instance that exists
                (``run.existed``), so a retry never starts a second one. Without one, a UUID.
            version: Of the definition; without one, the active version that was registered last, or that of the
                ``Workflow`` or ``Definition``.
            priority: 0 to 100; higher runs first under load.
            timeout_seconds: For the whole instance; without one, what the definition says.
            watch: Follow it from its first event on, so that ``run.result`` has nothing to read anew. False costs
                less, for who does not wait for its end.
            if_exists: What to do where the id belongs to an instance that was started for something else: of another
                workflow, of another version than the one named here, with another input than the one given here.
                ``refuse`` it, or ``use`` the one that exists.

        Returns:
            The instance; where a workflow that is written in Python was started, with the type of its output. It is
            returned once an engine has answered; or at once, where no engine is live: the start is in the log then,
            and will be decided by the next one. An engine takes starts only while workers keep up, and a client has
            1,000 of them on their way at most: so whoever starts too much at once is slowed down.

        Raises:
            UnknownWorkflowError: No such definition is registered.
            InactiveWorkflowError: This version is inactive, or, where none was named, every one is.
            CommandRejectedError: The engine will not start it, for instance because the input does not fit
                (``invalid_input``), or because the id is that of another instance (``instance_exists``). Or an
                argument is of a wrong type (``invalid_command``).
            BuildError, DefinitionError: The workflow is written in Python, and cannot be built.
            TimeoutError: No answer yet: other starts come first. It is in the log and will have its turn.
        """
        if if_exists not in ("refuse", "use"):
            raise CommandRejectedError("invalid_command", f'if_exists is "refuse" or "use", not {if_exists!r:.100}')
        named: object = id
        if named is not None and (not isinstance(named, str) or not named):  # not a new instance each time
            raise CommandRejectedError(
                "invalid_command", f"an id is a text of one character at least, not {named!r:.100}"
            )
        check_texts(rejected, none=True, version=version)
        check_numbers(rejected, whole=True, priority=priority)
        check_numbers(rejected, none=True, timeout_seconds=timeout_seconds)
        wanted = to_start(workflow, input, id or "")
        run = await self._run(
            wanted,
            id,
            wanted.version if version is None else version,
            priority=priority,
            timeout_seconds=timeout_seconds,
            watch=watch,
        )
        if run.existed and if_exists == "refuse":  # the version that an object is was not asked for by its name
            await check_same(self.pending, run.id, wanted.workflow, version, wanted.input)
        return run

    async def _run(
        self,
        wanted: ToStart,
        id: str | None,  # noqa: A002
        version: str | None,
        *,
        priority: int,
        timeout_seconds: float | None,
        watch: bool,
    ) -> Run[Any]:
        workflow, returns = wanted.workflow, wanted.returns
        if id is not None and not is_plain(id) and not await self._exists(id):  # before it is in the log
            raise CommandRejectedError("invalid_command", f"the id {NOT_PLAIN}", instance_id=visible(id[:200]))
        while True:
            plan = await self.registry.to_start(workflow, version)
            if isinstance(plan, StepwellError):
                if id is not None and await self._exists(id):
                    # It was started while it was active; this is the same start again.
                    return Run(self, id, existed=True, returns=returns)
                self.refusals.note("StartWorkflow", plan.message, self.sender)
                raise plan
            command = StartWorkflow(
                id or self._make_id(),
                workflow=workflow,
                version=plan.definition.version,
                input={} if wanted.input is None else wanted.input,
                priority=priority,
                timeout_seconds=timeout_seconds,
                command_id=self._make_id(),
            )
            try:
                run = await self._started(command, returns, watch=watch)
            except CommandRejectedError as refused:
                if version is not None or refused.code != INACTIVE_VERSION:
                    raise  # else it was deactivated meanwhile: choose again
            else:
                if id is not None and not run.decided:
                    run.existed = not await self.pending.is_first(id, command.command_id)
                return run

    async def _started(self, command: StartWorkflow, returns: Any, *, watch: bool) -> Run[Any]:
        instance_id = command.instance_id
        async with self._starting:
            # Watched from its first event on for as long as the caller keeps the run: its end is no question then.
            watched = await self.subscriber.watch(instance_id, history=False) if watch else None
            try:
                answer = await self._ask_first(command)
            except BaseException:
                if watched is not None:
                    self.subscriber.unwatch(watched)
                raise
        run: Run[Any] = Run(self, instance_id, decided=False, returns=returns)
        if answer is not None:
            existed = isinstance(answer.event, CommandNoted)
            run = Run(self, instance_id, existed=existed, position=answer.position, returns=returns)
        if watched is not None:
            weakref.finalize(run, self.subscriber.unwatch, watched).atexit = False
        return run

    async def _exists(self, instance_id: str) -> bool:
        try:
            await self.get(instance_id)
        except UnknownInstanceError:
            return False
        return True
