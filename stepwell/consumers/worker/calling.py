"""One call of a handler: it begins, and it is over, whatever the handler does.

A handler is foreign code. It may cancel its own task, swallow a cancellation, raise what no future takes
(``StopIteration``), end the program (``SystemExit``), or never end. So:

- It runs in a task or a thread of its own, in a copy of the context: what it sets in a ``ContextVar`` stays its own.
- What it comes to is kept as a value (``Came``), and is never raised through a future or a task.
- Who ended it is known to who did it (``give_up``, the time limit), and is never guessed from the state of a task.
- A call that was given up is over a moment later (``WIND_UP``), even if its code goes on for ever.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import Callable, Coroutine, Generator
from decimal import getcontext, setcontext
from threading import get_ident
from time import thread_time
from typing import Any, Final
from weakref import WeakSet

from stepwell.consumers.worker.context import StepContext
from stepwell.consumers.worker.failures import describe
from stepwell.consumers.worker.handlers import Handler
from stepwell.consumers.worker.threads import Threads
from stepwell.logs import Logger
from stepwell.schemas.records.events import ErrorInfo

_logger = Logger("stepwell.worker")

WIND_UP: Final = 2.0  # seconds that a cancelled coroutine has for its ``finally``; then nobody waits for it any more

_PLAIN: Final = frozenset({dict, list, str, int, float, bool, type(None)})  # results that are not awaited


class GivenBack(BaseException):
    """Raised by a handler: the step is to go back to its queue unsettled.

    Args:
        lost: Because whoever had it has died.
    """

    def __init__(self, *, lost: bool = False) -> None:
        super().__init__()
        self.lost = lost


class Came:
    """What a handler has come to.

    Attributes:
        at: When, by the loop's time.
        result: What it returned, as ``finish`` made it.
        error: What it raised; None if it returned.
        back: Whether it gave the step back,
        lost: and that as lost with whoever had it.
        cpu: Seconds of CPU of a function that ran in a thread.
    """

    __slots__ = ("at", "back", "cpu", "error", "lost", "result")

    def __init__(self, at: float, result: Any = None, error: BaseException | None = None, cpu: float = 0.0) -> None:
        self.at: float = at
        self.result: Any = result
        self.cpu: float = cpu
        given = error if issubclass(type(error), GivenBack) else None  # a foreign class may answer for ``isinstance``
        self.back: bool = given is not None
        self.lost: bool = bool(getattr(given, "lost", False))
        self.error: ErrorInfo | None = None if error is None else describe(error)


class Call:
    """One call of a handler, made and begun in the loop.

    Args:
        data: The step's input.
        seconds: How long it may take; None for as long as it likes.
        threads: Where functions run; called when there is one to run.
        finish: What is made of the result, where the handler has run: it may call methods of foreign objects.
        over: Called once, in the loop: the handler has ended, or nobody waits for it any more.
        ended: Called once, in the loop: the handler's code has ended, which may be long after that.

    Attributes:
        began: When, by the loop's time.
        came: What the handler came to; None while it runs, and where nobody waited for that.
        left: Whether it was given up before it came to anything.
    """

    __slots__ = (
        "_arguments",
        "_children",
        "_context",
        "_deadline",
        "_ended",
        "_exit",
        "_expired",
        "_finish",
        "_home",
        "_loop",
        "_over",
        "_patience",
        "_timer",
        "_work",
        "began",
        "came",
        "left",
    )

    def __init__(
        self,
        handler: Handler,
        data: Any,
        ctx: StepContext,
        *,
        seconds: float | None,
        threads: Callable[[], Threads],
        finish: Callable[[Any], Any],
        over: Callable[[], object],
        ended: Callable[[], object],
    ) -> None:
        loop = self._loop = asyncio.get_running_loop()
        self.began: float = loop.time()
        self.came: Came | None = None
        self.left: bool = False
        self._arguments = (handler, data, ctx)
        self._finish = finish
        self._over: Callable[[], object] | None = over
        self._ended = ended
        self._expired = False
        self._exit: Came | None = None
        self._children: WeakSet[asyncio.Task[Any]] | None = None  # nearly no handler has any
        self._patience: asyncio.TimerHandle | None = None
        self._deadline = None if seconds is None else self.began + seconds
        self._timer = None if self._deadline is None else loop.call_at(self._deadline, self._expire)
        self._home = get_ident()
        self._context = contextvars.copy_context()
        self._work: asyncio.Future[Any]
        if handler.asynchronous:
            self._work = loop.create_task(self._await(None), context=self._context)
        else:
            try:
                self._work = loop.run_in_executor(threads(), self._context.run, self._call)
            except RuntimeError as error:  # the machine has no more threads
                self.came = Came(self.began, error=error)
                self._work = loop.create_future()
                self._work.set_result(None)
        self._work.add_done_callback(self._done)

    @property
    def late(self) -> bool:
        """Whether its time was over before it came to anything. A coroutine that blocks the loop, or takes its
        cancellation for nothing, is late as well: what counts is when it ended.
        """
        if self._deadline is None:
            return False
        return self._expired or (self.came is not None and self.came.at > self._deadline)

    # --- the handler's side -----------------------------------------------------------------------------------

    def _enter(self) -> None:
        """Make the context, of which this run has a copy, its own in all that it holds."""
        _call.set(self)
        setcontext(getcontext().copy())  # of decimal numbers: an object that its users change in place

    def _call(self) -> Any:
        """Call a function, in a thread; return what has to be awaited, if that is what it returned."""
        self._enter()
        handler, data, ctx = self._arguments
        began = thread_time()
        try:
            result = handler.function(*handler.arguments(data, ctx))
            if type(result) not in _PLAIN and inspect.isawaitable(result):
                return result
            result, error = self._finish(result), None
        except BaseException as raised:  # whatever a handler raises is its failure, not the worker's end
            result, error = None, raised
        # In a simulation it runs in the loop's own thread, where no two runs would note the same.
        cpu = 0.0 if get_ident() == self._home else thread_time() - began
        self.came = Came(self._loop.time(), result, error, cpu)
        return None

    async def _await(self, awaitable: Any) -> None:
        """Run a coroutine, in the loop.

        Args:
            awaitable: What a function returned; None to call the handler.
        """
        self._enter()
        handler, data, ctx = self._arguments
        try:
            if awaitable is None:
                awaitable = handler.function(*handler.arguments(data, ctx))
            result = await awaitable
            if type(result) not in _PLAIN and inspect.isawaitable(result):
                result = await result
            result, error = self._finish(result), None
        except BaseException as raised:  # as above
            result, error = None, raised
        self.came = Came(self._loop.time(), result, error)

    # --- the worker's side ------------------------------------------------------------------------------------

    def _done(self, work: asyncio.Future[Any]) -> None:
        awaitable = None if work.cancelled() or isinstance(work, asyncio.Task) else work.result()
        if awaitable is not None and self._over is not None:
            self._work = self._loop.create_task(self._await(awaitable), context=self._context)
            self._work.add_done_callback(self._done)
            return
        if awaitable is not None and inspect.iscoroutine(awaitable):
            awaitable.close()
        if self.came is None and not self.left:  # it was cancelled before it began
            self.came = Came(self._loop.time(), error=asyncio.CancelledError())
        self._finished()
        self._ended()
        del self._arguments, self._finish, self._context  # a task that the handler has left behind still knows us

    def _expire(self) -> None:
        self._expired = self.came is None
        self.give_up()

    def give_up(self) -> None:
        """Tell the handler that nobody waits for it any more: a coroutine is cancelled, a function may ask."""
        if self._over is None or self._patience is not None:
            return
        self._arguments[2].cancel()
        self.left = self.came is None
        if not isinstance(self._work, asyncio.Task):  # nothing can stop a thread
            self._finished()
        elif self.came is None:
            self._work.cancel()
            self._patience = self._loop.call_later(WIND_UP, self._leave)

    def _leave(self) -> None:
        """Go on without a coroutine that does not end. Nor shall its loop's owner wait for it: ``asyncio.run`` does
        for all tasks that it knows of.
        """
        for task in (self._work, *(self._children or ())):
            if isinstance(task, asyncio.Task) and not task.done():
                asyncio.tasks._unregister_task(task)  # noqa: SLF001 - documented in "Extending asyncio"
        self._finished()

    def _finished(self) -> None:
        over, self._over = self._over, None
        if over is None:
            return
        if self._timer is not None:
            self._timer.cancel()
        if self._patience is not None:
            self._patience.cancel()
        self.came = self._exit or self.came
        if self.came is None or self.came.error is not None:
            self._arguments[2].cancel()
        over()

    def adopt(self, task: asyncio.Task[Any]) -> None:
        """A task that the handler has started."""
        if self._over is not None:
            if self._children is None:
                self._children = WeakSet()
            self._children.add(task)

    def exit(self, error: BaseException) -> None:
        """A task that the handler has started wants to end the program: it ends the call."""
        if self._over is None:
            _logger.warning("a task of a handler that has ended wants to end the program", error=repr(error))
        elif self._exit is None:
            self._exit = Came(self._loop.time(), error=error)
            self.give_up()


# --- tasks that handlers start --------------------------------------------------------------------------------

_call: contextvars.ContextVar[Call | None] = contextvars.ContextVar("stepwell_call", default=None)


class _Contained(Coroutine[Any, Any, Any]):
    """A coroutine of a handler's task, whose ``SystemExit`` ends the handler's call.

    asyncio lets that error pass through the loop, and so ends the program with whatever status it names, 0 even.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, Any], call: Call) -> None:
        self._coroutine = coroutine
        self._call = call

    def __getattr__(self, name: str) -> Any:  # its name and its frames, for who debugs
        return getattr(self._coroutine, name)

    def _exits(self, error: BaseException) -> asyncio.CancelledError:
        self._call.exit(error)
        return asyncio.CancelledError(f"it wants to end the program: {error!r}")

    def send(self, value: Any) -> Any:
        try:
            return self._coroutine.send(value)
        except (SystemExit, KeyboardInterrupt) as error:
            raise self._exits(error) from error

    def throw(self, *error: Any) -> Any:
        try:
            return self._coroutine.throw(*error)
        except (SystemExit, KeyboardInterrupt) as raised:
            raise self._exits(raised) from raised

    def close(self) -> None:
        self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return (yield from self._coroutine.__await__())


def contain(loop: asyncio.AbstractEventLoop) -> None:
    """Have tasks that handlers start end those handlers' calls, and not the program, where they want to end it.

    It stays so for as long as the loop lives; a task factory that it has already goes on making its tasks.
    """
    before: Any = loop.get_task_factory()
    if getattr(before, "contains", False):
        return

    def factory(loop: asyncio.AbstractEventLoop, coroutine: Any, *, context: Any = None, **more: Any) -> Any:
        call = _call.get() if context is None else context.get(_call)
        if call is None and before is None:  # nearly always
            return asyncio.Task(coroutine, loop=loop, context=context, **more)
        if context is not None:
            more["context"] = context
        made = coroutine if call is None else _Contained(coroutine, call)
        task = asyncio.Task(made, loop=loop, **more) if before is None else before(loop, made, **more)
        if call is not None:
            call.adopt(task)
        return task

    factory.contains = True  # type: ignore[attr-defined]
    loop.set_task_factory(factory)
