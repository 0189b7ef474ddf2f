"""``Client.start``."""

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
    """The part of ``Client`` that starts instances."""

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
            workflow: The name of a registered definition, or the workflow that was registered: one that is written in
                Python, or a ``Definition``. The latter two start their own version.
            input: The input: any value that JSON can represent, usually a mapping. For a workflow that is written in
                Python, the argument of its function, or a mapping with a value for each parameter.
            id: The id of the instance; by default a UUID. The same start with the same id returns the existing
                instance (``run.existed``), so a retry never starts a second one.
            version: The version of the definition; by default the version of the ``Workflow`` or ``Definition``, or
                for a name the active version that was registered last.
            priority: 0 to 100; a higher priority runs first under load.
            timeout_seconds: The timeout of the whole instance in seconds; by default as the definition says.
            watch: Whether to follow the instance from its first event on, so that ``run.result`` need not read its
                history. False costs less if nobody waits for the end.
            if_exists: What to do if the id belongs to an instance that was started with other arguments: with another
                workflow, another version than the one named here, or another input than the one given here.
                ``refuse`` raises, ``use`` returns the existing instance.

        Returns:
            The instance, with the type of its output if the workflow is written in Python. The call returns when an
            engine has answered. If no engine is live, it returns at once: the start is in the log, and the next
            engine decides it. An engine takes starts only while workers keep up, and a client has at most 1,000
            unanswered starts, so a program that starts too many instances at once is slowed down.

        Raises:
            UnknownWorkflowError: No such definition is registered.
            InactiveWorkflowError: The version is inactive, or no version was named and all are inactive.
            CommandRejectedError: The engine rejects the start, for instance because the input does not fit
                (``invalid_input``) or because the id belongs to another instance (``instance_exists``); or an
                argument is of a wrong type (``invalid_command``).
            BuildError, DefinitionError: The workflow is written in Python, and cannot be built.
            TimeoutError: There is no answer yet because other starts come first. The start is in the log and will be
                decided.
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
        if run.existed and if_exists == "refuse":  # only the argument `version` is compared, not an object's own
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
                    # The instance was started while the version was active. This is a repeat of that start.
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
                    raise  # otherwise the version was deactivated in the meantime: choose again
            else:
                if id is not None and not run.decided:
                    run.existed = not await self.pending.is_first(id, command.command_id)
                return run

    async def _started(self, command: StartWorkflow, returns: Any, *, watch: bool) -> Run[Any]:
        instance_id = command.instance_id
        async with self._starting:
            # Watch the instance from its first event on, for as long as the caller keeps the run.
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
