"""The built-in step types that workers run: one coroutine function each, of a step's input and its context.

Whoever starts a worker imports this package, so it takes no heavy libraries with it: they are imported by the
first call that needs them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from stepwell.consumers.builtin.process import process as _process
from stepwell.consumers.context import StepContext


async def _http_request(data: Any, ctx: StepContext) -> Any:
    from stepwell.consumers.builtin.http import http_request  # noqa: PLC0415 - httpx takes 0.2 s to import

    return await http_request(data, ctx)


BUILTIN: Final[dict[str, Callable[[Any, StepContext], Awaitable[Any]]]] = {
    "process": _process,
    "http_request": _http_request,
}
"""The function of each step type."""
