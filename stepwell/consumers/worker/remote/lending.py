"""Steps for workers that do not speak to the log themselves: programs in any language, by HTTP.

A remote worker claims a step, sends a heartbeat now and then, and says what became of it. A claim lasts as long as
its lease: without a heartbeat the step goes back to its queue, and another worker, remote or not, takes it. The step
is forgotten by its queue only together with its outcome, so whoever dies in between (the remote worker, or this
process with all of its claims) makes another one run it again: handlers run at least once, wherever they are.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from msgspec import Struct

from stepwell.consumers.worker.remote.claims import Back, Claim, Completed, Failed, Step, Word
from stepwell.consumers.worker.remote.worker import Remote
from stepwell.errors import LogClosedError, TooManyWorkersError, UnknownClaimError
from stepwell.log.port import Log
from stepwell.process import now_ms
from stepwell.schemas.records.events import ErrorInfo

MOST_CLAIMED: Final = 100  # steps by one call; who has more hands polls again
LONGEST_WAIT: Final = 60  # seconds; proxies tend to cut off what is silent for longer
SHORTEST_WAIT: Final = 0.1  # seconds: what waits has to be fetched from the log
DEFAULT_LEASE: Final = 30.0  # seconds
SHORTEST_LEASE: Final = 1.0  # seconds; less would be eaten up by the way
LONGEST_LEASE: Final = 3600  # seconds; a worker that dies keeps its steps for as long
LINGER: Final = 10.0  # seconds without polls and claims after which a worker counts as gone
MOST_REMOTES: Final = 1_000  # workers at once; each is a member of the log's group
REMEMBERED: Final = 10_000  # ended claims that are still told apart from unknown ones


class ClaimedStep(Struct, frozen=True):
    """A step, as a remote worker is given it.

    Attributes:
        claim: What it is spoken of by; nobody else can guess it.
        run: Number of this run, unique within the instance.
        attempt: 1 for the first attempt.
        type: The step's type: ``python`` for those with a handler, whatever its language.
        purpose: ``run``, or ``compensate`` when the step is being undone, or ``handle`` for an error handler.
        config: The step's ``config``, with its templates filled in.
        timeout_seconds: For this attempt, from now on; null without a limit.
        idempotency_key: What a handler passes on to others, so that a repeat does nothing twice.
        lease_seconds: How long the claim lasts without a heartbeat, from when this was sent.
        lease_until: The same as a time, in milliseconds since 1970 by the server's clock.
    """

    claim: str
    instance_id: str
    workflow: str
    version: str
    step_id: str
    run: int
    attempt: int
    max_attempts: int
    type: str
    handler: str
    purpose: str
    priority: int
    input: Any
    config: dict[str, Any]
    timeout_seconds: float | None
    idempotency_key: str
    lease_seconds: float
    lease_until: int


class LeaseState(Struct, frozen=True):
    """What a heartbeat is answered with.

    Attributes:
        cancelled: Nobody waits for this step any more: stop, and say nothing further of it.
        lease_seconds: How long the claim lasts from now on; 0 if it is cancelled.
        lease_until: The same as a time, in milliseconds since 1970 by the server's clock.
    """

    cancelled: bool
    lease_seconds: float
    lease_until: int


class Reported(Struct, frozen=True):
    """What was recorded of a step.

    Attributes:
        outcome: ``completed`` or ``failed``. An output that is too large, or nested too deeply, is a failure.
        error: Of the failure.
    """

    outcome: str
    error: ErrorInfo | None = None


class Lending:
    """All remote workers that this process stands in for.

    Args:
        linger: Seconds without polls and claims after which a worker counts as gone.
        clock: Milliseconds since 1970. Leases go by the loop's time.
    """

    def __init__(self, log: Log, *, linger: float = LINGER, clock: Callable[[], int] = now_ms) -> None:
        self._log = log
        self._linger = linger
        self._clock = clock
        self._remotes: dict[tuple[Any, ...], Remote] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._claims: OrderedDict[str, Claim] = OrderedDict()  # those that last, and the newest that have ended
        self._closed = False

    async def claim(
        self,
        worker: str,
        queues: Iterable[str],
        handlers: Iterable[str],
        *,
        limit: int = 1,
        wait: float = 0.0,
        lease: float = DEFAULT_LEASE,
    ) -> list[ClaimedStep]:
        """Wait for steps, and have them for as long as their leases last. When cancelled, they go back.

        Args:
            worker: Who asks, for people; best unique.
            queues: Where it takes steps from.
            handlers: What it can run: names of handlers, as definitions have them.
            limit: The most steps that it takes, at most ``MOST_CLAIMED``.
            wait: Seconds to wait for the first, at most ``LONGEST_WAIT``.
            lease: Seconds that a claim lasts without a heartbeat, at most ``LONGEST_LEASE``.

        Returns:
            As many as there were when the first came; none if none came in time.

        Raises:
            TooManyWorkersError: This server stands in for as many as it can.
            LogError: The log cannot be used.
        """
        if self._closed:
            raise LogClosedError("this server is about to stop")
        limit = min(max(limit, 1), MOST_CLAIMED)
        key = (worker, tuple(sorted(set(queues))), tuple(sorted(set(handlers))))
        remote = self._remotes.get(key) or self._remote(key, limit)
        found = await remote.poll(
            limit, min(max(wait, SHORTEST_WAIT), LONGEST_WAIT), min(max(lease, SHORTEST_LEASE), LONGEST_LEASE)
        )
        for claim in found:
            self._remember(claim)
        return [self._described(claim, claim.step) for claim in found if claim.step is not None]

    def _remote(self, key: tuple[Any, ...], limit: int) -> Remote:
        if len(self._remotes) >= MOST_REMOTES:
            raise TooManyWorkersError(
                f"{MOST_REMOTES:,} different workers ask this server for steps",
                remedy="Give a worker the same name, queues and handlers at every call, or start another server.",
            )

        def gone(remote: Remote) -> None:
            if self._remotes.get(key) is remote:
                del self._remotes[key]
                task = asyncio.ensure_future(remote.close())
                self._leaving.add(task)
                task.add_done_callback(self._leaving.discard)

        remote = Remote(self._log, *key, concurrency=limit, linger=self._linger, gone=gone)
        self._remotes[key] = remote
        return remote

    def _remember(self, claim: Claim) -> None:
        self._claims[claim.id] = claim
        for _ in range(2):  # of old ones for each new one, so that those that last are passed by in time
            if len(self._claims) > REMEMBERED:
                _, old = self._claims.popitem(last=False)
                if old.ending is None:
                    self._claims[old.id] = old

    def _described(self, claim: Claim, step: Step) -> ClaimedStep:
        ctx = step.ctx
        seconds, until = self._lease(claim)
        return ClaimedStep(
            claim=claim.id,
            instance_id=ctx.instance_id,
            workflow=ctx.workflow,
            version=ctx.version,
            step_id=ctx.step_id,
            run=ctx.run,
            attempt=ctx.attempt,
            max_attempts=ctx.max_attempts,
            type=ctx.type,
            handler=ctx.handler,
            purpose=ctx.purpose,
            priority=ctx.priority,
            input=step.data,
            config=ctx.config,
            timeout_seconds=ctx.timeout_seconds,
            idempotency_key=ctx.idempotency_key,
            lease_seconds=seconds,
            lease_until=until,
        )

    def _lease(self, claim: Claim) -> tuple[float, int]:
        milliseconds = max(0, round((claim.until - asyncio.get_running_loop().time()) * 1000))
        return milliseconds / 1000, self._clock() + milliseconds

    def _known(self, claim_id: str) -> Claim:
        claim = self._claims.get(claim_id)
        if claim is None:
            raise UnknownClaimError(claim_id)
        return claim

    # --- speaking of a claim --------------------------------------------------------------------------------

    def heartbeat(self, claim_id: str, progress: Any = None) -> LeaseState:
        """Let a lease begin anew.

        Args:
            progress: What shall be seen of how far the step is; without it, the heartbeat costs no record.

        Raises:
            UnknownClaimError: There is no such claim.
            LeaseLostError: It has ended, for another reason than that the step was cancelled.
        """
        claim = self._known(claim_id)
        if claim.ending == "cancelled":
            return LeaseState(cancelled=True, lease_seconds=0.0, lease_until=self._clock())
        if claim.step is None or claim.said is not None:
            raise claim.lost()
        claim.extend()
        if progress is not None:
            claim.step.ctx.heartbeat(progress)
        seconds, until = self._lease(claim)
        return LeaseState(cancelled=False, lease_seconds=seconds, lease_until=until)

    async def complete(self, claim_id: str, output: Any, context: Mapping[str, Any] | None = None) -> Reported:
        """The step is done. Saying the same again gives the same answer.

        Args:
            output: What it came to, as JSON.
            context: What it sets in the instance's shared context.

        Returns:
            Once that is in the log.

        Raises:
            UnknownClaimError: There is no such claim.
            LeaseLostError: It has ended otherwise; what the step came to does not count.
            LogError: The log could not be written; the step is run again.
        """
        return await self._report(claim_id, Completed(output, dict(context or {})))

    async def fail(self, claim_id: str, error: ErrorInfo) -> Reported:
        """The step could not be done; errors as in ``complete``."""
        return await self._report(claim_id, Failed(error))

    async def _report(self, claim_id: str, word: Word) -> Reported:
        claim = await self._say(claim_id, word)
        return Reported("completed" if claim.error is None else "failed", claim.error)

    async def release(self, claim_id: str) -> None:
        """Give the step back, for any worker to take; errors as in ``complete``."""
        await self._say(claim_id, Back("released"))

    async def _say(self, claim_id: str, word: Word) -> Claim:
        claim = self._known(claim_id)
        if claim.ending is None and claim.said is None:
            claim.say(word)
        elif claim.said is not type(word):
            raise claim.lost()
        await claim.settled()
        return claim

    # --- the end --------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Give everything back, and lend no more."""
        self._closed = True
        remotes, self._remotes = list(self._remotes.values()), {}
        await asyncio.gather(*(remote.close() for remote in remotes), *self._leaving)
