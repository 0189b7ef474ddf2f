"""Threads for functions that block: their program ends without waiting for them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Final, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

NAME: Final = "stepwell"
"""What the names of these threads begin with."""


class Threads(Executor):
    """An executor of daemon threads.

    The standard library's has the interpreter wait, at its end, for every thread that it has ever made. A handler
    that was given up cannot be stopped, and nobody waits for what it may still come to; nor shall its program.

    Args:
        most: How many threads there may be.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._threads = 0
        self._idle = 0  # threads that wait, those that have been woken and do not run yet among them
        self._closed = False
        self._work: deque[Callable[[], None]] = deque()
        self._news = threading.Condition()

    def submit(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call a function in a thread as soon as one is free."""
        future: Future[T] = Future()

        def work() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = function(*args, **kwargs)
            except BaseException as error:  # a thread hands over whatever there is
                future.set_exception(error)
            else:
                future.set_result(result)

        with self._news:
            self._work.append(work)
            if self._idle < len(self._work) and self._threads < self._most:
                self._threads += 1
                threading.Thread(target=self._run, name=f"{NAME}_{self._threads}", daemon=True).start()
            else:
                self._news.notify()
        return future

    def _run(self) -> None:
        while True:
            with self._news:
                while not self._work:
                    if self._closed:
                        return
                    self._idle += 1
                    self._news.wait()
                    self._idle -= 1
                work = self._work.popleft()
            work()
            del work  # with it go the arguments and the result

    def shutdown(self, wait: bool = False, *, cancel_futures: bool = False) -> None:  # noqa: ARG002 - the port's
        """Let the threads end, each once it has nothing to do. Nobody waits for them.

        Args:
            wait: Ignored; see the class.
            cancel_futures: Whether what no thread has begun is dropped.
        """
        with self._news:
            self._closed = True
            if cancel_futures:
                self._work.clear()
            self._news.notify_all()
