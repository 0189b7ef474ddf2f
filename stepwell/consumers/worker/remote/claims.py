"""A claim: one step in the hands of a remote worker, for as long as its lease lasts."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

from stepwell.consumers.worker.context import StepContext
from stepwell.errors import LeaseLostError, LogError
from stepwell.schemas.records.commands import Command, FailStep
from stepwell.schemas.records.events import ErrorInfo

Ending = Literal["settled", "timed_out", "cancelled", "expired", "released", "lost"]

_SAYS: Final[Mapping[Ending, str]] = {
    "settled": "its outcome was reported before",
    "timed_out": "the step was not done within its own time limit, and has failed",
    "cancelled": "nobody waits for this step any more",
    "expired": "its lease has run out, and the step was given back to its queue",
    "released": "it was released, and the step was given back to its queue",
    "lost": "the server lost its place in the log, and the step was given back to its queue",
}


class Completed(NamedTuple):
    """The worker has done the step."""

    output: Any
    context: Mapping[str, Any]


class Failed(NamedTuple):
    """The worker could not do it."""

    error: ErrorInfo


class Back(NamedTuple):
    """The step goes back to its queue.

    Attributes:
        why: How its claim ends.
    """

    why: Literal["expired", "released"]


class Step(NamedTuple):
    """What was lent."""

    data: Any
    ctx: StepContext


Word = Completed | Failed | Back
"""What ends a claim, unless the engine or the step's timeout is quicker."""


class Claim:
    """One step in the hands of a remote worker.

    Args:
        step: What is lent.
        lease: Seconds after which it goes back to the queue, unless a heartbeat comes.

    Attributes:
        id: What the worker knows it by. Nobody else can guess it.
        step: None once it has ended, which is remembered for longer than payloads should be.
        until: When the lease ends, in the loop's time.
        said: The kind of word that was said of it.
        ending: How it has ended; None while it lasts.
        error: Of the failure that was recorded, if one was.
    """

    def __init__(self, step: Step, lease: float) -> None:
        self._loop = asyncio.get_running_loop()
        self.id: str = secrets.token_urlsafe(18)
        self.step: Step | None = step
        self.lease = lease
        self.said: type[Word] | None = None
        self.ending: Ending | None = None
        self.error: ErrorInfo | None = None
        self._word: asyncio.Future[Word] = self._loop.create_future()
        self._back: Ending = "lost"  # how it ends if it is given back
        self._heard = False  # whether the word came before everything else that ends a run
        self._ended = asyncio.Event()
        self._sent: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.extend()

    def extend(self) -> None:
        """Let the lease begin anew."""
        if self._timer is not None:
            self._timer.cancel()
        self.until: float = self._loop.time() + self.lease
        self._timer = self._loop.call_at(self.until, self.say, Back("expired"))

    def say(self, word: Word) -> None:
        """End it, unless something else has."""
        if self.said is None and self.ending is None:
            self.said = type(word)
            self._stop_timer()
            self._word.set_result(word)

    async def heard(self) -> Word:
        """Wait for what is said of it. Cancelled when the run is."""
        word = await self._word
        self._heard = True
        if isinstance(word, Back):
            self._back = word.why
        return word

    def end(self, outcome: Command | None, sent: asyncio.Future[None] | None) -> None:
        """Note how it ends; see ``worker.Ended``."""
        if isinstance(outcome, FailStep):
            self.error = outcome.error
        if sent is None:
            self.ending = self._back
        elif outcome is None:
            self.ending = "cancelled"
        else:
            self.ending = "settled" if self._heard else "timed_out"
        self._sent = sent
        self.step = None
        self._word = self._loop.create_future()  # the old one holds an output
        self._stop_timer()
        self._ended.set()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def settled(self) -> None:
        """Wait until what was said of it is safe in the log.

        Raises:
            LeaseLostError: It has ended otherwise.
            LogError: The log could not be written; the step is run again.
        """
        await self._ended.wait()
        if self.ending != ("released" if self.said is Back else "settled"):
            raise self.lost()
        if self._sent is not None:
            try:
                await asyncio.shield(self._sent)
            except LogError:
                self.ending = "lost"
                raise

    def lost(self) -> LeaseLostError:
        """Why it cannot be spoken of any more."""
        reason: Ending = self.ending or "settled"
        return LeaseLostError(self.id, reason, _SAYS[reason])
