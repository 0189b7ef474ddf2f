"""The built-in step types that workers run: one function each, of a step's input and its context.

The type's declaration names the function: engines and clients read declarations, too, and run nothing. Whoever starts
a worker imports this package, so it takes no heavy libraries with it: the first call that needs one imports it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Final

from stepwell.consumers.worker.context import StepContext
from stepwell.step_types.table import BUILT_IN

Function = Callable[[Any, StepContext], Any]
Types = Mapping[str, Function]


@functools.cache
def _find(path: str) -> Function:
    module, _, name = path.partition(":")
    return getattr(import_module(module if "." in module else f"{__name__}.{module}"), name)  # type: ignore[no-any-return]


def _lazy(path: str, *, blocking: bool) -> Function:
    """A function that is imported by its first call. Workers call what is no coroutine function in a thread."""

    def in_thread(data: Any, ctx: StepContext) -> Any:
        return _find(path)(data, ctx)

    async def in_loop(data: Any, ctx: StepContext) -> Any:
        return await _find(path)(data, ctx)

    return in_thread if blocking else in_loop


BUILTIN: Final[dict[str, Function]] = {
    one.name: _lazy(one.runs, blocking=one.blocking) for one in BUILT_IN if one.runs
}
"""The function of each step type: coroutine functions run in the worker's loop, others in threads.

This is what somebody gets who runs definitions of their own, by ``stepwell run`` or ``stepwell.connect``: their steps
work on files in the directory in which that was started.
"""

OF_SERVICES: Final[dict[str, Function]] = {
    one.name: _lazy(one.runs_for_services or one.runs, blocking=one.blocking) for one in BUILT_IN if one.runs
}
"""The same for processes that run what others have written: steps work on files in directories that are named,
and secrets go to hosts that are."""
